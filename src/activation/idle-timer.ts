import { timerMs } from "../async/wait.ts";

/** Fires once when nobody used the target for long enough. Starting it again moves the deadline. */
export class IdleTimer {
  readonly #onIdle: () => void;
  #timer: NodeJS.Timeout | undefined;
  #deadline: number | undefined;

  constructor(onIdle: () => void) {
    this.#onIdle = onIdle;
  }

  /** When it will fire, as Unix time in milliseconds, for people and metrics; the timer itself follows no wall clock. */
  get deadline(): number | undefined {
    return this.#deadline;
  }

  start(delayMs: number): void {
    this.cancel();
    this.#deadline = Date.now() + delayMs;
    this.#timer = setTimeout(() => {
      this.cancel();
      this.#onIdle();
    }, timerMs(delayMs));
  }

  cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#deadline = undefined;
  }
}
