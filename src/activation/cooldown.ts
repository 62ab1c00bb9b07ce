const FIRST_MS = 1_000;
const MAX_MS = 60_000;

/**
 * Circuit breaker for targets that fail to start: after each failure in a row no start is allowed for a longer time
 * (1 s, 2 s, 4 s … 60 s). The first lease after that time is the next attempt.
 */
export class Cooldown {
  #failures = 0;
  /** The end on the monotonic clock, and in Unix time. */
  #endsAt = 0;
  #until = 0;

  /** Whether a start is not allowed at this moment. */
  get isActive(): boolean {
    return performance.now() < this.#endsAt;
  }

  /** The end of the active cooldown, as Unix time in milliseconds. */
  get until(): number | undefined {
    return this.isActive ? this.#until : undefined;
  }

  /** Counts a failed start. @returns the length of the cooldown in milliseconds */
  begin(): number {
    const delayMs = Math.min(FIRST_MS * 2 ** this.#failures, MAX_MS);
    this.#failures += 1;
    this.#endsAt = performance.now() + delayMs;
    this.#until = Date.now() + delayMs;
    return delayMs;
  }

  /** Records a successful start: the next failure counts as the first one. */
  reset(): void {
    this.#failures = 0;
    this.#endsAt = 0;
  }
}
