import type { Rate } from "../../config/values/rates.ts";

/** A whole token, less the rounding error of a sum of fractions. */
const WHOLE = 1 - 1e-9;

/**
 * A token bucket, which is full at the start and refills evenly. `now` is in milliseconds of a monotonic clock.
 */
export class TokenBucket {
  readonly #rate: Rate;
  #tokens: number;
  #at: number;

  constructor(rate: Rate, now: number) {
    this.#rate = rate;
    this.#tokens = rate.count;
    this.#at = now;
  }

  /** Whether the bucket is the same as a new one. */
  isFull(now: number): boolean {
    this.#fill(now);
    return this.#tokens === this.#rate.count;
  }

  /** Returns the milliseconds until a token is available, 0 if one is. Takes nothing. */
  waitMs(now: number): number {
    this.#fill(now);
    if (this.#tokens >= WHOLE) return 0;
    return Math.ceil(((1 - this.#tokens) * this.#rate.perMs) / this.#rate.count);
  }

  /** Takes a token. Only called while `waitMs` is 0. */
  take(now: number): void {
    this.#fill(now);
    this.#tokens -= 1;
  }

  #fill(now: number): void {
    const passed = Math.max(0, now - this.#at);
    this.#at += passed;
    this.#tokens = Math.min(this.#rate.count, this.#tokens + (passed * this.#rate.count) / this.#rate.perMs);
  }
}
