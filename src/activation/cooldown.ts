const FIRST_MS = 1_000;
const MAX_MS = 60_000;

/**
 * Circuit breaker for targets that fail to start: after each failure in a row no start is allowed for a longer time
 * (1 s, 2 s, 4 s … 60 s). The first lease after that time is the next attempt.
 */
export class Cooldown {
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #until: number | undefined;

  /** Whether a start is not allowed at this moment. */
  get isActive(): boolean {
    return this.#timer !== undefined;
  }

  /** The end of the cooldown, as Unix time in milliseconds. */
  get until(): number | undefined {
    return this.#until;
  }

  /** Counts a failed start. @returns the length of the cooldown in milliseconds */
  begin(): number {
    this.#clear();
    const delayMs = Math.min(FIRST_MS * 2 ** this.#failures, MAX_MS);
    this.#failures += 1;
    this.#until = Date.now() + delayMs;
    this.#timer = setTimeout(() => this.#clear(), delayMs);
    this.#timer.unref();
    return delayMs;
  }

  /** A start succeeded: the next failure counts as the first one. */
  reset(): void {
    this.#failures = 0;
    this.#clear();
  }

  #clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#until = undefined;
  }
}
