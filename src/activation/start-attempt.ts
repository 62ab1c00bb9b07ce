/**
 * One attempt to bring a target up: start it (or, for an adoption, find it up), look where it answers, probe it there.
 * A target that goes down meanwhile ends the attempt at once, unless it was already on its way down when we asked.
 */

import { abortable, timerMs } from "../async/wait.ts";
import { isStop } from "./classify.ts";
import { ExitedError, StartTimeoutError } from "./errors.ts";
import type { Probe, RunningStatus, Target, TargetStatus } from "./target.ts";

/** Between two attempts at a target that went down just after it claimed to be up. */
const FIRST_AGAIN_MS = 20;
const MAX_AGAIN_MS = 500;

export interface StartAttemptOptions {
  readonly target: Target;
  readonly probe: Probe;
  /** Whether it is up already, so that only the probe is left to do. */
  readonly adopt: boolean;
  /** Brings up what the target depends on; before each start. */
  readonly prepare?: (signal: AbortSignal) => Promise<void>;
  /** How long the whole attempt may take, in milliseconds. */
  readonly timeoutMs: number;
  /** Makes the error for an attempt that took longer. */
  readonly timeoutError: () => Error;
}

/** A probe under way, for one life and address of the target. */
interface Watched {
  readonly status: RunningStatus;
  readonly over: AbortController;
  /** What is still missing, as the probe tells it. */
  pending: readonly string[];
  /** The look that ended the probe: the target is down, or up in another life or at another address. */
  last?: TargetStatus;
}

export class StartAttempt {
  readonly adopt: boolean;
  readonly #target: Target;
  readonly #aborted = new AbortController();
  readonly #options: StartAttemptOptions;
  readonly #began = performance.now();
  #startMs: number | undefined;
  #startCall: Promise<void> | undefined;
  #watched: Watched | undefined;
  #noticed = false;
  #wasStopped = false;
  #didStart = false;
  #againMs = FIRST_AGAIN_MS;

  constructor(options: StartAttemptOptions) {
    this.adopt = options.adopt;
    this.#target = options.target;
    this.#options = options;
  }

  /** Milliseconds since the attempt began. */
  get elapsedMs(): number {
    return performance.now() - this.#began;
  }

  /** Milliseconds until the target was up, readiness apart; undefined when it did not come that far. */
  get startMs(): number | undefined {
    return this.#startMs;
  }

  /** What the start or the probe under way still misses; empty when that is not known. */
  get pending(): readonly string[] {
    const { pending } = this.#target;
    return this.#watched?.pending ?? (pending === undefined ? [] : [pending]);
  }

  /** Pending while a call to start the target is, even one that was given up; undefined when there is none. */
  get startCall(): Promise<void> | undefined {
    return this.#startCall;
  }

  /** Whether the target is up by this attempt's doing, or was meanwhile. */
  get didStart(): boolean {
    return this.#didStart;
  }

  /**
   * Does all of it, once.
   *
   * @throws ExitedError when the target went down; whatever `target` or `probe` throw; the reason of `abort`
   */
  async start(): Promise<RunningStatus> {
    const { prepare, timeoutMs, timeoutError } = this.#options;
    const { signal } = this.#aborted;
    const timer = setTimeout(() => this.#aborted.abort(timeoutError()), timerMs(timeoutMs));
    try {
      for (;;) {
        if (!this.adopt && prepare !== undefined) await abortable(prepare(signal), signal);
        const verdict = this.adopt ? "started" : await abortable(this.#start(), signal);
        if (!this.adopt) this.#didStart = true;
        this.#noticed = false;
        const status = await abortable(this.#target.inspect(signal), signal);
        this.#startMs ??= this.elapsedMs;
        if (status.up && status.noRoute !== undefined) throw status.noRoute;
        const last = status.up ? await this.#probeIncarnation(status) : status;
        if (last.up && last === status) return last;
        if (!last.up && verdict === "started" && !this.#isWorthAnother(last)) {
          throw new ExitedError(this.#target.name, last.exit ?? {});
        }
        await this.#pause();
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Called when the status of the target may have changed. */
  requestInspect(): void {
    this.#noticed = true;
    void this.#lookWhileProbing();
  }

  /** Gives the attempt up; `bringUp` rejects with `reason`. */
  abort(reason: Error): void {
    this.#aborted.abort(reason);
  }

  #start(): Promise<"started" | "already"> {
    const verdict = this.#target.start(this.#aborted.signal);
    const over = (): void => {
      this.#startCall = undefined;
    };
    this.#startCall = verdict.then(over, over);
    return verdict;
  }

  /** A crash ends the attempt. A restart does not: by a restart policy, or, once, by somebody who stopped or replaced it. */
  #isWorthAnother({ exit, comesBack, pausedIncarnation, missing }: Extract<TargetStatus, { up: false }>): boolean {
    if (comesBack) return true;
    if (this.adopt) return false;
    if (pausedIncarnation !== undefined) return true;
    if (this.#wasStopped || (missing === undefined && !isStop(exit ?? {}))) return false;
    this.#wasStopped = true;
    return true;
  }

  async #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, this.#againMs);
    this.#againMs = Math.min(this.#againMs * 2, MAX_AGAIN_MS);
    try {
      await abortable(promise, this.#aborted.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Probes until the target answers (then `sight` itself is returned) or this life of it is over (then the look that told). */
  async #probeIncarnation(status: RunningStatus): Promise<TargetStatus> {
    const watched: Watched = { status, over: new AbortController(), pending: [] };
    this.#watched = watched;
    void this.#lookWhileProbing();
    try {
      const signal = AbortSignal.any([this.#aborted.signal, watched.over.signal]);
      await this.#options.probe(status, signal, (pending) => {
        watched.pending = pending;
      });
      return status;
    } catch (error) {
      // Given up: the probe may know better than the reason itself what was missing.
      if (this.#aborted.signal.aborted || watched.last === undefined) throw withCaveat(error, status);
      return watched.last;
    } finally {
      this.#watched = undefined;
    }
  }

  /** Never rejects: a look that fails tells nothing, and the probe goes on. */
  async #lookWhileProbing(): Promise<void> {
    const watched = this.#watched;
    if (watched === undefined || !this.#noticed) return;
    this.#noticed = false;
    const status = await this.#target.inspect(this.#aborted.signal).catch(() => undefined);
    if (status === undefined || watched !== this.#watched) return;
    const { incarnation, address } = watched.status;
    if (status.up && status.incarnation === incarnation && status.address === address)
      return void (await this.#lookWhileProbing());
    watched.last = status;
    watched.over.abort();
  }
}

/** A timeout at a special address says what is special about it. */
function withCaveat(error: unknown, { caveat }: RunningStatus): unknown {
  if (!(error instanceof StartTimeoutError) || caveat === undefined) return error;
  return new StartTimeoutError(`${error.message} (${caveat})`, { cause: error });
}
