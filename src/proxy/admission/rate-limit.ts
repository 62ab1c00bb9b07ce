import type { Rate } from "../../config/values/rates.ts";
import { TokenBucket } from "./token-bucket.ts";

/** About 200 bytes each. */
const MAX_SOURCES = 20_000;
/** Oldest buckets that are examined for each new source. */
const SWEEP = 4;

export interface RateLimitOptions {
  /** Limit of all clients of a service. */
  readonly rate?: Rate;
  /** Limit of each source. Absent: half of `rate`, so that no single source can use up the limit of all. */
  readonly perSource?: Rate;
  /** Limit of remembered sources. */
  readonly maxSources?: number;
}

export interface RateWait {
  readonly waitMs: number;
  /** Whether the clients of one source wait, or all clients. */
  readonly scope: "source" | "service";
}

/**
 * Limits the rate of new clients, in total and for each source. The limit of the source is checked first, so that a
 * denied client takes no token of the service.
 */
export class RateLimit {
  readonly #service: TokenBucket | undefined;
  readonly #perSource: Rate | undefined;
  readonly #maxSources: number;
  /** Least recently used first. */
  readonly #sources = new Map<string, TokenBucket>();

  /** @param now milliseconds of a monotonic clock, also in all methods */
  constructor({ rate, perSource, maxSources = MAX_SOURCES }: RateLimitOptions, now: number) {
    this.#service = rate && new TokenBucket(rate, now);
    this.#perSource = perSource ?? (rate && halfOf(rate));
    this.#maxSources = maxSources;
  }

  /** Number of remembered sources. */
  get size(): number {
    return this.#sources.size;
  }

  /** Returns undefined if a client of `source` need not wait. Takes no token. */
  wait(source: string, now: number): RateWait | undefined {
    const ownWait = this.#tokenBucketOf(source, now)?.waitMs(now) ?? 0;
    if (ownWait > 0) return { waitMs: ownWait, scope: "source" };
    const wait = this.#service?.waitMs(now) ?? 0;
    return wait > 0 ? { waitMs: wait, scope: "service" } : undefined;
  }

  /** Counts an admitted client. Only called if it need not wait. */
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

  /** Removes full buckets, which are the same as new ones. At the limit, removes the least recently used bucket. */
  #makeRoom(now: number): void {
    let examined = 0;
    for (const [source, bucket] of this.#sources) {
      if (examined === SWEEP) break;
      examined += 1;
      if (bucket.isFull(now) || this.#sources.size >= this.#maxSources) this.#sources.delete(source);
    }
  }
}

function halfOf({ count, perMs }: Rate): Rate {
  return { count: Math.max(1, Math.floor(count / 2)), perMs };
}
