import { AbortSource } from "../async/abort-source.ts";
import { type ActivationPolicy, sleepActionIn } from "./activation-policy.ts";
import { IdleTimer } from "./idle-timer.ts";
import type { StateName } from "./machine.ts";
import type { Target, UseMoment } from "./target.ts";
import type { Usage } from "./usage.ts";

/** The closing handshake of the last connection ends within this time, so its packets do not count as direct use. */
const SETTLE_MS = 1_000;
const MEASUREMENT_TIMEOUT_MS = 20_000;
/** One error for all rounds: an idle timeout is cancelled by each client. */
const CANCELLED = new Error("the idle timeout was cancelled");

export interface IdleCheckOptions {
  readonly target: Target;
  readonly usage: Usage;
  readonly policy: () => ActivationPolicy;
  readonly state: () => StateName;
  /** Returns exec sessions in other members of the target's group. Absent: there is no use besides the target's own. */
  readonly useOfOthers?: () => Promise<readonly string[]>;
  /** Called when the target was idle for its whole idle timeout. */
  readonly onIdle: () => void;
  /** Called when direct use keeps the target awake after the idle timeout. Not repeated for the same use. */
  readonly onKeptAwake: (uses: readonly string[]) => void;
}

/**
 * Decides that a target is idle: no client and no direct use for the idle timeout. Direct use is measured at the
 * beginning and the end of the idle timeout, and before dependents are put to sleep.
 */
export class IdleCheck {
  readonly #options: IdleCheckOptions;
  readonly #timer = new IdleTimer(() => this.#expired());
  #repeatMs = 0;
  /** On the monotonic clock, in milliseconds. */
  #readyAt = 0;
  #pausedAt = 0;
  #lastDirectUse = Number.NEGATIVE_INFINITY;
  /** Aborted when the idle timeout is cancelled. */
  #round = new AbortSource();
  #baseline: NodeJS.Timeout | "taken" | undefined;
  #samples: Promise<readonly string[]>[] = [];
  /** The last measurement. The next one waits for it. */
  #measurement: Promise<unknown> = Promise.resolve();
  #keptAwakeBy: readonly string[] = [];

  constructor(options: IdleCheckOptions) {
    this.#options = options;
  }

  /** Time of the next check in Unix milliseconds; undefined if no idle timeout runs. */
  get deadline(): number | undefined {
    return this.#timer.deadline;
  }

  /** What kept the target awake at the end of the last idle timeout. */
  get keptAwakeBy(): readonly string[] {
    return this.#keptAwakeBy;
  }

  /** Milliseconds until the target may be put to sleep: the rest of its idle timeout and of its minimum uptime. */
  get restMs(): number {
    const { idleTimeoutMs, minUptimeMs } = this.#options.policy();
    const idleSince = Math.max(this.#options.usage.lastUsed, this.#readyAt, this.#lastDirectUse);
    return Math.max(0, Math.max(idleSince + idleTimeoutMs, this.#readyAt + minUptimeMs) - performance.now());
  }

  /** Called when the target became ready. */
  ready(): void {
    this.#readyAt = performance.now();
  }

  /** Called when the target was paused, which begins the time until its second sleep step. */
  paused(): void {
    this.#pausedAt = performance.now();
  }

  /** Starts the rest of the idle timeout, or of the time until the second sleep step. */
  arm(): void {
    const { sleep, thenStop, idleTimeoutMs } = this.#options.policy();
    if (this.#options.state() !== "paused") return this.#start(this.restMs, idleTimeoutMs);
    if (sleep !== "pause" || thenStop === undefined) return this.cancel();
    this.#start(Math.max(0, this.#pausedAt + thenStop.afterMs - performance.now()), thenStop.afterMs);
  }

  /** Schedules the baseline before `arm`, while idle dependents still hold the target. */
  scheduleBaseline(idleMs: number = this.#options.policy().idleTimeoutMs): void {
    if (this.#options.target.keptAwakeBy === undefined || this.#baseline !== undefined) return;
    const takeBaseline = (): void => {
      this.#baseline = "taken";
      void this.#measure({ isBaseline: true });
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
    this.#round.abort(CANCELLED);
    this.#round = new AbortSource();
    this.#dropBaseline();
    this.#samples = [];
    this.#keptAwakeBy = [];
  }

  /** @param repeatMs until the next check if the target is in use */
  #start(delayMs: number, repeatMs: number): void {
    this.#repeatMs = repeatMs;
    this.#timer.start(delayMs);
    const hasSamples = this.#samples.length > 0;
    // Traffic of a dependent during its stop does not count, so the samples need a new baseline.
    if (hasSamples) this.#dropBaseline();
    if (!hasSamples || delayMs > 0) this.scheduleBaseline(delayMs);
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
    this.#start(this.#repeatMs, this.#repeatMs);
    const isKnown = uses.length === this.#keptAwakeBy.length;
    this.#keptAwakeBy = uses;
    if (!isKnown) onKeptAwake(uses);
  }

  /** Returns what keeps the target awake; nothing if the idle timeout is cancelled. Never rejects. */
  #measure(moment: UseMoment = {}): Promise<readonly string[]> {
    const { target, policy, state } = this.#options;
    const { signal } = this.#round;
    const measurement = this.#measurement.then(async () => {
      if (signal.aborted) return [];
      const limit = AbortSignal.any([signal, AbortSignal.timeout(MEASUREMENT_TIMEOUT_MS)]);
      const action = sleepActionIn(state(), policy());
      const pending = target.keptAwakeBy?.(policy().directTrafficBytes, limit, { ...moment, action });
      const uses = await pending?.catch((error: Error) => [`its direct use is unknown: ${error.message}`]);
      // The abort fails the measurement, which is not direct use.
      return signal.aborted ? [] : (uses ?? []);
    });
    this.#measurement = measurement;
    return measurement;
  }
}
