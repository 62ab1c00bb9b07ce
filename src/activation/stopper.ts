import { abortable, timerMs } from "../async/wait.ts";
import { KeptError, TargetError } from "../errors.ts";
import { INSPECT_TIMEOUT_MS } from "./inspector.ts";
import type { SleepReason } from "./reports.ts";
import type { SleepReporter } from "./sleep-report.ts";
import type { SleepAction, Target } from "./target.ts";

/** Added to the target's own grace period as the deadline of a stop. Targets give up earlier by themselves. */
const STOP_MARGIN_MS = 20_000;
/** Time for which a stop waits for an aborted start call. */
const ABORTED_START_MS = 5_000;
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;

export interface Stop {
  readonly action: SleepAction;
  readonly reason: SleepReason;
  /** Whether the target was awake, so that the stop is reported as a sleep. */
  readonly isSleep: boolean;
  readonly isAfterFailedStart: boolean;
  /** Awaited before the stop: an aborted start call that is still under way would undo an earlier stop. */
  readonly before: Promise<unknown> | undefined;
}

export interface StopFailed {
  readonly event: "failed" | "denied" | "kept";
  readonly error: Error;
  /** Milliseconds until `again` would repeat the stop. */
  readonly retryMs: number;
  /** Whether the previous attempt failed with the same message. */
  readonly isKnown: boolean;
}

export interface StopperOptions {
  readonly target: Target;
  /** Called before each attempt. @returns what the attempt waits for; undefined: nothing @throws KeptError */
  readonly beforeSleep: () => Promise<void> | undefined;
  readonly sleepReporter: SleepReporter;
  /** The target is down or paused. */
  readonly onDone: (isPaused: boolean) => void;
  readonly onFailed: (failure: StopFailed) => void;
}

/** Stops or pauses a target, with retries on request. */
export class Stopper {
  readonly #options: StopperOptions;
  #action: SleepAction = "stop";
  #isAfterFailedStart = false;
  #attempts = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  /** The message of the last failed attempt. */
  #failure: string | undefined;

  constructor(options: StopperOptions) {
    this.#options = options;
  }

  /** The action under way, or the last one. */
  get action(): SleepAction {
    return this.#action;
  }

  /** Deadline of an attempt, in milliseconds. */
  get limitMs(): number {
    return timerMs(this.#options.target.graceMs + STOP_MARGIN_MS);
  }

  /** Begins the first attempt. */
  begin({ action, reason, isSleep, isAfterFailedStart, before }: Stop): void {
    const { sleepReporter } = this.#options;
    if (isSleep) sleepReporter.begin(reason, action);
    else sleepReporter.cancel();
    this.#action = action;
    this.#isAfterFailedStart = isAfterFailedStart;
    this.#attempts = 0;
    this.#failure = undefined;
    if (before === undefined) return this.#attempt();
    const attempt = (): void => this.#attempt();
    abortable(before, AbortSignal.timeout(ABORTED_START_MS)).then(attempt, attempt);
  }

  /** Finishes without a call to the target. */
  skip(): void {
    this.#options.sleepReporter.cancel();
    queueMicrotask(() => this.#done(false));
  }

  /** Schedules another attempt. The delay grows. */
  again(): void {
    this.#retryTimer = setTimeout(() => this.#attempt(), this.#retryMs);
  }

  /** Begins a scheduled attempt at once. */
  hurry(): void {
    if (this.#retryTimer !== undefined) this.#attempt();
  }

  get #retryMs(): number {
    return Math.min(FIRST_RETRY_MS * 2 ** (this.#attempts - 1), MAX_RETRY_MS);
  }

  #attempt(): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    this.#attempts += 1;
    const { target, beforeSleep } = this.#options;
    const sleep = (): Promise<void> => target.sleep(this.#action, AbortSignal.timeout(this.limitMs));
    (beforeSleep()?.then(sleep) ?? sleep()).then(
      () => this.#done(this.#action === "pause"),
      (error) => this.#failed(error),
    );
  }

  #done(isPaused: boolean): void {
    this.#options.sleepReporter.end(isPaused);
    this.#options.onDone(isPaused);
  }

  /** The target may be down or paused although the call failed. */
  async #failed(reason: unknown): Promise<void> {
    const { target, sleepReporter, onFailed } = this.#options;
    const status = await target.inspect(AbortSignal.timeout(INSPECT_TIMEOUT_MS)).catch(() => undefined);
    const isPaused = status?.up === false && status.pausedIncarnation !== undefined;
    if (status?.up === false && (!isPaused || this.#action === "pause")) return this.#done(isPaused);
    const error = reason instanceof Error ? reason : new Error(String(reason));
    const isKnown = error.message === this.#failure;
    this.#failure = error.message;
    const event = this.#eventOf(error);
    if (event === "kept") sleepReporter.cancel();
    onFailed({ event, error, retryMs: this.#retryMs, isKnown });
  }

  /**
   * A target that must not be stopped is adopted again. After a failed start the adoption would fail at once, so the
   * stop counts as denied: it is retried until the next client.
   */
  #eventOf(error: Error): StopFailed["event"] {
    if (error instanceof KeptError) return this.#isAfterFailedStart ? "denied" : "kept";
    return error instanceof TargetError && error.fault === "denied" ? "denied" : "failed";
  }
}
