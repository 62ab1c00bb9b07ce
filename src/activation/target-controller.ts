/**
 * Starts, stops and inspects one target for its activator, and turns what happens to the target into events of the state
 * machine. Events of the target only cause an inspection, and the inspected status decides.
 */
import { abortable } from "../async/wait.ts";
import { KeptError } from "../errors.ts";
import { type ActivatorSettings, sleepActionIn } from "./activation-policy.ts";
import type { Companions } from "./companions.ts";
import type { DependencyLeases } from "./dependency-leases.ts";
import { type Exit, ExitedError, RenamedError, shutdownError, startErrorOf } from "./errors.ts";
import type { EventDetails, StateHistory } from "./history.ts";
import { Inspector } from "./inspector.ts";
import { existenceChange, type Finding, interpret } from "./interpret.ts";
import { readLastLines } from "./log-tail.ts";
import type { EffectName, EventName, State, StateName } from "./machine.ts";
import { OrderedInspection } from "./ordered-inspection.ts";
import type { ActivationObserver } from "./reports.ts";
import { SleepReporter } from "./sleep-report.ts";
import { Starter, type StartFailure } from "./starter.ts";
import { type StopFailed, Stopper } from "./stopper.ts";
import type { RenamedRun, RunningStatus, SleepAction, Target, TargetStatus } from "./target.ts";
import { UpstreamCheck } from "./upstream-check.ts";

/** Time for which a new connection waits for an inspection under way. */
const INSPECTION_WAIT_MS = 1_000;

/** The effects on the target itself. */
export type TargetEffect = Extract<EffectName, "start" | "adopt" | "abort" | "sleep" | "stop" | "stop-again" | "hurry">;

/** Details of an event for its effects. */
export interface TargetEventDetails extends EventDetails {
  /** The start was rejected before it began. */
  readonly wasRefused?: boolean;
}

export interface TargetControllerOptions {
  readonly target: Target;
  readonly dependencies: DependencyLeases | undefined;
  readonly companions: Companions | undefined;
  readonly observer: ActivationObserver;
  readonly history: StateHistory;
  readonly settings: () => ActivatorSettings;
  readonly state: () => State;
  readonly dispatch: (event: EventName, details?: TargetEventDetails) => void;
  /** Called when the address of the running target changed. */
  readonly onMoved: (status: RunningStatus) => void;
  /** Called after each inspection. */
  readonly onInspected: () => void;
  /** Called when `isInspecting` has changed. */
  readonly onInspecting: () => void;
  /** Called before an unused target is put to sleep. @throws KeptError if it is in use nevertheless */
  readonly beforeSleep?: () => Promise<void>;
}

export class TargetController {
  /** These three are created at their first use: a target that stays asleep needs none. */
  #starter: Starter | undefined;
  #stopper: Stopper | undefined;
  #check: UpstreamCheck | undefined;
  /** Whether a close leaves the target running. */
  leaveRunning = false;
  readonly #options: TargetControllerOptions;
  readonly #inspection: OrderedInspection;
  readonly #inspector: Inspector;
  readonly #sleepReporter: SleepReporter;
  #watch: Disposable | undefined;
  /** Increases with each change of state. An inspection that began in an earlier epoch is repeated. */
  #epoch = 0;
  #running: RunningStatus | undefined;
  #isPaused = false;
  #missing: string | undefined;

