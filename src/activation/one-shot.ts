/**
 * A target that does its work and ends: a migration, a seed. It is run when what depends on it asks and its last result
 * is too old, or was none.
 */

import { abortable } from "../async/wait.ts";
import { outcomeOf } from "./classify.ts";
import type { DependencyLeases } from "./dependency-leases.ts";
import { type Exit, ExitedError, StartTimeoutError } from "./errors.ts";
import type { ActivationObserver, ActivationReport } from "./reports.ts";
import type { Target } from "./target.ts";

/** One that takes longer is not waited for. */
const MAX_RUN_MS = 3_600_000;
const LOOK_EVERY_MS = 1_000;
const LAST_LINES_MS = 2_000;

export interface OneShotOptions {
  readonly target: Target;
  /** What it depends on itself. */
  readonly dependencies: DependencyLeases;
  readonly observer: ActivationObserver;
}

export class OneShot {
  readonly target: Target;
  readonly #options: OneShotOptions;
  #underWay: Promise<void> | undefined;
  /** How many were begun. */
  #runs = 0;

  constructor(options: OneShotOptions) {
    this.target = options.target;
    this.#options = options;
  }

  /**
   * Resolves when there is a good result that is not older than `since` (Unix milliseconds, by the clock of the machine
   * that the target runs on). One run serves all who ask meanwhile; it goes on when they leave.
   *
   * @throws ExitedError when it ended with anything but 0; whatever the target throws; the reason of `signal`
   */
  async done(since: number, signal: AbortSignal): Promise<void> {
    while (this.#underWay === undefined) {
      const before = this.#runs;
      const status = await this.target.inspect(signal);
      signal.throwIfAborted();
      // A removed container has run before: compose starts the dependent only after it.
      const isGone = !status.up && status.missing !== undefined;
      const isGood = isGone || (!status.up && status.exit?.code === 0 && (status.endedAt ?? 0) >= since);
      if (isGood) return;
      // What was seen may be from before a run that began and ended meanwhile.
      if (before === this.#runs) this.#begin();
    }
    await abortable(this.#underWay, signal);
  }

  #begin(): void {
    this.#runs += 1;
    this.#underWay = this.#run().finally(() => {
      this.#underWay = undefined;
    });
  }

  async #run(): Promise<void> {
    const { target, dependencies } = this.#options;
    const began = performance.now();
    const signal = AbortSignal.timeout(MAX_RUN_MS);
    try {
      await dependencies.acquire(signal);
      await target.start(signal);
      const exit = await this.#end(signal);
      if (exit.code !== 0) throw new ExitedError(target.name, exit);
      this.#report(began, { outcome: "ready" });
    } catch (reason) {
      const error = signal.aborted ? new StartTimeoutError(`${target.name} did not end within an hour`) : reason;
      const lastLines = await target.lastLines(AbortSignal.timeout(LAST_LINES_MS));
      this.#report(began, { ...outcomeOf(error as Error), error: error as Error, lastLines });
      throw error;
    } finally {
      dependencies.release();
    }
  }

  async #end(signal: AbortSignal): Promise<Exit> {
    const { target } = this.#options;
    let hinted = Promise.withResolvers<void>();
    using _watch = target.watch(() => hinted.resolve());
    for (;;) {
      const status = await target.inspect(signal);
      if (!status.up && status.pausedIncarnation === undefined && status.comesBack !== true) return status.exit ?? {};
      const timer = setTimeout(() => hinted.resolve(), LOOK_EVERY_MS);
      await abortable(hinted.promise, signal).finally(() => clearTimeout(timer));
      hinted = Promise.withResolvers();
    }
  }

  #report(began: number, result: Pick<ActivationReport, "outcome"> & Partial<ActivationReport>): void {
    const durationMs = performance.now() - began;
    this.#options.observer.activation({
      target: this.target.name,
      services: [],
      adopted: false,
      durationMs,
      ...result,
    });
  }
}
