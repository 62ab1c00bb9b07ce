import { IdleTimer } from "./idle-timer.ts";
import type { SleepAction, Target, UseMoment } from "./target.ts";

/** The closing handshake of the last connection ends within this time, so its packets do not count as direct use. */
const SETTLE_MS = 1_000;
const MEASUREMENT_TIMEOUT_MS = 20_000;

export interface IdleCheckOptions {
  readonly target: Target;
  /** Bytes of direct traffic that do not count as use; undefined: direct traffic does not count at all. */
  readonly trafficBytes: () => number | undefined;
  /** The next sleep action of the target. */
  readonly sleepAction: () => SleepAction;
  /** Returns exec sessions in other members of the target's group; absent without a group. */
  readonly useOfOthers?: () => Promise<readonly string[]>;
  /** Called when the target was idle for its whole idle timeout. */
  readonly onIdle: () => void;
  /** Called when direct use keeps the target awake after the idle timeout. Not repeated for the same use. */
  readonly onKeptAwake: (uses: readonly string[]) => void;
}

/**
 * Decides that a target is idle: no client used it for the idle timeout, and there was no direct use. The target counts
 * direct use since its previous measurement: a baseline at the beginning of the idle timeout, samples before dependents
 * are put to sleep, and a last measurement at the end.
 */
export class IdleCheck {
  readonly #options: IdleCheckOptions;
  readonly #timer = new IdleTimer(() => this.#expired());
  #repeatMs = 0;
  /** Aborted when the idle timeout is cancelled. */
  #round = new AbortController();
  #baseline: NodeJS.Timeout | "taken" | undefined;
  #samples: Promise<readonly string[]>[] = [];
  /** The last measurement. The next one waits for it. */
  #measurement: Promise<unknown> = Promise.resolve();
  #keptAwakeBy: readonly string[] = [];
  #lastDirectUse = Number.NEGATIVE_INFINITY;

  constructor(options: IdleCheckOptions) {
    this.#options = options;
  }

  /** Time of the next check in Unix milliseconds; undefined if no idle timeout runs. */
  get deadline(): number | undefined {
    return this.#timer.deadline;
  }

  /** Time of the last check that found direct use, on the monotonic clock in milliseconds; -Infinity if none did. */
  get lastDirectUse(): number {
    return this.#lastDirectUse;
  }

  /** What kept the target awake at the end of the last idle timeout. */
  get keptAwakeBy(): readonly string[] {
    return this.#keptAwakeBy;
  }

  /**
   * Starts an idle timeout, or the rest of one.
   *
   * @param delayMs until the first check
   * @param repeatMs until the next check if the target is in use
   */
  start(delayMs: number, repeatMs: number): void {
    this.#repeatMs = repeatMs;
    this.#timer.start(delayMs);
    const hasSamples = this.#samples.length > 0;
    // Traffic of a dependent during its stop does not count, so the samples need a new baseline.
    if (hasSamples) this.#dropBaseline();
    if (!hasSamples || delayMs > 0) this.scheduleBaseline(delayMs);
  }

  /** Schedules the baseline of an idle timeout of `idleMs`, unless there is one. */
  scheduleBaseline(idleMs: number): void {
    if (this.#options.target.keptAwakeBy === undefined || this.#baseline !== undefined) return;
    const takeBaseline = (): void => {
      this.#baseline = "taken";
      void this.#measure();
    };
    this.#baseline = setTimeout(takeBaseline, Math.min(SETTLE_MS, idleMs / 2));
  }

  /**
   * Measures before a dependent that holds the target is put to sleep: the end of its connections is not direct use.
   *
   * @returns resolves after the measurement; undefined without a baseline
   */
  sample(): Promise<unknown> | undefined {
    if (this.#baseline !== "taken") return undefined;
    const sample = this.#measure({ isHeld: true });
    this.#samples.push(sample);
    return sample;
  }

  /** Returns direct use except traffic and connections, which may belong to another member of the group. */
  sessions(): Promise<readonly string[]> {
    return this.#measure({ isHeld: true, isTrafficKnown: true });
  }

  cancel(): void {
    this.#timer.cancel();
    this.#round.abort();
    this.#round = new AbortController();
    this.#dropBaseline();
    this.#samples = [];
    this.#keptAwakeBy = [];
  }

  #dropBaseline(): void {
    if (typeof this.#baseline === "object") clearTimeout(this.#baseline);
    this.#baseline = undefined;
  }

  #expired(): void {
    const { target, useOfOthers, onIdle } = this.#options;
    if (target.keptAwakeBy === undefined && useOfOthers === undefined) return onIdle();
    // Rejects only if `onIdle` throws.
    void this.#decide();
  }

  async #decide(): Promise<void> {
    const { useOfOthers, onIdle, onKeptAwake } = this.#options;
    const { signal } = this.#round;
    const last = this.#measure({ isTrafficKnown: this.#baseline === undefined });
    let uses = [...new Set((await Promise.all([...this.#samples, last])).flat())];
    if (uses.length === 0 && !signal.aborted) uses = [...((await useOfOthers?.()) ?? [])];
    if (signal.aborted) return;
    if (uses.length === 0) {
      this.cancel();
      return onIdle();
    }
    this.#lastDirectUse = performance.now();
    if (this.#samples.length > 0) this.#dropBaseline();
    this.#samples = [];
    this.start(this.#repeatMs, this.#repeatMs);
    const isKnown = uses.length === this.#keptAwakeBy.length;
    this.#keptAwakeBy = uses;
    if (!isKnown) onKeptAwake(uses);
  }

  /** Returns what keeps the target awake; nothing if the idle timeout is cancelled. Never rejects. */
  #measure(moment: UseMoment = {}): Promise<readonly string[]> {
    const { target, trafficBytes, sleepAction } = this.#options;
    const { signal } = this.#round;
    const measurement = this.#measurement.then(async () => {
      if (signal.aborted) return [];
      const limit = AbortSignal.any([signal, AbortSignal.timeout(MEASUREMENT_TIMEOUT_MS)]);
      const uses = target.keptAwakeBy?.(trafficBytes(), limit, { ...moment, action: sleepAction() });
      return (uses ?? Promise.resolve([])).catch((error: Error) => [`its direct use is unknown: ${error.message}`]);
    });
    this.#measurement = measurement;
    return measurement;
  }
}
