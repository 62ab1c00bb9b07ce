/**
 * Controls one target. Clients and dependents acquire leases: the first lease starts the target, each lease keeps it
 * awake, and it is put to sleep after the idle timeout without use.
 *
 * The state changes only in `#dispatch`. A start belongs to the activator, so it continues after its client has left.
 * Events of the target only cause an inspection, and the inspected status decides.
 */

import { Deadline } from "../async/deadline.ts";
import { abortable, timerMs } from "../async/wait.ts";
import { KeptError } from "../errors.ts";
import { Companions } from "./companions.ts";
import type { DependencyLeases } from "./dependency-leases.ts";
import { ClosedError, type Exit, ExitedError, startErrorOf } from "./errors.ts";
import type { Group } from "./group.ts";
import { type EventDetails, StateHistory } from "./history.ts";
import { IdleCheck } from "./idle-check.ts";
import { Inspector } from "./inspector.ts";
import { existenceChange, type Finding, interpret } from "./interpret.ts";
import { type Holder, Lease, type LeaseClient } from "./lease.ts";
import { CLIENT, LeaseSet } from "./lease-set.ts";
import { LogTailCache, readLastLines } from "./log-tail.ts";
import { type EffectName, type EventName, initialState, type State, type StateName, transition } from "./machine.ts";
import { type Policy, sleepActionIn } from "./policy.ts";
import type { ActivationObserver } from "./reports.ts";
import { SleepReporter } from "./sleep-report.ts";
import { Starter, type StartFailure } from "./starter.ts";
import { type StopFailed, Stopper } from "./stopper.ts";
import type { Probe, RunningStatus, SleepAction, Target, TargetStatus } from "./target.ts";
import { UpstreamCheck } from "./upstream-check.ts";
import { Usage } from "./usage.ts";
import { type ActivatorView, viewOf } from "./view.ts";

/** Time for which a new connection waits for an inspection under way. */
const INSPECTION_WAIT_MS = 1_000;
/** The waiting page and the admin API show at most this number of lines. */
const LAST_LINES_LIMIT = 100;

/** The part of an activator that a reload changes. */
export interface ActivatorSettings {
  readonly probe: Probe;
  readonly policy: Policy;
  /** The services that use the target, for reports. */
  readonly services: readonly string[];
}

export interface ActivatorOptions extends ActivatorSettings {
  readonly target: Target;
  /** Targets that are ready before this one is started. Absent: none. */
  readonly dependencies?: DependencyLeases;
  /** Targets that are awake while this one is. It does not wait for them. Absent: none. */
  readonly companions?: DependencyLeases;
  readonly group?: Group;
  readonly observer: ActivationObserver;
}

/** Details of an event for its effects. */
interface TransitionDetails extends EventDetails {
  readonly newcomer?: Lease;
  /** The start was rejected before it began. */
  readonly wasRefused?: boolean;
}

