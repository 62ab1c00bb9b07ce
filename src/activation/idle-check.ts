import type { Target } from "../target/target.ts";
import { IdleTimer } from "./idle-timer.ts";

/** The last connection's closing handshake ends in this time, so that its packets do not count as other use. */
const SETTLE_MS = 1_000;
/** For one question to the target. */
const OTHER_USE_MS = 20_000;

export interface IdleCheckOptions {
  readonly target: Target;
  /** How many bytes of traffic do not count as use; undefined: traffic does not count at all. */
  readonly trafficBytes: () => number | undefined;
  /** Sessions in targets that stay awake together with this one; undefined if there are none. */
  readonly useOfOthers?: () => Promise<readonly string[]>;
  /** The target was idle for its whole idle time. */
  readonly onIdle: () => void;
  /** The idle time is over, and something that bypasses wakeport uses the target. Not repeated for the same uses. */
  readonly onKeptAwake: (uses: readonly string[]) => void;
}

interface Question {
  /** Whether dependents hold the target now. */
  readonly isHeld?: boolean;
  readonly isTrafficKnown?: boolean;
}

/** Uses, or undefined if the idle time ended before the answer. */
type Answer = readonly string[] | undefined;

/**
 * Decides that a target is idle: no lease was held for the idle time, and nothing that bypasses wakeport used it
 * meanwhile. The target is asked twice in each idle time, and never while it is in use. Dependents that are idle themselves
 * may hold it during its idle time; it is asked before each of them is put to sleep.
 */
export class IdleCheck {
  readonly #options: IdleCheckOptions;
  readonly #timer: IdleTimer;
  #settle: NodeJS.Timeout | undefined;
  /** Ends with the idle time. */
  #round = new AbortController();
  /** The last question; the next one waits for it. */
  #asked: Promise<unknown> = Promise.resolve();
  #keptAwakeBy: readonly string[] = [];
  #repeatMs = 0;
  #isMeasuring = false;
  /** What was found before dependents were put to sleep; undefined if none was in this idle time. */
  #sample: Promise<Answer> | undefined;
  #isTrafficKnown = false;

  constructor(options: IdleCheckOptions) {
    this.#options = options;
    this.#timer = new IdleTimer(() => this.#expired());
  }

  /** When the target is checked next, in Unix milliseconds; undefined when no idle time runs. */
  get deadline(): number | undefined {
    return this.#timer.deadline;
  }

  /** What kept the target awake at the end of the last idle time; empty when nothing did. */
  get keptAwakeBy(): readonly string[] {
    return this.#keptAwakeBy;
  }

  /**
   * Starts an idle time, or the rest of one.
   *
   * @param delayMs until the first check
   * @param repeatMs until the next check, when the target is in use
   */
  start(delayMs: number, repeatMs: number): void {
    this.#repeatMs = repeatMs;
    this.#timer.start(delayMs);
    // The rest is over at once: the traffic until the end of the last dependent is known.
    this.#isTrafficKnown = this.#sample !== undefined && delayMs === 0;
    if (this.#isTrafficKnown) return;
    // What a dependent exchanged in its end does not count.
    if (this.#sample !== undefined) this.#restartMeasuring();
    this.measure(delayMs);
  }

  /** Asks for a first time, soon. Does nothing if that is done or under way in this idle time. */
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
   * Asks before a dependent that holds the target is put to sleep: its connections end then, which is no other use.
   *
   * @returns when the target has answered; undefined if it was not asked
   */
  sample(): Promise<unknown> | undefined {
    // Before the first answer there is nothing to compare with.
    if (!this.#isMeasuring || this.#settle !== undefined) return undefined;
    this.#sample = bothOf(this.#sample ?? [], this.#ask({ isHeld: true }));
    return this.#sample;
  }

  /** Use that cannot be that of another member of the group: sessions, but no traffic. */
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
    if (this.#sample !== undefined) this.#restartMeasuring();
    this.#sample = undefined;
    this.start(this.#repeatMs, this.#repeatMs);
    const isKnown = uses.length === this.#keptAwakeBy.length;
    this.#keptAwakeBy = uses;
    if (!isKnown) this.#options.onKeptAwake(uses);
  }

  #ask({ isHeld = false, isTrafficKnown = false }: Question = {}): Promise<Answer> {
    const { signal } = this.#round;
    const asked = this.#asked.then(async (): Promise<Answer> => {
      if (signal.aborted) return undefined;
      const question = AbortSignal.any([signal, AbortSignal.timeout(OTHER_USE_MS)]);
      const { target, trafficBytes } = this.#options;
      const answer = target.keptAwakeBy?.(isTrafficKnown ? undefined : trafficBytes(), question, isHeld) ?? [];
      const uses = await Promise.resolve(answer).catch((error: Error) => [`its use is not known: ${error.message}`]);
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
