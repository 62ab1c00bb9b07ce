import type { Target } from "../target/target.ts";
import { IdleTimer } from "./idle-timer.ts";

/** The last connection's closing handshake ends in this time, so that its packets do not count as other use. */
const SETTLE_MS = 1_000;
/** For one question to the target. */
const OTHER_USE_MS = 20_000;

export interface IdleCheckOptions {
  readonly target: Target;
  /** The target was idle for its whole idle time. */
  readonly onIdle: () => void;
  /** The idle time is over, and something that bypasses wakeport uses the target. Not repeated for the same uses. */
  readonly onOtherUse: (uses: readonly string[]) => void;
}

/**
 * Decides that a target is idle: no lease was held for the idle time, and nothing that bypasses wakeport used it
 * meanwhile. The target is asked twice in each idle time, and never while it is in use. Dependents that are idle themselves
 * may hold it during its idle time.
 */
export class IdleCheck {
  readonly #options: IdleCheckOptions;
  readonly #timer: IdleTimer;
  #settle: NodeJS.Timeout | undefined;
  #underWay: AbortController | undefined;
  #otherUse: readonly string[] = [];
  #repeatMs = 0;
  #isMeasuring = false;

  constructor(options: IdleCheckOptions) {
    this.#options = options;
    this.#timer = new IdleTimer(() => this.#expired());
  }

  /** When the target is checked next, in Unix milliseconds; undefined when no idle time runs. */
  get deadline(): number | undefined {
    return this.#timer.deadline;
  }

  /** What kept the target awake at the end of the last idle time; empty when nothing did. */
  get otherUse(): readonly string[] {
    return this.#otherUse;
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
    this.measure(delayMs);
  }

  /** Asks for a first time, soon. Does nothing if that is done or under way in this idle time. */
  measure(idleMs: number): void {
    if (this.#options.target.otherUse === undefined || this.#isMeasuring) return;
    this.#isMeasuring = true;
    this.#settle = setTimeout(() => void this.#ask(), Math.min(SETTLE_MS, idleMs / 2));
  }

  cancel(): void {
    this.#timer.cancel();
    clearTimeout(this.#settle);
    this.#underWay?.abort();
    this.#underWay = undefined;
    this.#isMeasuring = false;
    this.#otherUse = [];
  }

  #expired(): void {
    if (this.#options.target.otherUse === undefined) return this.#options.onIdle();
    clearTimeout(this.#settle);
    void this.#ask((uses) => {
      if (uses.length === 0) {
        this.cancel();
        return this.#options.onIdle();
      }
      this.#timer.start(this.#repeatMs);
      const isKnown = uses.length === this.#otherUse.length;
      this.#otherUse = uses;
      if (!isKnown) this.#options.onOtherUse(uses);
    });
  }

  /** Rejects only when `onAnswer` throws. An answer that comes after `cancel` is dropped. */
  async #ask(onAnswer: (uses: readonly string[]) => void = () => {}): Promise<void> {
    this.#underWay?.abort();
    const ask = new AbortController();
    this.#underWay = ask;
    const signal = AbortSignal.any([ask.signal, AbortSignal.timeout(OTHER_USE_MS)]);
    const answer = this.#options.target.otherUse?.(signal) ?? [];
    const uses = await Promise.resolve(answer).catch((error: Error) => [`its use is not known: ${error.message}`]);
    if (!ask.signal.aborted) onAnswer(uses);
  }
}
