import type { Rate } from "../../config/values/rates.ts";
import { TokenBucket } from "./token-bucket.ts";

/** About 200 bytes each. */
const MAX_SOURCES = 20_000;
/** How many of the oldest are looked at when a new source comes. */
const SWEEP = 4;

export interface RateLimitOptions {
  /** Of all clients of a service. */
  readonly rate?: Rate;
  /** Of each source. Absent: half of `rate`, so that nobody alone can use up what is there for all. */
  readonly perSource?: Rate;
  /** How many sources are known at a time. */
  readonly maxSources?: number;
}

/** How long a client has to wait, and who has to: those of its source, or everybody. */
export interface RateWait {
  readonly waitMs: number;
  readonly scope: "source" | "service";
}

/**
 * How many clients may come in a time, in all and from each source. A source is asked for its own share first, and what
 * that refuses takes nothing from the others.
 */
export class RateLimit {
  readonly #service: TokenBucket | undefined;
  readonly #perSource: Rate | undefined;
  readonly #maxSources: number;
  /** In the order of their last use. */
  readonly #sources = new Map<string, TokenBucket>();

  /** @param now milliseconds of a clock that never goes back, as everywhere here */
  constructor({ rate, perSource, maxSources = MAX_SOURCES }: RateLimitOptions, now: number) {
    this.#service = rate && new TokenBucket(rate, now);
    this.#perSource = perSource ?? (rate && halfOf(rate));
    this.#maxSources = maxSources;
  }

  /** How many sources are remembered. */
  get size(): number {
    return this.#sources.size;
  }

  /** How long a client of `source` has to wait; undefined when it may come now. Takes nothing. */
  wait(source: string, now: number): RateWait | undefined {
    const ownWait = this.#tokenBucketOf(source, now)?.waitMs(now) ?? 0;
    if (ownWait > 0) return { waitMs: ownWait, scope: "source" };
    const wait = this.#service?.waitMs(now) ?? 0;
    return wait > 0 ? { waitMs: wait, scope: "service" } : undefined;
  }

  /** Counts a client of `source` that is let in, after `ask` has said that it may. */
  take(source: string, now: number): void {
    this.#tokenBucketOf(source, now)?.take(now);
    this.#service?.take(now);
  }

  #tokenBucketOf(source: string, now: number): TokenBucket | undefined {
    if (this.#perSource === undefined) return undefined;
    const known = this.#sources.get(source);
    const bucket = known ?? new TokenBucket(this.#perSource, now);
    this.#sources.delete(source);
    if (known === undefined) this.#makeRoom(now);
    this.#sources.set(source, bucket);
    return bucket;
  }

  /** A full bucket is forgotten without loss. When too many are not, the one that was unused for longest goes. */
  #makeRoom(now: number): void {
    let looked = 0;
    for (const [source, bucket] of this.#sources) {
      if (looked === SWEEP) break;
      looked += 1;
      if (bucket.isFull(now) || this.#sources.size >= this.#maxSources) this.#sources.delete(source);
    }
  }
}

function halfOf({ count, perMs }: Rate): Rate {
  return { count: Math.max(1, Math.floor(count / 2)), perMs };
}
