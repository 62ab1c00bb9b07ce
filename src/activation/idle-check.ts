import { IdleTimer } from "./idle-timer.ts";
import type { SleepAction, Target, UseMoment } from "./target.ts";

/** The closing handshake of the last connection ends in this time, so that its packets do not count as direct use. */
const SETTLE_MS = 1_000;
/** Deadline of one measurement. */
const OTHER_USE_MS = 20_000;

export interface IdleCheckOptions {
  readonly target: Target;
  /** Bytes of direct traffic that do not count as use; undefined: direct traffic does not count at all. */
  readonly trafficBytes: () => number | undefined;
  /** How the target is put to sleep next. */
  readonly sleepAction: () => SleepAction;
  /** Exec sessions in other members of the target's group; absent without a group. */
  readonly useOfOthers?: () => Promise<readonly string[]>;
  /** Called when the target was idle for its whole idle timeout. */
  readonly onIdle: () => void;
  /** Called when the idle timeout is over and direct use keeps the target awake. Not repeated for the same use. */
  readonly onKeptAwake: (uses: readonly string[]) => void;
}

/** What keeps the target awake; undefined if the idle timeout was cancelled before the answer. */
type Answer = readonly string[] | undefined;

/**
 * Decides that a target is idle: no client used it for the idle timeout, and there was no direct use. Direct use is
 * measured twice in each idle timeout, and before an idle dependent that holds the target is put to sleep.
 */
export class IdleCheck {
  readonly #options: IdleCheckOptions;
  readonly #timer: IdleTimer;
  #settle: NodeJS.Timeout | undefined;
  /** Aborted when the idle timeout is cancelled. */
  #round = new AbortController();
  /** The last measurement; the next one waits for it. */
  #asked: Promise<unknown> = Promise.resolve();
  #keptAwakeBy: readonly string[] = [];
  #repeatMs = 0;
  #lastDirectUse = Number.NEGATIVE_INFINITY;
  #isMeasuring = false;
  /** What was measured before dependents were put to sleep in this idle timeout; undefined if none was. */
  #sample: Promise<Answer> | undefined;
  #isTrafficKnown = false;

  constructor(options: IdleCheckOptions) {
    this.#options = options;
    this.#timer = new IdleTimer(() => this.#expired());
  }

  /** When the target is checked next, in Unix milliseconds; undefined when no idle timeout runs. */
  get deadline(): number | undefined {
    return this.#timer.deadline;
  }

  /** Time of the last check that found direct use, on the monotonic clock in milliseconds; -Infinity if none did. */
  get lastDirectUse(): number {
    return this.#lastDirectUse;
  }

  /** What kept the target awake at the end of the last idle timeout; empty when nothing did. */
  get keptAwakeBy(): readonly string[] {
    return this.#keptAwakeBy;
  }

  /**
   * Starts an idle timeout, or the rest of one.
   *
   * @param delayMs until the first check
   * @param repeatMs until the next check, when the target is in use
   */
  start(delayMs: number, repeatMs: number): void {
    this.#repeatMs = repeatMs;
    this.#timer.start(delayMs);
    // No idle timeout remains: the traffic until the end of the last dependent was measured.
    this.#isTrafficKnown = this.#sample !== undefined && delayMs === 0;
    if (this.#isTrafficKnown) return;
    // Traffic of a dependent during its stop does not count.
    if (this.#sample !== undefined) this.#restartMeasuring();
    this.measure(delayMs);
  }

  /** Schedules the first measurement of this idle timeout, unless it was scheduled before. */
  measure(idleMs: number): void {
    if (this.#options.target.keptAwakeBy === undefined || this.#isMeasuring) return;
    this.#isMeasuring = true;
    this.#settle = setTimeout(
      () => {
        this.#settle = undefined;
        void this.#ask();
      },
      Math.min(SETTLE_MS, idleMs / 2),
    );
  }

  /**
   * Measures before a dependent that holds the target is put to sleep: the end of its connections is not direct use.
   *
   * @returns resolves after the measurement; undefined if there is none
   */
  sample(): Promise<unknown> | undefined {
    // There is no first measurement to compare with.
    if (!this.#isMeasuring || this.#settle !== undefined) return undefined;
    this.#sample = bothOf(this.#sample ?? [], this.#ask({ isHeld: true }));
    return this.#sample;
  }

  /** Direct use except traffic and connections, which may be those of another member of the group. */
  async sessions(): Promise<readonly string[]> {
    return (await this.#ask({ isHeld: true, isTrafficKnown: true })) ?? [];
  }

  cancel(): void {
    this.#timer.cancel();
    this.#round.abort();
    this.#round = new AbortController();
    this.#restartMeasuring();
    this.#sample = undefined;
    this.#keptAwakeBy = [];
  }

  #restartMeasuring(): void {
    clearTimeout(this.#settle);
    this.#settle = undefined;
    this.#isMeasuring = false;
  }

  #expired(): void {
    const { target, useOfOthers, onIdle } = this.#options;
    if (target.keptAwakeBy === undefined && useOfOthers === undefined) return onIdle();
    // Rejects only when `onIdle` throws.
    void this.#decide(bothOf(this.#sample ?? [], this.#ask({ isTrafficKnown: this.#isTrafficKnown })));
  }

  /** An answer that comes after `cancel` is dropped. */
  async #decide(answer: Promise<Answer>): Promise<void> {
    const { signal } = this.#round;
    const own = await answer;
    if (own === undefined || signal.aborted) return;
    const uses = own.length > 0 ? own : ((await this.#options.useOfOthers?.()) ?? []);
    if (signal.aborted) return;
    if (uses.length === 0) {
      this.cancel();
      return this.#options.onIdle();
    }
    this.#lastDirectUse = performance.now();
    if (this.#sample !== undefined) this.#restartMeasuring();
    this.#sample = undefined;
    this.start(this.#repeatMs, this.#repeatMs);
    const isKnown = uses.length === this.#keptAwakeBy.length;
    this.#keptAwakeBy = uses;
    if (!isKnown) this.#options.onKeptAwake(uses);
  }

  #ask(moment: UseMoment = {}): Promise<Answer> {
    const { signal } = this.#round;
    const asked = this.#asked.then(async (): Promise<Answer> => {
      if (signal.aborted) return undefined;
      const question = AbortSignal.any([signal, AbortSignal.timeout(OTHER_USE_MS)]);
      const { target, trafficBytes, sleepAction } = this.#options;
      const answer = target.keptAwakeBy?.(trafficBytes(), question, { ...moment, action: sleepAction() }) ?? [];
      const uses = await Promise.resolve(answer).catch((error: Error) => [
        `its direct use is unknown: ${error.message}`,
      ]);
      return signal.aborted ? undefined : uses;
    });
    this.#asked = asked;
    return asked;
  }
}

async function bothOf(first: readonly string[] | Promise<Answer>, second: Promise<Answer>): Promise<Answer> {
  const [before, now] = await Promise.all([first, second]);
  return before && now && [...new Set([...before, ...now])];
}
