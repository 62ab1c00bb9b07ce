import { timerMs } from "../async/wait.ts";

/** A timer with a deadline that can be shown. Another start moves the deadline. */
export class IdleTimer {
  readonly #onExpired: () => void;
  #timer: NodeJS.Timeout | undefined;
  #deadline: number | undefined;

  constructor(onExpired: () => void) {
    this.#onExpired = onExpired;
  }

  /** The deadline as Unix time in milliseconds, for status and metrics; the timer itself uses the monotonic clock. */
  get deadline(): number | undefined {
    return this.#deadline;
  }

  start(delayMs: number): void {
    this.cancel();
    this.#deadline = Date.now() + delayMs;
    this.#timer = setTimeout(() => {
      this.cancel();
      this.#onExpired();
    }, timerMs(delayMs));
  }

  cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#deadline = undefined;
  }
}
