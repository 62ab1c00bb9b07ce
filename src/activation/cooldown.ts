const FIRST_MS = 1_000;
const MAX_DELAY_MS = 60_000;

/**
 * A breaker for targets that fail to start: after each failure in a row a longer pause (1 s, 2 s, 4 s … 60 s) in
 * which nobody may ask for a start. It opens by itself; the first claim after it is the next attempt.
 */
export class Cooldown {
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #until: number | undefined;

  /** Whether a start is out of the question at this moment. */
  get isActive(): boolean {
    return this.#timer !== undefined;
  }

  /** When the next attempt is due, as Unix time in milliseconds. */
  get until(): number | undefined {
    return this.#until;
  }

  get failures(): number {
    return this.#failures;
  }

  /** Notes a failed start and begins the pause, whose length in milliseconds is returned. */
  begin(): number {
    this.#clear();
    const pauseMs = Math.min(FIRST_MS * 2 ** this.#failures, MAX_DELAY_MS);
    this.#failures += 1;
    this.#until = Date.now() + pauseMs;
    this.#timer = setTimeout(() => this.#clear(), pauseMs);
    this.#timer.unref();
    return pauseMs;
  }

  /** A start succeeded: the next failure is a first one again. */
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