export class Activator {
  readonly target: Target;
  readonly usage: Usage = new Usage((isUsed) => this.#useChanged(isUsed));
  readonly #dependencies: DependencyLeases | undefined;
  readonly #companions: Companions | undefined;
  readonly #group: Group | undefined;
  readonly #observer: ActivationObserver;
  #settings: ActivatorSettings;

  #state: State = initialState;
  /** Increases with each change of state. An inspection that began in an earlier epoch is repeated. */
  #epoch = 0;
  readonly #leases = new LeaseSet();
  readonly #history = new StateHistory();

  /** The run that leases hold; undefined if the target was not ready since it last went down. */
  #running: RunningStatus | undefined;
  /** Another process paused the ready target. */
  #isPaused = false;
  #missing: string | undefined;
  #becameReady = Promise.withResolvers<void>();

  readonly #inspector: Inspector;
  readonly #starter: Starter;
  readonly #stopper: Stopper;
  readonly #check: UpstreamCheck;
  readonly #idle: IdleCheck;
  readonly #sleepReporter: SleepReporter;
  readonly #logTail: LogTailCache = new LogTailCache(() => readLastLines(this.target, LAST_LINES_LIMIT));

  #watch: Disposable | undefined;
  #leaveRunning = false;
  #drainTimer: NodeJS.Timeout | undefined;
  readonly #closed = Promise.withResolvers<void>();

  constructor(options: ActivatorOptions) {
    const { target, dependencies, companions, group, observer } = options;
    this.target = target;
    this.#settings = options;
    this.#dependencies = dependencies;
    this.#companions = companions && new Companions(companions);
    this.#group = group;
    this.#observer = observer;
    const lastLines = (): Promise<readonly string[]> => this.#recordLastLines();
    this.#sleepReporter = new SleepReporter({
      report: (details) => observer.sleep({ ...this.#subject, ...details }),
      lastLines,
    });
    this.#inspector = new Inspector({
      target,
      epoch: () => this.#epoch,
      onStatus: (status) => this.#inspected(status),
    });
    this.#starter = new Starter({
      target,
      dependencies,
      companions: this.#companions,
      settings: () => this.#settings,
      isStarting: () => this.#state.name === "starting",
      onReady: (running) => this.#started(running),
      onFailed: (failure) => this.#startFailed(failure),
      report: (report) => observer.activation({ ...this.#subject, ...report }),
      lastLines,
    });
    this.#stopper = new Stopper({
      target,
      sleepReporter: this.#sleepReporter,
      onDone: (isPaused) => this.#stopped(isPaused),
      onFailed: (failure) => this.#stopFailed(failure),
    });
    this.#check = new UpstreamCheck({
      target,
      probe: () => this.#settings.probe,
      limitMs: () => this.#policy.startTimeoutMs,
      timeoutError: () => this.#starter.timeoutError(),
      mayUnpause: () => !this.#state.closing,
      onStatus: (status) => {
        if (status !== undefined) this.#inspected(status);
        return this.#running;
      },
    });
    this.#idle = new IdleCheck({
      target,
      usage: this.usage,
      policy: () => this.#policy,
      state: () => this.#state.name,
      ...(group && { useOfOthers: () => group.sessionsBeside(this) }),
      onIdle: () => this.#dispatch("idle"),
      onKeptAwake: (uses) => observer.keptAwake({ ...this.#subject, uses }),
    });
  }

  /** Replaces the settings. A start or stop under way continues with the old ones. */
  configure(settings: ActivatorSettings): void {
    this.#settings = settings;
    if (this.#idle.deadline !== undefined || this.#state.name === "paused") this.#idle.arm();
  }

  /** Begins to watch the target. A running target is adopted. */
  open(): void {
    this.#watch = this.target.watch(() => this.#requestInspect());
    this.#requestInspect();
  }

  /**
   * Returns the deadline of one client for all its waits: the rest of a stop, a start, and connecting to the target.
   * A client that acquires several leases keeps its first deadline.
   *
   * @param limitMs upper limit, in milliseconds
   */
  deadline(limitMs: number = Number.POSITIVE_INFINITY): Deadline {
    const stopMs = this.#state.name === "stopping" ? this.#stopper.limitMs : 0;
    const waitMs = timerMs(stopMs + this.#policy.startTimeoutMs);
    return new Deadline(Math.min(waitMs, limitMs), () => this.#starter.timeoutError());
  }

  /**
   * Acquires a lease and starts the target if it is asleep. Leases are granted in the order of the calls.
   *
   * @param signal withdraws the lease while it waits; its reason is thrown
   * @param client the client behind the lease, for reports
   * @throws StartTimeoutError, StartFailedError, ExitedError, DependencyError, CooldownError, ClosedError
   */
  async acquire(signal: AbortSignal, holder: Holder = CLIENT, client?: LeaseClient): Promise<Lease> {
    signal.throwIfAborted();
    if (["asleep", "paused", "stopping"].includes(this.#state.name)) this.#starter.assertNoCooldown();
    const lease = new Lease(holder, (released) => this.#released(released), client);
    this.#countUse(lease);
    this.#leases.add(lease);
    using deadline = this.deadline();
    const limit = AbortSignal.any([signal, deadline.signal]);
    const withdraw = (): void => lease.withdraw(limit.reason);
    limit.addEventListener("abort", withdraw, { once: true });
    try {
      this.#dispatch("acquire", { newcomer: lease });
      await lease.granted;
      if (this.usage.isUsed) this.#companions?.wake();
      if (this.#isUnreachable || this.#dependencies?.isIncomplete) await this.#complete(lease, limit);
      return lease;
    } finally {
      limit.removeEventListener("abort", withdraw);
    }
  }

  /** Waits until the target is ready without starting it, then acquires a lease. */
  async join(signal: AbortSignal, holder: Holder): Promise<Lease> {
    while (this.#state.name !== "ready") await abortable(this.#becameReady.promise, signal);
    return this.acquire(signal, holder);
  }

  /** Called before a dependent that holds this target is put to sleep. @returns what the dependent's stop waits for */
  beforeDependentSleeps(): Promise<unknown> | undefined {
    return this.usage.isUsed ? undefined : this.#idle.sample();
  }

  /** Returns the exec sessions in the target; empty while it is not ready. */
  async sessions(): Promise<readonly string[]> {
    return this.#state.name === "ready" ? this.#idle.sessions() : [];
  }

  /** This target as the holder of leases on its dependencies. */
  get asHolder(): Holder {
    return { name: this.target.name, kind: "dependent", usage: this.usage };
  }

  /** Records activity of a client that holds a lease already. */
  recordActivity(): void {
    this.#history.lastActivity = Date.now();
  }

  /**
   * Waits for the inspection under way, because the target may have a new address. The wait is limited to 1 s, so that a
   * hanging engine does not delay the clients of a ready target.
   *
   * @throws the reason of `signal`
   */
  async waitForInspection(signal: AbortSignal): Promise<void> {
    const { inspection } = this.#inspector;
    if (inspection === undefined) return;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(INSPECTION_WAIT_MS)]);
    await abortable(inspection, limit).catch(() => signal.throwIfAborted());
  }

  /**
   * Checks a ready target that does not accept a connection: inspects it, then waits until it answers again. Concurrent
   * calls share one check.
   *
   * @throws the reason of the lease's signal if the target is down; StartTimeoutError if it does not answer
   */
  async verify(lease: Lease): Promise<void> {
    await this.#check.run().finally(() => {
      if (this.#isPaused) this.#requestInspect();
    });
    lease.signal.throwIfAborted();
  }

  /**
   * Rejects new leases, lets held ones continue until the drain deadline, then stops the target. Idempotent.
   *
   * @returns resolves when the target is asleep or, with `leaveRunning`, no longer in use
   */
  close(options: { readonly drainMs: number; readonly leaveRunning: boolean }): Promise<void> {
    if (this.#state.closing) return this.#closed.promise;
    this.#leaveRunning = options.leaveRunning;
    this.#dispatch("close");
    this.#companions?.close(this.usage.isUsed);
    if (this.#state.name === "draining") {
      this.#drainTimer = setTimeout(() => this.#dispatch("deadline"), options.drainMs);
    }
    this.#stopper.hurry();
    return this.#closed.promise;
  }

  /** Returns the target's last output lines, oldest first, at most about 1 s old. Never rejects. */
  lastLines(): Promise<readonly string[]> {
    return this.#logTail.lines();
  }

  get view(): ActivatorView {
    return viewOf({
      target: this.target.name,
      state: this.#isPaused && this.#state.name === "ready" ? "paused" : this.#state.name,
      missing: this.#missing,
      pending: this.#starter.pending,
      leases: this.#leases,
      idle: this.#idle,
      cooldown: this.#starter.cooldown,
      history: this.#history,
    });
  }

  get #policy(): Policy {
    return this.#settings.policy;
  }

  get #subject(): { readonly target: string; readonly services: readonly string[] } {
    return { target: this.target.name, services: this.#settings.services };
  }

  // State

  #dispatch(event: EventName, details: TransitionDetails = {}): void {
    const from = this.#state.name;
    const { state, effects } = transition(this.#state, event);
    this.#state = state;
    if (state.name !== from) this.#moved(from, state.name, event, details);
    for (const effect of effects) this.#perform(effect, from, details);
    if (state.closing && state.name === "asleep") this.#finish();
  }

  #moved(from: StateName, to: StateName, event: EventName, details: TransitionDetails): void {
    this.#epoch += 1;
    this.#isPaused = false;
    this.#logTail.clear();
    const wokenBy = to === "starting" && event !== "found" ? this.#leases.first : undefined;
    this.#history.moved(from, to, event, { ...details, wokenBy });
    this.#observer.state({ ...this.#subject, from, to, event, ...(wokenBy && { wokenBy }) });
    if (from === "draining") clearTimeout(this.#drainTimer);
    if (to === "paused") this.#idle.paused();
    if (to !== "asleep" && to !== "paused") return;
    this.#dependencies?.release();
    this.#companions?.release();
  }

  #perform(effect: EffectName, from: StateName, { newcomer, error, wasRefused }: TransitionDetails): void {
    switch (effect) {
      case "start":
      case "adopt":
        return this.#starter.begin(effect === "adopt");
      case "abort":
        return this.#starter.abort(error ?? this.#closedError());
      case "sleep":
        return this.#putToSleep(sleepActionIn(from, this.#policy), from);
      case "stop":
        return wasRefused ? this.#stopper.skip() : this.#putToSleep("stop", from);
      case "stop-again":
        return this.#stopper.again();
      case "hurry":
        return this.#stopper.hurry();
      case "grant":
        return this.#grant();
      case "reject-newcomer":
        if (newcomer !== undefined) this.#leases.reject(this.#closedError(), [newcomer]);
        return;
      case "reject-waiting":
        return this.#leases.reject(error ?? this.#closedError());
      case "cut":
        return this.#cut(error);
      case "arm":
        return this.#idle.arm();
      case "disarm":
        return this.#idle.cancel();
    }
  }

  #finish(): void {
    this.#watch?.[Symbol.dispose]();
    this.#starter.cooldown.reset();
    this.#closed.resolve();
  }

  #closedError(): ClosedError {
    return new ClosedError(`${this.target.name} is being shut down`);
  }

  // Leases

  #grant(): void {
    if (this.usage.isUsed) this.recordActivity();
    else this.#becameUnused();
    this.#leases.grant(this.#running ?? { address: "" });
  }

  #cut(error: Error | undefined): void {
    const reason = error ?? new ClosedError(`${this.target.name} was still in use at the end of the drain`);
    this.#check.end(reason);
    this.#leases.cut(reason);
  }

  /** Counts a client's lease as use of the target. Any other lease counts while its holder is in use. */
  #countUse(lease: Lease): void {
    const { holder, client } = lease;
    const use = holder.usage === undefined ? this.usage.addClient() : this.usage.addUser(holder.usage);
    lease.onOver(() => use[Symbol.dispose]());
    // The group acquires a lease on this target as well, and retries members that failed.
    if (holder.kind !== "group" && this.usage.isUsed) this.#group?.wake(client);
  }

  /** The last client may be a client of a dependent that still holds the target. */
  #useChanged(isUsed: boolean): void {
    if (isUsed) {
      this.#idle.cancel();
      if (this.#state.name === "ready") this.#companions?.wake();
      return;
    }
    if (this.#leases.held === 0) return;
    this.recordActivity();
    this.#becameUnused();
  }

  /** The idle timeout begins, although idle dependents may still hold the target. */
  #becameUnused(): void {
    this.#companions?.releaseIn(this.#idle.restMs, () => this.#leases.held > 0);
    if (this.#state.name === "ready") this.#idle.scheduleBaseline();
  }

  /** Whether no client can connect to the ready target at this moment. */
  get #isUnreachable(): boolean {
    return this.#isPaused || this.#running?.noRoute !== undefined;
  }

  /** Completes a ready target for a new lease: unpauses it, waits for a route, and acquires missing dependencies. */
  async #complete(lease: Lease, signal: AbortSignal): Promise<void> {
    const scope = AbortSignal.any([signal, lease.signal]);
    const all = Promise.all([
      this.#isUnreachable ? this.verify(lease) : undefined,
      this.#dependencies?.isIncomplete ? this.#dependencies.acquire(scope) : undefined,
    ]);
    try {
      await abortable(all, scope);
    } catch (error) {
      // The holder sees that its lease was cut, and acquires another one.
      if (lease.signal.aborted) return;
      lease[Symbol.dispose]();
      signal.throwIfAborted();
      throw startErrorOf(this.target.name, error as Error);
    }
  }

  #released(lease: Lease): void {
    if (this.#leases.release(lease) && lease.holder.kind === "client") this.recordActivity();
    this.#dispatch("release");
    if (this.#isPaused && this.#state.leases === 0) this.#pausedUnused();
  }

  // Start

  #started(running: RunningStatus): void {
    // After a failed stop the target may have been restarted by another process.
    if (this.#running?.incarnation !== running.incarnation) this.#wentDown({});
    this.#running = running;
    this.#idle.ready();
    this.#missing = undefined;
    this.#history.lastError = undefined;
    this.#history.lastLines = [];
    this.#dispatch("started");
    this.#becameReady.resolve();
    this.#becameReady = Promise.withResolvers();
    // The status may have changed after the last inspection of the attempt.
    this.#requestInspect();
  }

  #startFailed({ error, event, exit, wasRefused }: StartFailure): void {
    this.#history.lastError = error.message;
    if (exit !== undefined) this.#wentDown(exit);
    this.#dispatch(event, { error: startErrorOf(this.target.name, error), wasRefused, ...(exit && { exit }) });
    if (event === "lost") this.#requestInspect();
  }

  async #recordLastLines(): Promise<readonly string[]> {
    const lines = await readLastLines(this.target);
    this.#history.lastLines = lines;
    return lines;
  }

  // Sleep

  #putToSleep(action: SleepAction, from: StateName): void {
    this.#check.end();
    if (this.#leaveRunning) return this.#stopper.skip();
    this.#stopper.begin({
      action,
      reason: this.#state.closing ? "shutdown" : "idle",
      isSleep: this.#running !== undefined || from === "paused",
      isAfterFailedStart: from === "starting",
      before: this.#beforeStop(),
    });
  }

  /** Returns what a stop waits for: a start call under way and measurements of dependencies. Undefined: nothing. */
  #beforeStop(): Promise<unknown> | undefined {
    const startCall = this.#starter.startCall ?? this.#check.startCall;
    const measurements = this.#state.closing ? [] : (this.#dependencies?.beforeSleep() ?? []);
    return startCall === undefined && measurements.length === 0 ? undefined : Promise.all([startCall, ...measurements]);
  }

  #stopped(isPaused: boolean): void {
    this.#running = undefined;
    this.#dispatch(isPaused ? "paused" : "stopped");
    // Another process may have started the target during the stop.
    if (!this.#state.closing) this.#requestInspect();
  }

  #stopFailed({ event, error, retryMs, isKnown }: StopFailed): void {
    const { closing } = this.#state;
    if (error instanceof KeptError) {
      if (!isKnown) this.#observer.keptAwake({ ...this.#subject, uses: [error.message] });
      return this.#dispatch(event, { error });
    }
    // After the shutdown no process would unpause the target.
    if (closing && this.#stopper.action === "pause") return this.#putToSleep("stop", "paused");
    this.#history.lastError = error.message;
    if (closing || !isKnown) this.#observer.stopFailed({ ...this.#subject, error, retryMs: closing ? 0 : retryMs });
    this.#dispatch(event, { error });
  }

  /** The run that leases held is over, without a stop by the activator. */
  #wentDown(exit: Exit): void {
    if (this.#running === undefined) return;
    this.#running = undefined;
    this.#sleepReporter.wentDown(exit);
  }

  // Inspection

  #requestInspect(): void {
    if (this.#state.name === "starting") this.#starter.requestInspect();
    else this.#inspector.requestInspect();
  }

  #inspected(status: TargetStatus): void {
    const existence = existenceChange(this.#missing, status);
    this.#missing = status.up ? undefined : status.missing;
    // The reason of the failed starts is gone.
    if (existence === "created") this.#starter.cooldown.reset();
    if (existence !== undefined && this.#state.name === "asleep") this.#history.noteExistence(existence === "created");
    this.#handle(this.#interpret(status));
    // The target may be running again, unless a holder acquired another lease at once.
    if (this.#state.name === "asleep" && !this.#state.closing) this.#handle(this.#interpret(status));
  }

  #interpret(status: TargetStatus): Finding {
    return interpret(status, { state: this.#state.name, running: this.#running });
  }

  #handle(finding: Finding): void {
    switch (finding.kind) {
      case "nothing":
        return;
      case "found":
        return this.#dispatch("found");
      case "found-paused":
        return this.#dispatch("paused");
      case "running":
        return this.#stillRunning(finding.status, finding.hasMoved);
      case "paused":
        return this.#paused();
      case "exited":
        return this.#exited(finding.exit, finding.missing);
    }
  }

  /** Open connections continue at a new address. */
  #stillRunning(status: RunningStatus, hasMoved: boolean): void {
    this.#running = status;
    if (hasMoved) {
      this.#leases.move(status);
      this.#check.move();
    }
    if (this.#isPaused) this.#history.note("unpaused");
    this.#isPaused = false;
  }

  #paused(): void {
    if (!this.#isPaused) this.#history.note("paused by another process");
    this.#isPaused = true;
    if (this.#state.leases > 0) this.#dispatch("paused");
    else this.#pausedUnused();
  }

  /** A target that is being unpaused stays awake, even if the client has left. */
  #pausedUnused(): void {
    if (this.#check.isUnderWay) return;
    this.#wentDown({ wasAsked: true });
    this.#dispatch("paused");
  }

  #exited(exit: Exit, missing: string | undefined): void {
    const error = new ExitedError(this.target.name, exit);
    const isUntried = this.#running?.isUntried;
    this.#wentDown(exit);
    if (isUntried && this.#starter.untriedExited(exit)) this.#history.lastError = error.message;
    this.#dispatch("exited", { error, exit, missing });
  }
}
