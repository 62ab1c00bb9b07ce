import { abortable, delay } from "../async/wait.ts";
import { outcomeOf } from "./classify.ts";
import type { DependencyLeases } from "./dependency-leases.ts";
import { type Exit, ExitedError, StartTimeoutError } from "./errors.ts";
import { readLastLines } from "./log-tail.ts";
import type { ActivationObserver, ActivationReport } from "./reports.ts";
import type { Target } from "./target.ts";

const MAX_RUN_MS = 3_600_000;
const INSPECT_EVERY_MS = 1_000;

export interface OneShotOptions {
  readonly target: Target;
  readonly dependencies: DependencyLeases;
  readonly observer: ActivationObserver;
}

/** A target that does its work and exits, such as a migration. It runs on demand if its last result is too old or bad. */
export class OneShot {
  readonly target: Target;
  readonly #options: OneShotOptions;
  #current: Promise<void> | undefined;
  #runs = 0;

  constructor(options: OneShotOptions) {
    this.target = options.target;
    this.#options = options;
  }

  /**
   * Resolves when there is a good result that is not older than `since` (Unix milliseconds, by the clock of the target's
   * machine). Concurrent calls share one run, which continues after they are aborted.
   *
   * @throws ExitedError if the exit code is not 0; the errors of the target; the reason of `signal`
   */
  async done(since: number, signal: AbortSignal): Promise<void> {
    while (this.#current === undefined) {
      const runs = this.#runs;
      const status = await this.target.inspect(signal);
      signal.throwIfAborted();
      // A removed container has run before: compose starts the dependent only after it.
      const isGone = !status.up && status.missing !== undefined;
      const isGood = isGone || (!status.up && status.exit?.code === 0 && (status.endedAt ?? 0) >= since);
      if (isGood) return;
      // The status is outdated if a run began and ended during the inspection.
      if (runs === this.#runs) this.#begin();
    }
    await abortable(this.#current, signal);
  }

  #begin(): void {
    this.#runs += 1;
    this.#current = this.#run().finally(() => {
      this.#current = undefined;
    });
  }

  async #run(): Promise<void> {
    const { target, dependencies } = this.#options;
    const beganAt = performance.now();
    const signal = AbortSignal.timeout(MAX_RUN_MS);
    try {
      await dependencies.acquire(signal);
      await target.start(signal);
      const exit = await this.#waitForExit(signal);
      if (exit.code !== 0) throw new ExitedError(target.name, exit);
      this.#report(beganAt, { outcome: "ready" });
    } catch (reason) {
      const error = signal.aborted ? new StartTimeoutError(`${target.name} did not end within an hour`) : reason;
      const lastLines = await readLastLines(target);
      this.#report(beganAt, { ...outcomeOf(error as Error), error: error as Error, lastLines });
      throw error;
    } finally {
      dependencies.release();
    }
  }

  async #waitForExit(signal: AbortSignal): Promise<Exit> {
    const { target } = this.#options;
    let changed = new AbortController();
    using _watch = target.watch(() => changed.abort());
    for (;;) {
      const status = await target.inspect(signal);
      if (!status.up && status.pausedIncarnation === undefined && status.isRestarting !== true)
        return status.exit ?? {};
      await delay(INSPECT_EVERY_MS, AbortSignal.any([signal, changed.signal])).catch(() => signal.throwIfAborted());
      changed = new AbortController();
    }
  }

  #report(beganAt: number, result: Pick<ActivationReport, "outcome"> & Partial<ActivationReport>): void {
    const durationMs = performance.now() - beganAt;
    const subject = { target: this.target.name, services: [] };
    this.#options.observer.activation({ ...subject, adopted: false, durationMs, ...result });
  }
}
