/** A service as a client of datagrams meets it: a front, real sockets, and a target whose life the test decides. */

import { StartTimeoutError } from "../../../src/activation/errors.ts";
import { Deadline } from "../../../src/async/deadline.ts";
import type { UdpPolicy } from "../../../src/config/config.ts";
import type { FlowLease, FlowResult } from "../../../src/udp/flow.ts";
import { FlowTable, type FlowTableOptions, type ListenerBinding } from "../../../src/udp/flow-table.ts";
import { UdpListenerSocket } from "../../../src/udp/listener.ts";
import { eventually } from "../eventually.ts";
import { UdpClient } from "../net/udp.ts";

class StagedClaim implements FlowLease {
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
  readonly leases: Set<StagedClaim> = new Set();
  /** How often a flow claimed the target. */
  reached = 0;
  opened = 0;
  /** How often somebody asked whether it is up. */
  verified = 0;
  readonly #front: UdpListenerSocket;
  readonly #way: ListenerBinding;
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
          reach: (signal) => this.#reach(signal),
          opened: () => {
            this.opened += 1;
          },
          over: (result) => this.results.push(result),
        };
      },
    };
    this.flows = new FlowTable(options);
    if (isUp) this.comeUp();
    const address = "address" in rest ? rest.address : "127.0.0.1";
    this.#front = new UdpListenerSocket({
      service: "dns",
      listener: { port: 0, ...(address !== undefined && { address }) },
      onDatagram: (datagram, client) => this.flows.receive(this.#way, datagram, client),
      onUnsent: () => {},
    });
    this.#way = {
      name: this.#front.name,
      targetPort: upstream,
      isTftp,
      answer: (datagram, client) => this.#front.answer(datagram, client),
    };
  }

  static async open(options: StageOptions): Promise<Stage> {
    const stage = new Stage(options);
    await stage.#front.open();
    return stage;
  }

  get port(): number {
    return this.#front.port;
  }

  get dropped(): Readonly<Record<string, number>> {
    return Object.fromEntries(Object.entries(this.flows.count.dropped).filter(([, count]) => count > 0));
  }

  client(host?: string, from?: string): Promise<UdpClient> {
    return UdpClient.open(this.port, host, host?.includes(":") ? "udp6" : "udp4", from);
  }

  /** The target is up from now on. */
  comeUp(): void {
    this.#isUp = true;
    this.#up.resolve();
  }

  /** It is down from now on, for the reason that is given to those who hold it. */
  goDown(reason: Error): void {
    // Those who wait for it go on waiting.
    if (this.#isUp) this.#up = Promise.withResolvers();
    this.#isUp = false;
    for (const claim of [...this.leases]) claim.lose(reason);
  }

  /** It cannot be started, as long as it is down. */
  fail(error: Error): void {
    this.#up.promise.catch(() => {});
    this.#up.reject(error);
  }

  /** Waits until `count` datagrams have come in. */
  async received(count: number): Promise<void> {
    await eventually(`${count} datagrams came in`, () => this.flows.count.in >= count);
  }

  async over(count: number): Promise<readonly FlowResult[]> {
    await eventually(`${count} flows are over`, () => this.results.length >= count);
    return this.results;
  }

  drain(): Promise<void> {
    return this.flows.drain(this.#way);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#front.close();
    await this.flows.close();
  }

  async #reach(signal: AbortSignal): Promise<FlowLease> {
    this.reached += 1;
    const gone = Promise.withResolvers<never>();
    signal.addEventListener("abort", () => gone.reject(signal.reason), { once: true });
    gone.promise.catch(() => {});
    await Promise.race([this.#up.promise, gone.promise]);
    const claim = new StagedClaim(this);
    this.leases.add(claim);
    return claim;
  }
}
