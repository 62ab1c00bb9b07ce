import { abortable, timerMs } from "../async/wait.ts";
import { LOOK_MS } from "./inspector.ts";
import type { SleepAction, Target } from "./target.ts";

/** Added to a target's own grace when waiting for a stop to end; targets give up before that by themselves. */
const STOP_MARGIN_MS = 20_000;
/** How long a stop waits for a start that was given up and is not over yet. */
const GIVEN_UP_MS = 5_000;
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;

export interface StopperOptions {
  readonly target: Target;
  /** It is put away: frozen, or down. */
  readonly onDone: (isPaused: boolean) => void;
  /** An attempt failed; `again` repeats it after `retryMs`. `isKnown`: the previous attempt failed in the same way. */
  readonly onFailure: (error: Error, retryMs: number, isKnown: boolean) => void;
}

/** Puts a target away, in as many attempts as it needs. */
export class Stopper {
  readonly #options: StopperOptions;
  #action: SleepAction = "stop";
  #attempts = 0;
  #timer: NodeJS.Timeout | undefined;
  /** The message of the last failed attempt. */
  #failure: string | undefined;

  constructor(options: StopperOptions) {
    this.#options = options;
  }

  /** What is being done, or was done last. */
  get action(): SleepAction {
    return this.#action;
  }

  /** How long an attempt may take, in milliseconds. */
  get limitMs(): number {
    return timerMs(this.#options.target.graceMs + STOP_MARGIN_MS);
  }

  /**
   * Makes the first attempt.
   *
   * @param before awaited for a few seconds: an aborted start that is still under way would undo an earlier stop
   */
  begin(action: SleepAction, before: Promise<unknown> | undefined): void {
    this.#action = action;
    this.#attempts = 0;
    this.#failure = undefined;
    if (before === undefined) return this.#attempt();
    const attempt = (): void => this.#attempt();
    abortable(before, AbortSignal.timeout(GIVEN_UP_MS)).then(attempt, attempt);
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
    return Math.min(FIRST_RETRY_MS * 2 ** (this.#attempts - 1), MAX_RETRY_MS);
  }

  #attempt(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#attempts += 1;
    const { target, onDone } = this.#options;
    const isPause = this.#action === "pause";
    target.sleep(this.#action, AbortSignal.timeout(this.limitMs)).then(
      () => onDone(isPause),
      (error) => this.#failed(error),
    );
  }

  /** What could not be put away may be away all the same. */
  async #failed(reason: unknown): Promise<void> {
    const { target, onDone, onFailure } = this.#options;
    const status = await target.inspect(AbortSignal.timeout(LOOK_MS)).catch(() => undefined);
    const isPaused = status?.up === false && status.pausedIncarnation !== undefined;
    if (status?.up === false && (!isPaused || this.#action === "pause")) return onDone(isPaused);
    const error = reason instanceof Error ? reason : new Error(String(reason));
    const isKnown = error.message === this.#failure;
    this.#failure = error.message;
    onFailure(error, this.#retryMs, isKnown);
  }
}
