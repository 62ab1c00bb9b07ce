import type { Activator } from "../activation/activator.ts";
import { CLIENT } from "../activation/lease-set.ts";
import type { Deadline } from "../async/deadline.ts";
import { abortable } from "../async/wait.ts";
import { formatPeer } from "../net/addresses.ts";
import type { Pass, Rank, Slot, SlotError } from "../proxy/admission/slots.ts";
import { failureOf } from "../proxy/outcome.ts";
import type { ConnectionFacts, ConnectionReport, ProxyObserver } from "../proxy/reports.ts";
import type { ConnectionView, ServiceConnections } from "../proxy/service-connections.ts";
import type { FlowLease, FlowOwner, FlowResult } from "./flow.ts";
import type { Sender } from "./listener.ts";

/** What the flows of one service share with its connections. */
export interface FlowRoute {
  readonly service: string;
  readonly activator: Activator;
  readonly connections: ServiceConnections;
  readonly observer: ProxyObserver;
  /**
   * Admits a client until the result is disposed, by the rules for connections.
   *
   * @throws the error for a denied connection
   */
  readonly admit: (address: string) => Pass;
  /** Returns the slot holder for the flows of a client. */
  readonly sourceOf: (address: string) => string;
}

/** Connects a flow to the rest of wakeport: admits the client, acquires a lease, and reports the end. */
export class ServiceFlow implements FlowOwner {
  readonly #route: FlowRoute;
  readonly #sender: Sender;
  readonly #facts: ConnectionFacts;
  readonly #startedAt = performance.now();
  readonly #since = Date.now();
  readonly #isCold: boolean;
  readonly #slots = new DisposableStack();
  #slot: Slot | undefined;
  #waiting: Slot | undefined;
  #waitMs: number | undefined;

  /** @param listener name of the listener for messages */
  constructor(route: FlowRoute, { id, sender, listener }: { id: number; sender: Sender; listener: string }) {
    const { service, activator } = route;
    this.#route = route;
    this.#sender = sender;
    this.#facts = { service, id, client: formatPeer(sender), listener };
    this.#isCold = activator.view.state !== "ready";
  }

  get view(): ConnectionView {
    return { ...this.#facts, since: this.#since, isServed: this.#waitMs !== undefined };
  }

  /** Admits the client. @returns false if it was denied, which is then reported */
  admit(): boolean {
    try {
      const { slot } = this.#slots.use(this.#route.admit(this.#sender.address));
      this.#slot = slot;
      this.#waiting = this.#route.connections.waiting.take(slot.holder);
      this.#route.connections.open.add(this);
      return true;
    } catch (error) {
      this.#finish({ in: 0, out: 0 }, failureOf(error));
      return false;
    }
  }

  offer(rank: () => Rank | undefined, onTaken: (reason: SlotError) => void): void {
    for (const slot of [this.#slot, this.#waiting]) slot?.offer(rank, onTaken);
  }

  deadline(): Deadline {
    return this.#route.activator.deadline();
  }

  async acquire(signal: AbortSignal): Promise<FlowLease> {
    const { activator, service } = this.#route;
    const lease = await activator.acquire(signal, CLIENT, { client: this.#facts.client, service });
    try {
      await activator.waitForInspection(signal);
      if (lease.address === "") await abortable(activator.verify(lease), signal);
    } catch (error) {
      lease[Symbol.dispose]();
      throw error;
    }
    return {
      address: lease.address,
      // Another container may have the old address now.
      signal: AbortSignal.any([lease.signal, lease.moved]),
      verify: () => activator.verify(lease),
      [Symbol.dispose]: () => lease[Symbol.dispose](),
    };
  }

  opened(): void {
    const { connections, observer } = this.#route;
    this.#waiting?.[Symbol.dispose]();
    this.#waiting = undefined;
    connections.active += 1;
    this.#slots.defer(() => {
      connections.active -= 1;
    });
    this.#waitMs = performance.now() - this.#startedAt;
    observer.connectionOpened(this.#facts);
  }

  ended({ end, error, meter }: FlowResult): void {
    this.#finish(meter, end === undefined ? failureOf(error) : { outcome: "relayed", end });
  }

  #finish(meter: FlowResult["meter"], result: Pick<ConnectionReport, "outcome" | "reason" | "end" | "error">): void {
    this.#waiting?.[Symbol.dispose]();
    this.#slots.dispose();
    this.#route.connections.open.delete(this);
    this.#route.observer.connection({
      ...this.#facts,
      start: this.#isCold ? "cold" : "warm",
      durationMs: performance.now() - this.#startedAt,
      bytesIn: meter.in,
      bytesOut: meter.out,
      ...(this.#waitMs !== undefined && { waitMs: this.#waitMs }),
      ...result,
    });
  }
}
