import type { Target } from "../target/target.ts";
import { abortable } from "./abortable.ts";
import { LOOK_MS } from "./lookout.ts";
import { timerMs } from "./timers.ts";

/** Added to a target's own grace when waiting for a stop to end; targets give up before that by themselves. */
const STOP_MARGIN_MS = 20_000;
/** How long a stop waits for a start that was given up and is not over yet. */
const GIVEN_UP_MS = 5_000;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;

export interface StopperOptions {
  readonly target: Target;
  readonly onDown: () => void;
  /** An attempt did not work; `again` repeats it after `retryMs`. */
  readonly onFailure: (error: Error, retryMs: number) => void;
}

/** Takes a target down, in as many attempts as it needs. */
export class Stopper {
  readonly #options: StopperOptions;
  #attempts = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: StopperOptions) {
    this.#options = options;
  }

  /** How long an attempt may take, in milliseconds. */
  get limitMs(): number {
    return timerMs(this.#options.target.graceMs + STOP_MARGIN_MS);
  }

  /** Makes the first attempt. `startCall` is a start that was given up but is not over: it would undo a quick stop. */
  begin(startCall: Promise<void> | undefined): void {
    this.#attempts = 0;
    if (startCall === undefined) return this.#attempt();
    const attempt = (): void => this.#attempt();
    abortable(startCall, AbortSignal.timeout(GIVEN_UP_MS)).then(attempt, attempt);
  }

  /** Makes another attempt, after a pause that grows. */
  again(): void {
    this.#timer = setTimeout(() => this.#attempt(), this.#retryMs);
  }

  /** Makes the attempt that is due later at once, if there is one. */
  hurry(): void {
    if (this.#timer !== undefined) this.#attempt();
  }

  get #retryMs(): number {
    return Math.min(FIRST_RETRY_MS * 2 ** (this.#attempts - 1), LONGEST_RETRY_MS);
  }

  #attempt(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#attempts += 1;
    const { target, onDown } = this.#options;
    target.stop(AbortSignal.timeout(this.limitMs)).then(onDown, (error) => this.#failed(error));
  }

  /** What could not be stopped may be down all the same. */
  async #failed(reason: unknown): Promise<void> {
    const { target, onDown, onFailure } = this.#options;
    const sight = await target.look(AbortSignal.timeout(LOOK_MS)).catch(() => undefined);
    if (sight !== undefined && !sight.up) return onDown();
    onFailure(reason instanceof Error ? reason : new Error(String(reason)), this.#retryMs);
  }
}
