import type { Rate } from "../../config/values/rates.ts";

/** Sums of fractions come out a little short. */
const WHOLE = 1 - 1e-9;

/**
 * A token bucket: starts full, and fills again evenly. Times are in milliseconds of a clock that never goes back; they
 * are given, not asked for.
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

  /** Whether nothing is missing: it is then as good as a new one. */
  isFull(now: number): boolean {
    this.#fill(now);
    return this.#tokens === this.#rate.count;
  }

  /** How long until there is a token; 0 when there is one. Takes nothing. */
  waitMs(now: number): number {
    this.#fill(now);
    if (this.#tokens >= WHOLE) return 0;
    return Math.ceil(((1 - this.#tokens) * this.#rate.perMs) / this.#rate.count);
  }

  /** Takes a token, which is there: `waitMs` says so. */
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
