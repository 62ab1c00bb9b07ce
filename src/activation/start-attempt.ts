import { abortable, delay, timerMs } from "../async/wait.ts";
import { isStop } from "./classify.ts";
import { EarlyInspection } from "./early-inspection.ts";
import { ExitedError, StartTimeoutError } from "./errors.ts";
import type { Probe, RunningStatus, Target, TargetStatus } from "./target.ts";

/** Delays between repeated starts of a target that goes down during its start. */
const FIRST_RETRY_MS = 20;
const MAX_RETRY_MS = 500;

export interface StartAttemptOptions {
  readonly target: Target;
  readonly inspection: Pick<Target, "inspect">;
  readonly probe: Probe;
  /** The target is running, and only its readiness is checked. */
  readonly adopt: boolean;
  /** Acquires the dependencies of the target, before each start. */
  readonly prepare?: (signal: AbortSignal) => Promise<void>;
  /** The start call of an earlier attempt that may still be open: the engine gets one at a time. */
  readonly startCall?: Promise<void> | undefined;
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
  /** Inspections while the start call is open. */
  #early: EarlyInspection | undefined;
  #probeRun: ProbeRun | undefined;
  #isInspectDue = false;
  #isInspecting = false;
  #wasStopped = false;
  #didStart = false;
  #retryMs = FIRST_RETRY_MS;

  constructor(options: StartAttemptOptions) {
    this.adopt = options.adopt;
    this.#target = options.target;
    this.#options = options;
    if (options.startCall !== undefined) this.#follow(options.startCall);
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

  /** Resolves after the open call to start the target, even an aborted one or one of an earlier attempt; else undefined. */
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

  /** Whether the status of the target may have changed after the last inspection. */
  get isInspectDue(): boolean {
    return this.#isInspectDue || this.#isInspecting;
  }

  /** Called when the status of the target may have changed. */
  requestInspect(): void {
    this.#isInspectDue = true;
    this.#early?.request();
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
    let call: Promise<"started" | "already"> | undefined;
    if (!this.adopt) {
      if (prepare !== undefined) await abortable(prepare(signal), signal);
      if (this.#startCall !== undefined) await abortable(this.#startCall, signal);
      call = this.#start();
    }
    const status = (call && (await this.#upDuring(call))) ?? (await this.#inspect());
    this.#startMs ??= this.elapsedMs;
    if (status.up && status.noRoute !== undefined) throw status.noRoute;
    const last = status.up ? await this.#probe(status) : status;
    if (last.up) return last === status ? last : undefined;
    // A target that was up before the call may have been going down.
    const wasAlreadyUp = call !== undefined && (await abortable(call, signal)) === "already";
    if (wasAlreadyUp || this.#mayRetry(last)) return undefined;
    throw new ExitedError(this.#target.name, last.exit ?? {});
  }

  #start(): Promise<"started" | "already"> {
    const call = this.#target.start(this.#aborted.signal);
    this.#follow(call);
    return call;
  }

  #follow(call: Promise<unknown>): void {
    const over = (): void => {
      this.#startCall = undefined;
    };
    this.#startCall = call.then(over, over);
  }

  #inspect(): Promise<TargetStatus> {
    this.#isInspectDue = false;
    return abortable(this.#options.inspection.inspect(this.#aborted.signal), this.#aborted.signal);
  }

  /**
   * Waits for the end of the start call, or until an event and the inspection after it show that the target is up: then
   * it is probed although the engine has not answered yet.
   *
   * @returns the status of that inspection; undefined if the target is to be inspected now
   * @throws the error of the call; the reason of `abort`
   */
  async #upDuring(call: Promise<unknown>): Promise<RunningStatus | undefined> {
    const { signal } = this.#aborted;
    const early = new EarlyInspection(() => this.#inspect());
    this.#early = early;
    try {
      await abortable(Promise.race([call, early.up]), signal);
      this.#didStart = true;
      return await abortable(early.result, signal);
    } finally {
      this.#early = undefined;
    }
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

  /** Probes until the target is ready. @returns `status`, or a later status that differs */
  async #probe(status: RunningStatus): Promise<TargetStatus> {
    const run: ProbeRun = { status, over: new AbortController(), pending: [] };
    this.#probeRun = run;
    void this.#inspectDuringProbe();
    try {
      const signal = AbortSignal.any([this.#aborted.signal, run.over.signal]);
      await this.#options.probe(status, signal, (pending) => {
        run.pending = pending;
      });
      // The probe may have succeeded just before an inspection showed another run.
      return run.changed ?? status;
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
    if (this.#isInspecting) return;
    this.#isInspecting = true;
    while (this.#probeRun !== undefined && this.#isInspectDue) {
      const run = this.#probeRun;
      const status = await this.#inspect().catch(() => undefined);
      if (status === undefined || run !== this.#probeRun) this.#isInspectDue = true;
      if (run !== this.#probeRun) continue;
      if (status === undefined) break;
      const { incarnation, address } = run.status;
      if (status.up && status.incarnation === incarnation && status.address === address) continue;
      run.changed = status;
      run.over.abort();
      break;
    }
    this.#isInspecting = false;
  }
}

/** Adds what is special about the address to a timeout. */
function withCaveat(error: unknown, { caveat }: RunningStatus): unknown {
  if (!(error instanceof StartTimeoutError) || caveat === undefined) return error;
  return new StartTimeoutError(`${error.message} (${caveat})`, { cause: error });
}
