import type { Rank, Slot, SlotError } from "./admission/slots.ts";
import type { ServiceConnections } from "./service-connections.ts";

export interface ServiceSlotOptions {
  readonly connections: ServiceConnections;
  /** The client's slot of the process. */
  readonly slot: Slot;
  /** Eviction rank while the client waits. */
  readonly rank: () => Rank;
  readonly onEvicted: (reason: SlotError) => void;
}

/** Counts one client of a service: as waiting, and evictable, until it is served, and as active from then on. */
export class ServiceSlot implements Disposable {
  readonly #options: ServiceSlotOptions;
  /** Undefined while the client is served. */
  #waiting: Slot | undefined;

  /** @throws SlotError if no waiting slot is free */
  constructor(options: ServiceSlotOptions) {
    this.#options = options;
    this.#waiting = this.#take();
  }

  get isServed(): boolean {
    return this.#waiting === undefined;
  }

  /** Idempotent. */
  served(): void {
    this[Symbol.dispose]();
    this.#options.slot.keep();
    this.#waiting = undefined;
    this.#options.connections.active += 1;
  }

  /** Idempotent. @throws SlotError if no waiting slot is free; the client then still counts as served */
  waitAgain(): void {
    if (!this.isServed) return;
    this.#waiting = this.#take();
    this.#options.connections.active -= 1;
  }

  [Symbol.dispose](): void {
    if (this.#waiting === undefined) this.#options.connections.active -= 1;
    else this.#waiting[Symbol.dispose]();
  }

  #take(): Slot {
    const { connections, slot, rank, onEvicted } = this.#options;
    const waiting = connections.waiting.take(slot.holder);
    for (const one of [slot, waiting]) one.offer(rank, onEvicted);
    return waiting;
  }
}
