import { abortable, delay, timerMs } from "../async/wait.ts";
import { isStop } from "./classify.ts";
import { ExitedError, StartTimeoutError } from "./errors.ts";
import type { Probe, RunningStatus, Target, TargetStatus } from "./target.ts";

/** Delays between repeated starts of a target that goes down during its start. */
const FIRST_RETRY_MS = 20;
const MAX_RETRY_MS = 500;

export interface StartAttemptOptions {
  readonly target: Target;
  readonly probe: Probe;
  /** The target is running, and only its readiness is checked. */
  readonly adopt: boolean;
  /** Acquires the dependencies of the target, before each start. */
  readonly prepare?: (signal: AbortSignal) => Promise<void>;
  /** Deadline of the whole attempt, in milliseconds. */
  readonly timeoutMs: number;
  /** Creates the error for the deadline. */
  readonly timeoutError: () => Error;
}

/** A probe of one run of the target at one address. */
interface ProbeRun {
  readonly status: RunningStatus;
  readonly over: AbortController;
  /** What the probe waits for. */
  pending: readonly string[];
  /** The status that ended the probe: the target is down, or up in another run or at another address. */
  changed?: TargetStatus;
}

/**
 * One attempt to start a target, or to adopt a running one: start it, inspect its address, probe it there. If the target
 * goes down meanwhile, the attempt fails at once, unless another start may succeed.
 */
export class StartAttempt {
  readonly adopt: boolean;
  readonly #target: Target;
  readonly #aborted = new AbortController();
  readonly #options: StartAttemptOptions;
  readonly #beganAt = performance.now();
  #startMs: number | undefined;
  #startCall: Promise<void> | undefined;
  #probeRun: ProbeRun | undefined;
  #isInspectDue = false;
  #wasStopped = false;
  #didStart = false;
  #retryMs = FIRST_RETRY_MS;

  constructor(options: StartAttemptOptions) {
    this.adopt = options.adopt;
    this.#target = options.target;
    this.#options = options;
  }

  /** Milliseconds since the beginning of the attempt. */
  get elapsedMs(): number {
    return performance.now() - this.#beganAt;
  }

  /** Milliseconds until the target was up, without its readiness; undefined if the target was not up. */
  get startMs(): number | undefined {
    return this.#startMs;
  }

  /** What the start or the probe waits for; empty if that is not known. */
  get pending(): readonly string[] {
    const { pending } = this.#target;
    return this.#probeRun?.pending ?? (pending === undefined ? [] : [pending]);
  }

  /** Resolves after the current call to start the target, even an aborted one; undefined otherwise. */
  get startCall(): Promise<void> | undefined {
    return this.#startCall;
  }

  /** Whether a call to start the target succeeded. */
  get didStart(): boolean {
    return this.#didStart;
  }

  /**
   * Runs the attempt. Called once.
   *
   * @throws ExitedError if the target went down; the errors of the target and the probe; the reason of `abort`
   */
  async start(): Promise<RunningStatus> {
    const { timeoutMs, timeoutError } = this.#options;
    const timer = setTimeout(() => this.#aborted.abort(timeoutError()), timerMs(timeoutMs));
    try {
      for (;;) {
        const running = await this.#startAndProbe();
        if (running !== undefined) return running;
        await delay(this.#retryMs, this.#aborted.signal);
        this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Called when the status of the target may have changed. */
  requestInspect(): void {
    this.#isInspectDue = true;
    void this.#inspectDuringProbe();
  }

  /** Ends the attempt; `start` rejects with `reason`. */
  abort(reason: Error): void {
    this.#aborted.abort(reason);
  }

  /** Returns undefined if another start may succeed. */
  async #startAndProbe(): Promise<RunningStatus | undefined> {
    const { prepare } = this.#options;
    const { signal } = this.#aborted;
    let wasAlreadyUp = false;
    if (!this.adopt) {
      if (prepare !== undefined) await abortable(prepare(signal), signal);
      wasAlreadyUp = (await abortable(this.#start(), signal)) === "already";
      this.#didStart = true;
    }
    this.#isInspectDue = false;
    const status = await abortable(this.#target.inspect(signal), signal);
    this.#startMs ??= this.elapsedMs;
    if (status.up && status.noRoute !== undefined) throw status.noRoute;
    const last = status.up ? await this.#probe(status) : status;
    if (last.up) return last === status ? last : undefined;
    // A target that was up before the call may have been going down.
    if (wasAlreadyUp || this.#mayRetry(last)) return undefined;
    throw new ExitedError(this.#target.name, last.exit ?? {});
  }

  #start(): Promise<"started" | "already"> {
    const call = this.#target.start(this.#aborted.signal);
    const over = (): void => {
      this.#startCall = undefined;
    };
    this.#startCall = call.then(over, over);
    return call;
  }

  /** A crash is final. A restart policy may start the target again, and a stop by another process is overridden once. */
  #mayRetry({ exit, isRestarting, pausedIncarnation, missing }: Extract<TargetStatus, { up: false }>): boolean {
    if (isRestarting) return true;
    if (this.adopt) return false;
    if (pausedIncarnation !== undefined) return true;
    if (this.#wasStopped || (missing === undefined && !isStop(exit ?? {}))) return false;
    this.#wasStopped = true;
    return true;
  }

  /** Probes until the target is ready. @returns `status`, or the status that ended the probe */
  async #probe(status: RunningStatus): Promise<TargetStatus> {
    const run: ProbeRun = { status, over: new AbortController(), pending: [] };
    this.#probeRun = run;
    void this.#inspectDuringProbe();
    try {
      const signal = AbortSignal.any([this.#aborted.signal, run.over.signal]);
      await this.#options.probe(status, signal, (pending) => {
        run.pending = pending;
      });
      return status;
    } catch (error) {
      // After an abort the probe's error may contain more than the reason, such as the last answer.
      if (this.#aborted.signal.aborted || run.changed === undefined) throw withCaveat(error, status);
      return run.changed;
    } finally {
      this.#probeRun = undefined;
    }
  }

  /** Never rejects: the probe continues if the inspection fails. */
  async #inspectDuringProbe(): Promise<void> {
    const run = this.#probeRun;
    while (run !== undefined && run === this.#probeRun && this.#isInspectDue) {
      this.#isInspectDue = false;
      const status = await this.#target.inspect(this.#aborted.signal).catch(() => undefined);
      if (status === undefined || run !== this.#probeRun) return;
      const { incarnation, address } = run.status;
      if (status.up && status.incarnation === incarnation && status.address === address) continue;
      run.changed = status;
      return run.over.abort();
    }
  }
}

/** Adds what is special about the address to a timeout. */
function withCaveat(error: unknown, { caveat }: RunningStatus): unknown {
  if (!(error instanceof StartTimeoutError) || caveat === undefined) return error;
  return new StartTimeoutError(`${error.message} (${caveat})`, { cause: error });
}
