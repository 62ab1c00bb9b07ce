import { timerMs } from "./wait.ts";

/** Aborts its signal after `ms` milliseconds unless it is disposed earlier. The timer is armed at the first use of the signal. */
export class Deadline implements Disposable {
  readonly #endsAt: number;
  readonly #reason: () => Error;
  #controller: AbortController | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param reason creates the signal's reason at the deadline */
  constructor(ms: number, reason: () => Error) {
    this.#endsAt = performance.now() + ms;
    this.#reason = reason;
  }

  get signal(): AbortSignal {
    this.#controller ??= this.#arm();
    return this.#controller.signal;
  }

  /** Milliseconds until the deadline, 0 after it. */
  get leftMs(): number {
    return Math.max(0, this.#endsAt - performance.now());
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #arm(): AbortController {
    const controller = new AbortController();
    this.#timer = setTimeout(() => controller.abort(this.#reason()), timerMs(this.leftMs));
    return controller;
  }
}