  constructor(options: TargetControllerOptions) {
    const { target, observer } = options;
    this.#options = options;
    this.#sleepReporter = new SleepReporter({
      report: (details) => observer.sleep({ ...this.#subject, ...details }),
      lastLines: () => this.#recordLastLines(),
    });
    this.#inspection = new OrderedInspection(target);
    this.#inspector = new Inspector({
      target: this.#inspection,
      epoch: () => this.#epoch,
      onStatus: (status) => this.#inspected(status),
      onChange: options.onInspecting,
    });
  }

  get starter(): Starter {
    this.#starter ??= this.#newStarter();
    return this.#starter;
  }

  get stopper(): Stopper {
    this.#stopper ??= this.#newStopper();
    return this.#stopper;
  }

  get check(): UpstreamCheck {
    this.#check ??= this.#newCheck();
    return this.#check;
  }

  /** What the start under way waits for; empty if that is not known. */
  get pending(): readonly string[] {
    return this.#starter?.pending ?? [];
  }

  /** The end of the cooldown after failed starts, as Unix time in milliseconds. */
  get cooldownUntil(): number | undefined {
    return this.#starter?.cooldown.until;
  }

  /** The run that leases hold; undefined if the target was not ready since it last went down. */
  get running(): RunningStatus | undefined {
    return this.#running;
  }

  /** Whether another process paused the ready target. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Names what is missing, if the target does not exist. */
  get missing(): string | undefined {
    return this.#missing;
  }

  /** Whether no client can connect to the ready target at this moment. */
  get isUnreachable(): boolean {
    return this.#isPaused || this.#running?.noRoute !== undefined;
  }

  /** Begins to watch the target. */
  open(): void {
    this.#watch = this.#options.target.watch(() => this.requestInspect());
    this.requestInspect();
  }

  /** Ends the watch. The target is asleep or left alone. */
  close(): void {
    this.#watch?.[Symbol.dispose]();
    this.#starter?.cooldown.reset();
  }

  /** Called after each change of the state. */
  stateChanged(): void {
    this.#epoch += 1;
    this.#isPaused = false;
  }

  perform(effect: TargetEffect, from: StateName, { error, wasRefused }: TargetEventDetails): void {
    switch (effect) {
      case "start":
      case "adopt":
        return this.starter.begin(effect === "adopt");
      case "abort":
        return this.starter.abort(error ?? shutdownError(this.#options.target.name));
      case "sleep":
        return this.#putToSleep(sleepActionIn(from, this.#options.settings().policy), from);
      case "stop":
        return wasRefused ? this.stopper.skip() : this.#putToSleep("stop", from);
      case "stop-again":
        return this.stopper.again();
      case "hurry":
        return this.stopper.hurry();
    }
  }

  /** Ends the check of a target that does not answer. */
  endCheck(reason: Error): void {
    this.#check?.end(reason);
  }

  requestInspect(): void {
    const { name } = this.#options.state();
    if (name === "starting") this.starter.requestInspect();
    // The end of a stop is followed by an inspection.
    else if (name !== "stopping") this.#inspector.requestInspect();
  }

  get isInspecting(): boolean {
    return this.#inspector.inspection !== undefined;
  }

  /**
   * Waits for the inspection under way, for at most 1 s: a hanging engine must not delay clients of a ready target.
   *
   * @throws the reason of `signal`
   */
  async waitForInspection(signal: AbortSignal): Promise<void> {
    const { inspection } = this.#inspector;
    if (inspection === undefined) return;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(INSPECTION_WAIT_MS)]);
    await abortable(inspection, limit).catch(() => signal.throwIfAborted());
  }

  /** Handles a pause by another process without a lease, unless the target is being unpaused: then it stays awake. */
  pausedUnused(): void {
    if (this.#check?.isUnderWay) return;
    this.#wentDown({ stopRequested: true });
    this.#options.dispatch("paused");
  }

  get #subject(): { readonly target: string; readonly services: readonly string[] } {
    return { target: this.#options.target.name, services: this.#options.settings().services };
  }

  async #recordLastLines(): Promise<readonly string[]> {
    const lines = await readLastLines(this.#options.target);
    this.#options.history.lastLines = lines;
    return lines;
  }

  // Start

  #newStarter(): Starter {
    const { target, dependencies, companions, observer, settings, state } = this.#options;
    return new Starter({
      target,
      inspection: this.#inspection,
      dependencies,
      companions,
      settings,
      isStarting: () => state().name === "starting",
      onReady: (running) => this.#started(running),
      onFailed: (failure) => this.#startFailed(failure),
      report: (report) => observer.activation({ ...this.#subject, ...report }),
      lastLines: () => this.#recordLastLines(),
    });
  }

  #started(running: RunningStatus): void {
    const { history, dispatch } = this.#options;
    // After a failed stop the target may have been restarted by another process.
    if (this.#running?.incarnation !== running.incarnation) this.#wentDown({});
    this.#running = running;
    this.#missing = undefined;
    history.lastError = undefined;
    history.lastLines = [];
    dispatch("started");
    if (this.starter.isInspectDue) this.requestInspect();
  }

  #startFailed({ error, event, exit, wasRefused }: StartFailure): void {
    const { target, history, dispatch } = this.#options;
    history.lastError = error.message;
    if (exit !== undefined) this.#wentDown(exit);
    dispatch(event, { error: startErrorOf(target.name, error), wasRefused, ...(exit && { exit }) });
    if (event === "lost") this.requestInspect();
  }

  // Sleep

  #newStopper(): Stopper {
    const { target, state, beforeSleep } = this.#options;
    return new Stopper({
      target,
      // A shutdown has a deadline, after which connections are cut.
      beforeSleep: () => (state().closing ? undefined : beforeSleep?.()),
      sleepReporter: this.#sleepReporter,
      onDone: (isPaused) => this.#stopped(isPaused),
      onFailed: (failure) => this.#stopFailed(failure),
    });
  }

  #putToSleep(action: SleepAction, from: StateName): void {
    this.#check?.end();
    if (this.leaveRunning) return this.stopper.skip();
    this.stopper.begin({
      action,
      reason: this.#options.state().closing ? "shutdown" : "idle",
      isSleep: this.#running !== undefined || from === "paused",
      isAfterFailedStart: from === "starting",
      before: this.#beforeStop(),
    });
  }

  /** Returns what a stop waits for: a start call under way and measurements of dependencies. Undefined: nothing. */
  #beforeStop(): Promise<unknown> | undefined {
    const { dependencies, state } = this.#options;
    const startCall = this.#starter?.endStartCall() ?? this.#check?.startCall;
    const measurements = state().closing ? [] : (dependencies?.beforeSleep() ?? []);
    return startCall === undefined && measurements.length === 0 ? undefined : Promise.all([startCall, ...measurements]);
  }

  #stopped(isPaused: boolean): void {
    this.#running = undefined;
    this.#options.dispatch(isPaused ? "paused" : "stopped");
    // Another process may have started the target during the stop.
    if (!this.#options.state().closing) this.requestInspect();
  }

  #stopFailed({ event, error, retryMs, isKnown }: StopFailed): void {
    const { observer, history, state, dispatch } = this.#options;
    const { closing } = state();
    if (error instanceof KeptError) {
      if (!isKnown) observer.keptAwake({ ...this.#subject, uses: [error.message] });
      return dispatch(event, { error });
    }
    // After the shutdown no process would unpause the target.
    if (closing && this.stopper.action === "pause") return this.#putToSleep("stop", "paused");
    history.lastError = error.message;
    if (closing || !isKnown) observer.stopFailed({ ...this.#subject, error, retryMs: closing ? 0 : retryMs });
    dispatch(event, { error });
  }

  /** The run is over, without a stop by the activator. */
  #wentDown(exit: Exit): void {
    if (this.#running === undefined) return;
    this.#running = undefined;
    this.#sleepReporter.wentDown(exit);
  }

  // Inspection

  #newCheck(): UpstreamCheck {
    const { target, settings, state } = this.#options;
    return new UpstreamCheck({
      target,
      inspection: this.#inspection,
      probe: () => settings().probe,
      limitMs: () => settings().policy.startTimeoutMs,
      timeoutError: () => this.starter.timeoutError(),
      mayUnpause: () => !state().closing,
      endStartCall: () => this.#starter?.endStartCall(),
      onStatus: (status) => {
        if (status !== undefined) this.#inspected(status);
        return this.#running;
      },
    });
  }

  #inspected(status: TargetStatus): void {
    const { history, state, onInspected } = this.#options;
    const existence = existenceChange(this.#missing, status);
    this.#missing = status.up ? undefined : status.missing;
    // The reason of the failed starts is gone.
    if (existence === "created") this.#starter?.cooldown.reset();
    if (existence !== undefined && state().name === "asleep") history.noteExistence(existence === "created");
    this.#handle(this.#interpret(status));
    // The target may be running again, unless a holder acquired another lease at once.
    if (state().name === "asleep" && !state().closing) this.#handle(this.#interpret(status));
    onInspected();
  }

  #interpret(status: TargetStatus): Finding {
    return interpret(status, { state: this.#options.state().name, running: this.#running });
  }

  #handle(finding: Finding): void {
    switch (finding.kind) {
      case "nothing":
        return;
      case "found":
        return this.#options.dispatch("found");
      case "found-paused":
        return this.#options.dispatch("paused");
      case "running":
        return this.#stillRunning(finding.status, finding.hasMoved);
      case "paused":
        return this.#paused();
      case "renamed":
        return this.#renamed(finding.run);
      case "exited":
        return this.#exited(finding.exit, finding.missing);
    }
  }

  /** Open connections continue at a new address. */
  #stillRunning(status: RunningStatus, hasMoved: boolean): void {
    const { history, onMoved } = this.#options;
    this.#running = status;
    if (hasMoved) {
      onMoved(status);
      this.#check?.move();
    }
    if (this.#isPaused) history.note("unpaused");
    this.#isPaused = false;
  }

  #paused(): void {
    const { history, state, dispatch } = this.#options;
    if (!this.#isPaused) history.note("paused by another process");
    this.#isPaused = true;
    if (state().leases > 0) dispatch("paused");
    else this.pausedUnused();
  }

  #renamed({ down }: RenamedRun): void {
    const { target, dispatch } = this.#options;
    this.#wentDown({});
    dispatch("exited", { error: new RenamedError(target.name, down), exit: {} });
  }

  #exited(exit: Exit, missing: string | undefined): void {
    const { target, history, dispatch } = this.#options;
    const error = new ExitedError(target.name, exit);
    const isUntried = this.#running?.isUntried;
    this.#wentDown(exit);
    if (isUntried && this.starter.untriedExited(exit)) history.lastError = error.message;
    dispatch("exited", { error, exit, missing });
  }
}
