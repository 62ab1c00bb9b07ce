import type { Rank, Slot, SlotError } from "./admission/slots.ts";
import type { ServiceConnections } from "./service-connections.ts";

/** The client that a slot belongs to. */
export interface SlotOwner {
  /** Eviction rank while the client waits. */
  readonly rank: Rank;
  evicted(reason: SlotError): void;
}

/** Counts one client of a service: as waiting, and evictable, until it is served, and as active from then on. */
export class ServiceSlot implements Disposable {
  readonly #connections: ServiceConnections;
  /** The client's slot of the process. */
  readonly #slot: Slot;
  readonly #owner: SlotOwner;
  /** Undefined while the client is served. */
  #waiting: Slot | undefined;

  /** @throws SlotError if no waiting slot is free */
  constructor(connections: ServiceConnections, slot: Slot, owner: SlotOwner) {
    this.#connections = connections;
    this.#slot = slot;
    this.#owner = owner;
    this.#waiting = this.#take();
  }

  get isServed(): boolean {
    return this.#waiting === undefined;
  }

  /** Idempotent. */
  served(): void {
    this[Symbol.dispose]();
    this.#slot.keep();
    this.#waiting = undefined;
    this.#connections.active += 1;
  }

  /** Idempotent. @throws SlotError if no waiting slot is free; the client then still counts as served */
  waitAgain(): void {
    if (!this.isServed) return;
    this.#waiting = this.#take();
    this.#connections.active -= 1;
  }

  [Symbol.dispose](): void {
    if (this.#waiting === undefined) this.#connections.active -= 1;
    else this.#waiting[Symbol.dispose]();
  }

  #take(): Slot {
    const owner = this.#owner;
    const waiting = this.#connections.waiting.take(this.#slot.holder);
    for (const one of [this.#slot, waiting])
      one.offer(
        () => owner.rank,
        (reason) => owner.evicted(reason),
      );
    return waiting;
  }
}
