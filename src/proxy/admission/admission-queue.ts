/** Clients that wait for room. */

import type { Ip } from "../../net/ip.ts";
import { DeniedError } from "./denial.ts";
import type { LimitHit } from "./limits.ts";
import { PerSourceCounter } from "./per-source-counter.ts";
import { type Pass, ranks, type Slot, Slots } from "./slots.ts";

export interface QueuePolicy {
  /** Most clients that wait. */
  readonly limit: number;
  /** How long each may wait, in milliseconds. */
  readonly timeoutMs: number;
}

export interface QueueOptions {
  /** Asked for each newcomer. */
  readonly rules: () => QueuePolicy;
  /**
   * Lets somebody in, or says what is in the way. The slot is of one that has waited, and goes with it.
   *
   * @throws DeniedError for one that may not come at all any more
   */
  readonly attempt: (client: Waiting, slot?: Slot) => Pass | LimitHit;
  /** Takes a place of the process, which one that waits needs as well. @throws DeniedError */
  readonly takeSlot: (source: string) => Slot;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
}

export interface Waiting {
  readonly ip: Ip | undefined;
  readonly source: string;
}

interface QueueEntry extends Waiting {
  readonly slot: Slot;
  readonly admit: (pass: Pass) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * First come, first served, but for those whose own source is what they wait for: they do not stand in the way of
 * others.
 */
export class AdmissionQueue {
  readonly #options: QueueOptions;
  readonly #entries = new Set<QueueEntry>();
  readonly #sources = new PerSourceCounter();
  readonly #slots: Slots;
  /** What is in the way of everybody, as of the last look. */
  #serviceLimit: LimitHit | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** When the timer goes off. */
  #dueAt = Number.POSITIVE_INFINITY;

  constructor(options: QueueOptions) {
    this.#options = options;
    this.#slots = new Slots({ limit: () => options.rules().limit, what: "queued clients" });
  }

  get length(): number {
    return this.#entries.size;
  }

  /**
   * Waits until there is room, without waiting when there is.
   *
   * @throws DeniedError when too many wait already, or when it took too long; the reason of `signal` when the client
   * leaves
   */
  async wait(client: Waiting, signal: AbortSignal): Promise<Pass> {
    signal.throwIfAborted();
    const first = this.#attemptFirst(client);
    if (first !== undefined && Symbol.dispose in first) return first;
    using room = this.#slots.take({ service: "", source: client.source });
    const { promise, resolve: admit, reject } = Promise.withResolvers<Pass>();
    const place: QueueEntry = { ...client, admit, reject, slot: this.#options.takeSlot(client.source) };
    using _counted = this.#sources.add(client.source);
    this.#entries.add(place);
    for (const slot of [room, place.slot])
      slot.offer(
        () => ranks.waiting,
        (reason) => this.#reject(place, reason),
      );
    this.#note(first);
    const leave = (): void => this.#reject(place, signal.reason);
    const timer = setTimeout(() => {
      const obstacle = this.#attempt(place);
      if (obstacle === undefined) return;
      this.#reject(place, new DeniedError(obstacle.reason, `waited too long: ${obstacle.message}`));
    }, this.#options.rules().timeoutMs);
    signal.addEventListener("abort", leave, { once: true });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", leave);
    }
  }

  /** Lets in who can be let in now. To be called whenever there may be room. */
  admitNext(): void {
    this.#resetTimer();
    const blocked = new Set<string>();
    for (const place of this.#entries) {
      if (blocked.has(place.source)) continue;
      const obstacle = this.#attempt(place);
      if (obstacle === undefined) continue;
      if (obstacle.scope === "service") break;
      blocked.add(place.source);
    }
  }

  /** For a newcomer that is behind nobody. Undefined: it is behind somebody. @throws DeniedError */
  #attemptFirst(client: Waiting): Pass | LimitHit | undefined {
    if (this.#serviceLimit !== undefined || this.#sources.of(client.source) > 0) return undefined;
    return this.#options.attempt(client);
  }

  #attempt(place: QueueEntry): LimitHit | undefined {
    try {
      const answer = this.#options.attempt(place, place.slot);
      if (!(Symbol.dispose in answer)) {
        this.#note(answer);
        return answer;
      }
      this.#remove(place);
      place.slot.keep();
      place.admit(answer);
    } catch (error) {
      this.#reject(place, error);
    }
    return undefined;
  }

  #reject(place: QueueEntry, error: unknown): void {
    this.#remove(place);
    place.slot[Symbol.dispose]();
    place.reject(error);
  }

  #remove(place: QueueEntry): void {
    this.#entries.delete(place);
    if (this.#entries.size === 0) this.#resetTimer();
  }

  #note(obstacle: LimitHit | undefined): void {
    if (obstacle?.scope === "service") this.#serviceLimit = obstacle;
    if (obstacle?.waitMs !== undefined) this.#retryIn(obstacle.waitMs);
  }

  #retryIn(ms: number): void {
    const dueAt = this.#options.now() + ms;
    if (dueAt >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = dueAt;
    this.#timer = setTimeout(() => this.admitNext(), ms);
  }

  #resetTimer(): void {
    clearTimeout(this.#timer);
    this.#dueAt = Number.POSITIVE_INFINITY;
    this.#serviceLimit = undefined;
  }
}
