import { timerMs } from "./wait.ts";

/** Aborts its signal after `ms` milliseconds unless it is disposed earlier. */
export class Deadline implements Disposable {
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #endsAt: number;

  /** @param reason creates the signal's reason at the deadline */
  constructor(ms: number, reason: () => Error) {
    this.#endsAt = performance.now() + ms;
    this.#timer = setTimeout(() => this.#controller.abort(reason()), timerMs(ms));
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Milliseconds until the deadline, 0 after it. */
  get leftMs(): number {
    return Math.max(0, this.#endsAt - performance.now());
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
