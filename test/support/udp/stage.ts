/** A UDP service with real sockets, and a target that the test starts and stops. */

import { StartTimeoutError } from "../../../src/activation/errors.ts";
import { Deadline } from "../../../src/async/deadline.ts";
import type { UdpPolicy } from "../../../src/config/config.ts";
import type { FlowLease, FlowResult } from "../../../src/udp/flow.ts";
import { FlowTable, type FlowTableOptions, type ListenerBinding } from "../../../src/udp/flow-table.ts";
import { UdpListenerSocket } from "../../../src/udp/listener.ts";
import { eventually } from "../eventually.ts";
import { UdpClient } from "../net/udp.ts";

class StagedLease implements FlowLease {
  readonly #lost = new AbortController();
  readonly #stage: Stage;
  readonly address = "127.0.0.1";

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  lose(reason: Error): void {
    this.#lost.abort(reason);
  }

  async verify(): Promise<void> {
    this.#stage.verified += 1;
  }

  [Symbol.dispose](): void {
    this.#stage.leases.delete(this);
  }
}

export interface StageOptions extends Partial<UdpPolicy> {
  /** Where the target listens. */
  readonly upstream: number;
  readonly refusedMs?: number;
  readonly address?: string | undefined;
  readonly admit?: () => boolean;
  readonly isTftp?: boolean;
  /** The target is up from the start. */
  readonly isUp?: boolean;
}

export class Stage implements AsyncDisposable {
  readonly flows: FlowTable;
  readonly results: FlowResult[] = [];
  readonly meter = { in: 0, out: 0 };
  readonly leases: Set<StagedLease> = new Set();
  /** How often a flow acquired the target. */
  acquired = 0;
  opened = 0;
  /** How often a flow checked whether the target is up. */
  verified = 0;
  readonly #listener: UdpListenerSocket;
  readonly #binding: ListenerBinding;
  #isUp = false;
  #up = Promise.withResolvers<void>();

  private constructor({
    upstream,
    refusedMs = 5_000,
    admit = () => true,
    isUp = false,
    isTftp = false,
    ...rest
  }: StageOptions) {
    const { flowTimeoutMs = 60_000, flows = 100, heldBytes = 65_536 } = rest;
    const options: FlowTableOptions = {
      limits: { flowTimeoutMs, flows, heldBytes },
      meter: this.meter,
      sourceOf: ({ address: source }) => source,
      admit: () => {
        if (!admit()) return undefined;
        return {
          offer: () => {},
          deadline: () => new Deadline(refusedMs, () => new StartTimeoutError("not ready in time")),
          acquire: (signal) => this.#acquire(signal),
          opened: () => {
            this.opened += 1;
          },
          ended: (result) => this.results.push(result),
        };
      },
    };
    this.flows = new FlowTable(options);
    if (isUp) this.comeUp();
    const address = "address" in rest ? rest.address : "127.0.0.1";
    this.#listener = new UdpListenerSocket({
      service: "dns",
      listener: { port: 0, ...(address !== undefined && { address }) },
      onDatagram: (datagram, client) => this.flows.receive(this.#binding, datagram, client),
      onUnsent: () => {},
    });
    this.#binding = {
      name: this.#listener.name,
      targetPort: upstream,
      isTftp,
      answer: (datagram, client) => this.#listener.answer(datagram, client),
    };
  }

  static async open(options: StageOptions): Promise<Stage> {
    const stage = new Stage(options);
    await stage.#listener.open();
    return stage;
  }

  get port(): number {
    return this.#listener.port;
  }

  get dropped(): Readonly<Record<string, number>> {
    return Object.fromEntries(Object.entries(this.flows.count.dropped).filter(([, count]) => count > 0));
  }

  client(host?: string, from?: string): Promise<UdpClient> {
    return UdpClient.open(this.port, host, host?.includes(":") ? "udp6" : "udp4", from);
  }

  /** Starts the target. */
  comeUp(): void {
    this.#isUp = true;
    this.#up.resolve();
  }

  /** Stops the target, and cuts its leases with this reason. */
  goDown(reason: Error): void {
    // Flows that already wait continue to wait.
    if (this.#isUp) this.#up = Promise.withResolvers();
    this.#isUp = false;
    for (const lease of [...this.leases]) lease.lose(reason);
  }

  /** Fails the start of the target. */
  fail(error: Error): void {
    this.#up.promise.catch(() => {});
    this.#up.reject(error);
  }

  /** Waits until `count` datagrams were received. */
  async received(count: number): Promise<void> {
    await eventually(`${count} datagrams received`, () => this.flows.count.in >= count);
  }

  /** Waits until `count` flows have ended. */
  async ended(count: number): Promise<readonly FlowResult[]> {
    await eventually(`${count} flows ended`, () => this.results.length >= count);
    return this.results;
  }

  drain(): Promise<void> {
    return this.flows.drain(this.#binding);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.flows.close();
  }

  async #acquire(signal: AbortSignal): Promise<FlowLease> {
    this.acquired += 1;
    const gone = Promise.withResolvers<never>();
    signal.addEventListener("abort", () => gone.reject(signal.reason), { once: true });
    gone.promise.catch(() => {});
    await Promise.race([this.#up.promise, gone.promise]);
    const lease = new StagedLease(this);
    this.leases.add(lease);
    return lease;
  }
}
