import type { Ip } from "../../net/ip.ts";
import { DeniedError } from "./denial.ts";
import type { LimitHit } from "./limits.ts";
import { PerSourceCounter } from "./per-source-counter.ts";
import { type Pass, ranks, type Slot, Slots } from "./slots.ts";

export interface QueuePolicy {
  /** Limit of queued clients. */
  readonly limit: number;
  /** Time after which a queued client is denied, in milliseconds. */
  readonly timeoutMs: number;
}

export interface QueueOptions {
  /** Called for each new client. */
  readonly rules: () => QueuePolicy;
  /**
   * Admits a client, or returns the reached limit.
   *
   * @param slot the slot of the process that a queued client already has
   * @throws DeniedError if the client may not connect at all
   */
  readonly attempt: (client: Waiting, slot?: Slot) => Pass | LimitHit;
  /** Takes a slot of the process for a queued client. @throws DeniedError */
  readonly takeSlot: (source: string) => Slot;
  /** Milliseconds of a monotonic clock. */
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
 * Clients that wait while a limit is reached. First come, first served, except that a client whose own source has
 * reached its limit does not block clients of other sources.
 */
export class AdmissionQueue {
  readonly #options: QueueOptions;
  readonly #entries = new Set<QueueEntry>();
  readonly #sources = new PerSourceCounter();
  readonly #slots: Slots;
  /** The limit that denied all clients at the last attempt. */
  #serviceLimit: LimitHit | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerEndsAt = Number.POSITIVE_INFINITY;

  constructor(options: QueueOptions) {
    this.#options = options;
    this.#slots = new Slots({ limit: () => options.rules().limit, what: "queued clients" });
  }

  get length(): number {
    return this.#entries.size;
  }

  /**
   * Resolves when the client is admitted, at once if no limit is reached.
   *
   * @throws DeniedError if the queue is full or the wait too long; the reason of `signal` if the client leaves
   */
  async wait(client: Waiting, signal: AbortSignal): Promise<Pass> {
    signal.throwIfAborted();
    const first = this.#attemptFirst(client);
    if (first !== undefined && Symbol.dispose in first) return first;
    using queueSlot = this.#slots.take({ service: "", source: client.source });
    const { promise, resolve: admit, reject } = Promise.withResolvers<Pass>();
    const entry: QueueEntry = { ...client, admit, reject, slot: this.#options.takeSlot(client.source) };
    this.#sources.add(client.source);
    this.#entries.add(entry);
    for (const slot of [queueSlot, entry.slot])
      slot.offer(
        () => ranks.waiting,
        (reason) => this.#reject(entry, reason),
      );
    this.#note(first);
    const onLeave = (): void => this.#reject(entry, signal.reason);
    const timer = setTimeout(() => {
      const hit = this.#attempt(entry);
      if (hit !== undefined) this.#reject(entry, new DeniedError(hit.reason, `waited too long: ${hit.message}`));
    }, this.#options.rules().timeoutMs);
    signal.addEventListener("abort", onLeave, { once: true });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onLeave);
      this.#sources.remove(client.source);
    }
  }

  /** Admits all clients that can be admitted now. Called whenever a connection ends or the limits change. */
  admitNext(): void {
    this.#resetTimer();
    const blocked = new Set<string>();
    for (const entry of this.#entries) {
      if (blocked.has(entry.source)) continue;
      const hit = this.#attempt(entry);
      if (hit === undefined) continue;
      if (hit.scope === "service") break;
      blocked.add(entry.source);
    }
  }

  /** Attempts to admit a new client; returns undefined if another client is before it. @throws DeniedError */
  #attemptFirst(client: Waiting): Pass | LimitHit | undefined {
    if (this.#serviceLimit !== undefined || this.#sources.of(client.source) > 0) return undefined;
    return this.#options.attempt(client);
  }

  /** Returns the reached limit if the client still waits. */
  #attempt(entry: QueueEntry): LimitHit | undefined {
    try {
      const result = this.#options.attempt(entry, entry.slot);
      if (!(Symbol.dispose in result)) {
        this.#note(result);
        return result;
      }
      this.#remove(entry);
      entry.slot.keep();
      entry.admit(result);
    } catch (error) {
      this.#reject(entry, error);
    }
    return undefined;
  }

  #reject(entry: QueueEntry, error: unknown): void {
    this.#remove(entry);
    entry.slot[Symbol.dispose]();
    entry.reject(error);
  }

  #remove(entry: QueueEntry): void {
    this.#entries.delete(entry);
    if (this.#entries.size === 0) this.#resetTimer();
  }

  #note(hit: LimitHit | undefined): void {
    if (hit?.scope === "service") this.#serviceLimit = hit;
    if (hit?.waitMs !== undefined) this.#retryIn(hit.waitMs);
  }

  #retryIn(ms: number): void {
    const endsAt = this.#options.now() + ms;
    if (endsAt >= this.#timerEndsAt) return;
    clearTimeout(this.#timer);
    this.#timerEndsAt = endsAt;
    this.#timer = setTimeout(() => this.admitNext(), ms);
  }

  #resetTimer(): void {
    clearTimeout(this.#timer);
    this.#timerEndsAt = Number.POSITIVE_INFINITY;
    this.#serviceLimit = undefined;
  }
}
