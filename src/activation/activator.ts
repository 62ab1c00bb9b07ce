/**
 * Owns the life of one target. Everybody who needs the target acquires a lease; the activator starts the target for
 * the first, keeps it up while any is held, and puts it to sleep when none was held for the idle timeout.
 *
 * State changes in `#dispatch` and nowhere else. A start belongs to the activator: the client that caused it may leave.
 * What the target says of itself is never believed as told: each hint leads to a look, and the look decides.
 */

import { Deadline } from "../async/deadline.ts";
import { abortable, timerMs } from "../async/wait.ts";
import { isDenial, outcomeOf, sleepReasonOf, wasKept, wasRefused } from "./classify.ts";
import { Companions } from "./companions.ts";
import { Cooldown } from "./cooldown.ts";
import type { DependencyLeases } from "./dependency-leases.ts";
import {
  ActivationError,
  ClosedError,
  CooldownError,
  type Exit,
  ExitedError,
  StartFailedError,
  StartTimeoutError,
} from "./errors.ts";
import type { Group } from "./group.ts";
import { type EventDetails, StateHistory } from "./history.ts";
import { IdleCheck } from "./idle-check.ts";
import { Inspector } from "./inspector.ts";
import { type Holder, Lease, type LeaseClient } from "./lease.ts";
import { CLIENT, LeaseSet } from "./lease-set.ts";
import { LogTailCache } from "./log-tail.ts";
import { type EffectName, type EventName, initialState, type State, type StateName, transition } from "./machine.ts";
import type { ActivationObserver, ActivationReport, SleepReason, SleepReport } from "./reports.ts";
import { StartAttempt } from "./start-attempt.ts";
import { Stopper } from "./stopper.ts";
import type { Probe, RunningStatus, SleepAction, Target, TargetStatus } from "./target.ts";
import { UpstreamCheck } from "./upstream-check.ts";
import { Usage } from "./usage.ts";

const LAST_LINES_MS = 2_000;
/** Time for which a new connection waits for a look under way. */
const LOOKED_MS = 1_000;
/** As many as anybody shows. */
const TAIL_LINES = 100;
/** How long what was not tried has to stay up to count as started. */
const EARLY_CRASH_MS = 10_000;

/** All in milliseconds. */
export interface Policy {
  /** From the end of the last lease until the target is put to sleep. */
  readonly idleTimeoutMs: number;
  readonly sleep: SleepAction;
  /** What becomes of a target that sleeps by a pause, so long after the pause; absent: it stays paused. */
  readonly thenStop?: { readonly afterMs: number; readonly action: "stop" | "kill" };
  readonly minUptimeMs: number;
  readonly startTimeoutMs: number;
  /** Bytes of direct traffic in one idle timeout that do not keep the target awake; absent: any number. */
  readonly directTrafficBytes?: number;
}

export interface ActivatorOptions {
  readonly target: Target;
  readonly probe: Probe;
  readonly policy: Policy;
  /** The services that use the target, for reports. */
  readonly services: readonly string[];
  /** What the target depends on; absent: nothing. */
  readonly dependencies?: DependencyLeases;
  /** Targets that are awake while this one is. It does not wait for them. Absent: none. */
  readonly companions?: DependencyLeases;
  /** What is awake together with it. */
  readonly group?: Group;
  readonly observer: ActivationObserver;
}

/** What an activator knows of itself at this moment. Times are Unix milliseconds. */
export interface ActivatorView {
  readonly target: string;
  /** "paused" also for a target that somebody paused under its connections. */
  readonly state: StateName;
  /** Why, and since when, it is in this state. */
  readonly cause: string;
  readonly since: number;
  /** What does not exist, when the target does not. */
  readonly missing?: string;
  /** What else needs the target at this moment, besides clients. */
  readonly dependents: readonly string[];
  /** What kept the idle target awake at the end of the last idle timeout: direct use, or why it must not be stopped. */
  readonly keptAwakeBy: readonly string[];
  readonly held: number;
  readonly waiting: number;
  /** While the target is up but not ready: what is still missing. */
  readonly pending?: readonly string[];
  readonly idleDeadline?: number;
  readonly lastActivity?: number;
  readonly cooldownUntil?: number;
  readonly lastError?: string;
  /** The last output before a failed start or a crash; absent after a successful start. */
  readonly lastLines?: readonly string[];
  /** Milliseconds the target was awake in all, as far as this process saw. */
  readonly awakeMs: number;
}

/** What came with an event. */
interface TransitionDetails extends EventDetails {
  readonly newcomer?: Lease;
  /** The start was refused before it began. */
  readonly wasNotStarted?: boolean;
}

export class Activator {
  readonly target: Target;
  readonly usage: Usage = new Usage((isUsed) => this.#useChanged(isUsed));
  #probe: Probe;
  #policy: Policy;
  #services: readonly string[];
  readonly #dependencies: DependencyLeases | undefined;
  readonly #companions: Companions | undefined;
  readonly #group: Group | undefined;
  readonly #observer: ActivationObserver;

  #state: State = initialState;
  /** Changes with every change of state, so that a look begun before it is known to be stale. */
  #epoch = 0;
  readonly #leases = new LeaseSet();

  /** The run under way, or the last one. */
  #attempt: StartAttempt | undefined;
  #up: RunningStatus | undefined;
  /** Somebody paused it while it is in use. */
  #isFrozen = false;
  #missing: string | undefined;
  #readyAt = 0;
  #pausedAt = 0;
  #becameReady = Promise.withResolvers<void>();
  readonly #idle: IdleCheck;
  readonly #cooldown = new Cooldown();
  readonly #check: UpstreamCheck;

  #watch: Disposable | undefined;
  readonly #inspector: Inspector;
  readonly #stopper: Stopper;
  #sleep: { readonly reason: SleepReason; readonly action: SleepAction; readonly since: number } | undefined;
  /** Whether the stop under way follows a failed start or adoption. */
  #stopsFailedStart = false;

  #leaveRunning = false;
  #drainTimer: NodeJS.Timeout | undefined;
  readonly #closed = Promise.withResolvers<void>();

  readonly #history = new StateHistory();
  readonly #tail: LogTailCache = new LogTailCache(() =>
    this.target.lastLines(AbortSignal.timeout(LAST_LINES_MS), TAIL_LINES),
  );

  constructor(options: ActivatorOptions) {
    this.target = options.target;
    this.#probe = options.probe;
    this.#policy = options.policy;
    this.#services = options.services;
    this.#dependencies = options.dependencies;
    this.#companions = options.companions && new Companions(options.companions);
    this.#group = options.group;
    this.#observer = options.observer;
    const { target } = options;
    this.#idle = new IdleCheck({
      target,
      trafficBytes: () => this.#policy.directTrafficBytes,
      sleepAction: () => this.#sleepActionFrom(this.#state.name),
      ...(options.group && { useOfOthers: () => options.group?.sessionsBeside(this) ?? Promise.resolve([]) }),
      onIdle: () => this.#dispatch("idle"),
      onKeptAwake: (uses) => this.#observer.keptAwake({ target: target.name, services: this.#services, uses }),
    });
    this.#inspector = new Inspector({ target, epoch: () => this.#epoch, onSight: (status) => this.#saw(status) });
    this.#stopper = new Stopper({
      target,
      onDone: (isPaused) => this.#stopped(isPaused),
      onFailure: (error, retryMs, isKnown) => this.#notStopped(error, retryMs, isKnown),
    });
    this.#check = new UpstreamCheck({
      target,
      probe: () => this.#probe,
      limitMs: () => this.#policy.startTimeoutMs,
      timeoutError: () => this.#timeoutError(),
      mayThaw: () => !this.#state.closing,
      onSight: (status) => {
        if (status !== undefined) this.#saw(status);
        return this.#up;
      },
    });
  }

  /** From now on other services use it, or the same ones in another way. What is under way goes on as it began. */
  configure({ probe, policy, services }: Pick<ActivatorOptions, "probe" | "policy" | "services">): void {
    this.#probe = probe;
    this.#policy = policy;
    this.#services = services;
    if (this.#idle.deadline !== undefined || this.#state.name === "paused") this.#arm();
  }

  /** Begins to follow the target; one that is up already is adopted. */
  open(): void {
    this.#watch = this.target.watch(() => this.#changed());
    this.#changed();
  }

  /**
   * Returns the deadline of one client for all its waits: the rest of a stop, a start, and connecting to the target.
   * A client that acquires several leases keeps its first deadline.
   *
   * @param limitMs upper limit, in milliseconds
   */
  deadline(limitMs: number = Number.POSITIVE_INFINITY): Deadline {
    return new Deadline(Math.min(this.#patienceMs(), limitMs), () => this.#timeoutError());
  }

  /**
   * Claims the target, starting it when it sleeps. Claims are granted in the order in which they came.
   *
   * @param signal gives the claim up while it waits; its reason is thrown
   * @param holder what the claim is made for
   * @param client the client behind the claim, for reports
   * @throws StartTimeoutError, StartFailedError, ExitedError, DependencyError, CooldownError, ClosedError
   */
  async acquire(signal: AbortSignal, holder: Holder = CLIENT, client?: LeaseClient): Promise<Lease> {
    signal.throwIfAborted();
    this.#refuseInCooldown();
    const lease = new Lease(holder, (released) => this.#released(released), client);
    this.#countUse(lease);
    this.#leases.add(lease);
    const late = new AbortController();
    const patience = setTimeout(() => {
      late.abort(this.#timeoutError());
      lease.abandon(late.signal.reason);
    }, this.#patienceMs());
    const leave = (): void => lease.abandon(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    try {
      this.#dispatch("acquire", { newcomer: lease });
      await lease.granted;
      if (this.usage.isUsed) this.#companions?.wake();
      const isComplete = !this.#isFrozen && this.#up?.noRoute === undefined && !this.#dependencies?.isIncomplete;
      if (!isComplete) await this.#complete(lease, AbortSignal.any([signal, late.signal]));
      return lease;
    } finally {
      clearTimeout(patience);
      signal.removeEventListener("abort", leave);
    }
  }

  /** Waits until the target is ready by somebody else's doing, then claims it. Starts nothing. */
  async join(signal: AbortSignal, holder: Holder): Promise<Lease> {
    while (this.#state.name !== "ready") await abortable(this.#becameReady.promise, signal);
    return this.acquire(signal, holder);
  }

  /** Called before a dependent that holds this target is put to sleep. @returns what the dependent's stop waits for */
  beforeDependentSleeps(): Promise<unknown> | undefined {
    return this.usage.isUsed ? undefined : this.#idle.sample();
  }

  /** Exec sessions in the target; empty while it is not ready. */
  async sessions(): Promise<readonly string[]> {
    return this.#state.name === "ready" ? this.#idle.sessions() : [];
  }

  /** This target as the holder of claims on its dependencies. */
  get asHolder(): Holder {
    return { name: this.target.name, kind: "dependent", usage: this.usage };
  }

  /** Somebody made more use of a lease that is held already. */
  noteActivity(): void {
    this.#history.lastActivity = Date.now();
  }

  /**
   * Waits for the look after the last event, because the target may have a new address. Limited by LOOKED_MS, so that a
   * hanging engine does not hold the clients of a ready target.
   *
   * @throws the reason of `signal`
   */
  async looked(signal: AbortSignal): Promise<void> {
    const { inspecting: looking } = this.#inspector;
    if (looking === undefined) return;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(LOOKED_MS)]);
    await abortable(looking, limit).catch(() => signal.throwIfAborted());
  }

  /**
   * For a lease whose target does not take a connection although it is ready: looks whether it is still up, then
   * waits until it answers again. One check serves all who ask meanwhile.
   *
   * @throws the reason of the lease's signal when the target turns out to be down, StartTimeoutError when it stays silent
   */
  async verify(lease: Lease): Promise<void> {
    await this.#check.run().finally(() => {
      if (this.#isFrozen) this.#changed();
    });
    lease.signal.throwIfAborted();
  }

  /**
   * Ends the service of this target: nobody is admitted any more, those who hold may finish until the deadline, then
   * the target is stopped. Idempotent; resolves when the target sleeps, or is left alone.
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

  /** What the target last printed, oldest line first, read about once a second at most for all who ask. Never throws. */
  lastLines(): Promise<readonly string[]> {
    return this.#tail.lines();
  }

  get view(): ActivatorView {
    const idleDeadline = this.#idle.deadline;
    const cooldownUntil = this.#cooldown.until;
    const { lastActivity, lastError, lastLines } = this.#history;
    const pending = this.#pending;
    return {
      target: this.target.name,
      state: this.#isFrozen && this.#state.name === "ready" ? "paused" : this.#state.name,
      cause: this.#history.cause,
      since: this.#history.since,
      dependents: this.#leases.dependents,
      keptAwakeBy: this.#idle.keptAwakeBy,
      held: this.#leases.held,
      waiting: this.#leases.waiting,
      awakeMs: this.#history.awakeMs,
      ...(this.#missing !== undefined && { missing: this.#missing }),
      ...(pending.length > 0 && { pending }),
      ...(idleDeadline !== undefined && { idleDeadline }),
      ...(cooldownUntil !== undefined && { cooldownUntil }),
      ...(lastActivity !== undefined && { lastActivity }),
      ...(lastError !== undefined && { lastError }),
      ...(lastLines !== undefined && lastLines.length > 0 && { lastLines }),
    };
  }

  #dispatch(event: EventName, circumstance: TransitionDetails = {}): void {
    const from = this.#state.name;
    const { state, effects } = transition(this.#state, event);
    this.#state = state;
    if (state.name !== from) this.#moved(from, state.name, event, circumstance);
    for (const effect of effects) this.#perform(effect, from, circumstance);
    if (state.closing && state.name === "asleep") this.#finish();
  }

  #moved(from: StateName, to: StateName, event: EventName, circumstance: TransitionDetails): void {
    this.#epoch += 1;
    this.#isFrozen = false;
    this.#tail.forget();
    const wokenBy = to === "starting" && event !== "found" ? this.#leases.first : undefined;
    this.#history.moved(from, to, event, { ...circumstance, wokenBy });
    const cause = wokenBy && { wokenBy };
    this.#observer.state({ target: this.target.name, services: this.#services, from, to, event, ...cause });
    if (from === "draining") clearTimeout(this.#drainTimer);
    if (to === "paused") this.#pausedAt = performance.now();
    if (to !== "asleep" && to !== "paused") return;
    this.#dependencies?.release();
    this.#companions?.release();
  }

  #perform(effect: EffectName, from: StateName, { newcomer, error, wasNotStarted }: TransitionDetails): void {
    switch (effect) {
      case "start":
      case "adopt":
        return this.#begin(effect === "adopt");
      case "abort":
        return this.#attempt?.abort(error ?? this.#closedError());
      case "sleep":
        return this.#putToSleep(this.#sleepActionFrom(from), from);
      case "stop":
        return wasNotStarted ? this.#leaveAlone() : this.#putToSleep("stop", from);
      case "stop-again":
        return this.#stopper.again();
      case "hurry":
        return this.#stopper.hurry();
      case "grant":
        return this.#grant();
      case "refuse":
        if (newcomer !== undefined) this.#leases.reject(this.#closedError(), [newcomer]);
        return;
      case "reject":
        return this.#leases.reject(error ?? this.#closedError());
      case "cut":
        return this.#cut(error);
      case "arm":
        return this.#arm();
      case "disarm":
        return this.#idle.cancel();
    }
  }

  // Leases

  #grant(): void {
    if (this.usage.isUsed) this.noteActivity();
    else this.#becameUnused();
    this.#leases.grant(this.#up ?? { address: "" });
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
    // The group claims this target as well, and members that failed are tried again.
    if (holder.kind !== "group" && this.usage.isUsed) this.#group?.wake(client);
  }

  /** The last client may be one of a dependent that still holds the target. */
  #useChanged(isUsed: boolean): void {
    if (isUsed) {
      this.#idle.cancel();
      if (this.#state.name === "ready") this.#companions?.wake();
      return;
    }
    if (this.#leases.held === 0) return;
    this.noteActivity();
    this.#becameUnused();
  }

  /** Completes a ready target for a new lease: unpauses it, waits for a route, and wakes lost dependencies. */
  async #complete(lease: Lease, signal: AbortSignal): Promise<void> {
    const all = Promise.all([
      this.#isFrozen || this.#up?.noRoute !== undefined ? this.verify(lease) : undefined,
      this.#dependencies?.isIncomplete
        ? this.#dependencies.acquire(AbortSignal.any([signal, lease.signal]))
        : undefined,
    ]);
    try {
      await abortable(all, AbortSignal.any([signal, lease.signal]));
    } catch (error) {
      // Who holds a target that went down meanwhile finds out, and claims it again.
      if (lease.signal.aborted) return;
      lease[Symbol.dispose]();
      signal.throwIfAborted();
      throw startError(this.target, error as Error);
    }
  }

  #released(lease: Lease): void {
    if (this.#leases.release(lease) && lease.holder.kind === "client") this.noteActivity();
    this.#dispatch("release");
    if (this.#isFrozen && this.#state.leases === 0) this.#pausedUnused();
  }

  /** The idle timeout begins, although idle dependents may still hold the target. */
  #becameUnused(): void {
    this.#companions?.releaseIn(this.#idleRestMs, () => this.#leases.held > 0);
    if (this.#state.name === "ready") this.#idle.measure(this.#policy.idleTimeoutMs);
  }

  #refuseInCooldown(): void {
    const wouldStart = ["asleep", "paused", "stopping"].includes(this.#state.name);
    if (!this.#cooldown.isActive || !wouldStart) return;
    const seconds = Math.max(0, ((this.#cooldown.until ?? 0) - Date.now()) / 1000).toFixed(1);
    throw new CooldownError(`${this.target.name} failed to start a moment ago; next attempt in ${seconds} s`);
  }

  /** How long one claim waits at most: a start, and the end of the stop under way when it comes in the middle of one. */
  #patienceMs(): number {
    const stopMs = this.#state.name === "stopping" ? this.#stopper.limitMs : 0;
    return timerMs(stopMs + this.#policy.startTimeoutMs);
  }

  #closedError(): ClosedError {
    return new ClosedError(`${this.target.name} is being shut down`);
  }

  #timeoutError(): StartTimeoutError {
    const seconds = this.#policy.startTimeoutMs / 1000;
    const missing = this.#pending.length === 0 ? "" : `, waiting for ${this.#pending.join(", ")}`;
    return new StartTimeoutError(`${this.target.name} was not ready within ${seconds} s${missing}`);
  }

  get #pending(): readonly string[] {
    return this.#state.name === "starting" ? (this.#attempt?.pending ?? []) : [];
  }

  #arm(): void {
    const { sleep, thenStop } = this.#policy;
    if (this.#state.name === "paused") {
      if (sleep !== "pause" || thenStop === undefined) return this.#idle.cancel();
      const restMs = Math.max(0, this.#pausedAt + thenStop.afterMs - performance.now());
      return this.#idle.start(restMs, thenStop.afterMs);
    }
    this.#idle.start(this.#idleRestMs, this.#policy.idleTimeoutMs);
  }

  /** The rest of the idle timeout. It began with the last client, which may have been a client of a dependent. */
  get #idleRestMs(): number {
    const { idleTimeoutMs, minUptimeMs } = this.#policy;
    const idleSince = Math.max(this.usage.lastUsed, this.#readyAt, this.#idle.lastDirectUse);
    const sleepsAt = Math.max(idleSince + idleTimeoutMs, this.#readyAt + minUptimeMs);
    return Math.max(0, sleepsAt - performance.now());
  }

  // Bringing it up

  #begin(adopt: boolean): void {
    // Whoever started the target without us gets to keep it, ready or not, for as long as an unused one is kept.
    const timeoutMs = this.#policy.startTimeoutMs + (adopt ? this.#policy.idleTimeoutMs : 0);
    const { target } = this;
    const dependencies = this.#dependencies;
    const prepare = dependencies && { prepare: (signal: AbortSignal) => dependencies.acquire(signal) };
    const timeoutError = (): Error => this.#timeoutError();
    const attempt = new StartAttempt({ target, probe: this.#probe, adopt, ...prepare, timeoutMs, timeoutError });
    this.#attempt = attempt;
    if (adopt) dependencies?.join();
    if (adopt) this.#companions?.join();
    else this.#companions?.wake();
    attempt.start().then(
      (up) => this.#startSucceeded(attempt, up),
      (error) => this.#startFailed(attempt, error),
    );
  }

  #startSucceeded(attempt: StartAttempt, up: RunningStatus): void {
    if (attempt !== this.#attempt) return;
    // Closed in the very moment in which it succeeded.
    if (this.#state.name !== "starting") return this.#startFailed(attempt, this.#closedError());
    // It stayed awake through a stop that failed, but not in the same life.
    if (this.#up?.incarnation !== up.incarnation) this.#wentDown({});
    this.#up = up;
    this.#readyAt = performance.now();
    this.#missing = undefined;
    this.#history.lastError = undefined;
    this.#history.lastLines = undefined;
    if (!up.isUntried) this.#cooldown.reset();
    this.#dispatch("started");
    this.#becameReady.resolve();
    this.#becameReady = Promise.withResolvers();
    this.#report(attempt, { outcome: "ready" });
    // What changed while nobody looked, between the last look of the run and now, is seen here.
    this.#changed();
  }

  #startFailed(attempt: StartAttempt, reason: unknown): void {
    if (attempt !== this.#attempt) return;
    // The target was closed before the attempt ended.
    if (this.#state.name !== "starting")
      return this.#report(attempt, { outcome: "cancelled", error: this.#closedError() });
    const error = reason instanceof Error ? reason : new Error(String(reason));
    const { outcome, exit } = outcomeOf(error);
    this.#history.lastError = error.message;
    if (exit !== undefined) this.#wentDown(exit);
    const cooldown = attempt.adopt ? {} : { cooldownMs: this.#cooldown.begin() };
    const event = exit === undefined ? "failed" : attempt.adopt ? "lost" : "exited";
    const wasNotStarted = !attempt.didStart && wasRefused(error);
    this.#dispatch(event, { error: startError(this.target, error), wasNotStarted, ...(exit && { exit }) });
    if (event === "lost") this.#changed();
    void this.#lastLines().then((lastLines) =>
      this.#report(attempt, { outcome, error, lastLines, ...cooldown, ...(exit && { exit }) }),
    );
  }

  async #lastLines(): Promise<readonly string[]> {
    const lines = await this.target.lastLines(AbortSignal.timeout(LAST_LINES_MS));
    this.#history.lastLines = lines;
    return lines;
  }

  #report(attempt: StartAttempt, result: Pick<ActivationReport, "outcome"> & Partial<ActivationReport>): void {
    this.#observer.activation({
      target: this.target.name,
      services: this.#services,
      adopted: attempt.adopt,
      durationMs: attempt.elapsedMs,
      ...(attempt.startMs !== undefined && { startMs: attempt.startMs }),
      ...result,
    });
  }

  // Taking it down

  #sleepActionFrom(from: StateName): SleepAction {
    return from === "paused" ? (this.#policy.thenStop?.action ?? "stop") : this.#policy.sleep;
  }

  #putToSleep(action: SleepAction, from: StateName): void {
    this.#check.end();
    const reason = this.#state.closing ? "shutdown" : "idle";
    // What never was ready was never awake: taking the remains of a start away is no sleep.
    const isSleep = this.#up !== undefined || from === "paused";
    this.#sleep = isSleep ? { reason, action, since: performance.now() } : undefined;
    this.#stopsFailedStart = from === "starting";
    if (this.#leaveRunning) this.#leaveAlone();
    else this.#stopper.begin(action, this.#beforeStop());
  }

  /** What a stop waits for: a start under way, and measurements of dependencies. Undefined: nothing. */
  #beforeStop(): Promise<unknown> | undefined {
    const startCall = this.#attempt?.startCall ?? this.#check.startCall;
    const readings = this.#state.closing ? [] : (this.#dependencies?.beforeSleep() ?? []);
    return startCall === undefined && readings.length === 0 ? undefined : Promise.all([startCall, ...readings]);
  }

  /** Done with it as it is. */
  #leaveAlone(): void {
    this.#sleep = undefined;
    queueMicrotask(() => this.#stopped(false));
  }

  #stopped(isPaused: boolean): void {
    if (this.#sleep !== undefined) {
      const { reason, action, since } = this.#sleep;
      this.#reportSleep({ reason, action: isPaused ? "pause" : action, durationMs: performance.now() - since });
    }
    this.#sleep = undefined;
    this.#up = undefined;
    this.#dispatch(isPaused ? "paused" : "stopped");
    // Somebody may have started it while it went down.
    if (!this.#state.closing) this.#changed();
  }

  #notStopped(error: Error, retryMs: number, isKnown: boolean): void {
    if (wasKept(error)) return this.#kept(error, isKnown);
    // Nobody is there any more to thaw it.
    if (this.#state.closing && this.#stopper.action === "pause") return this.#putToSleep("stop", "paused");
    this.#history.lastError = error.message;
    const { closing } = this.#state;
    const subject = { target: this.target.name, services: this.#services };
    if (closing || !isKnown) this.#observer.stopFailed({ ...subject, error, retryMs: closing ? 0 : retryMs });
    this.#dispatch(isDenial(error) ? "denied" : "failed");
  }

  /**
   * The target stays up and is adopted again. One that failed to become ready would fail again at once: it is adopted for
   * the next client, and until then its stop is retried.
   */
  #kept(error: Error, isKnown: boolean): void {
    const uses = [error.message];
    if (!isKnown) this.#observer.keptAwake({ target: this.target.name, services: this.#services, uses });
    if (this.#stopsFailedStart) return this.#dispatch("denied");
    this.#sleep = undefined;
    this.#dispatch("kept", { error });
  }

  /** By itself, or by somebody else. */
  #wentDown(exit: Exit): void {
    if (this.#up === undefined) return;
    this.#up = undefined;
    const reason = sleepReasonOf(exit);
    const details = { reason, action: "none", durationMs: 0, exit } as const;
    if (reason !== "crash") return this.#reportSleep(details);
    void this.#lastLines().then((lastLines) => this.#reportSleep({ ...details, lastLines }));
  }

  #reportSleep(details: Omit<SleepReport, "target" | "services">): void {
    this.#observer.sleep({ target: this.target.name, services: this.#services, ...details });
  }

  #finish(): void {
    this.#watch?.[Symbol.dispose]();
    this.#cooldown.reset();
    this.#closed.resolve();
  }

  // Looking

  #changed(): void {
    if (this.#state.name === "starting") return this.#attempt?.notice();
    this.#inspector.requestInspect();
  }

  #saw(status: TargetStatus): void {
    const missing = status.up ? undefined : status.missing;
    // What did not exist could not start. Now it does.
    if (this.#missing !== undefined && missing === undefined) this.#cooldown.reset();
    const isNews = (missing === undefined) !== (this.#missing === undefined);
    this.#missing = missing;
    switch (this.#state.name) {
      case "asleep":
        if (isNews) this.#history.noteExistence(missing === undefined);
        return this.#sawAsleep(status);
      case "paused":
        return this.#sawAsleep(status);
      case "ready":
      case "draining":
        return this.#sawAwake(status);
      case "starting":
      case "stopping":
        return;
    }
  }

  #sawAsleep(status: TargetStatus): void {
    // A target that cannot be dialled is left as it is: no client can use it.
    if (status.up) return status.noRoute === undefined ? this.#dispatch("found") : undefined;
    const isPaused = status.pausedIncarnation !== undefined;
    if (isPaused === (this.#state.name === "paused")) return;
    if (isPaused) return this.#dispatch("paused");
    const exit = status.exit ?? {};
    this.#wentDown(exit);
    this.#dispatch("exited", { exit, missing: status.missing });
  }

  #sawAwake(status: TargetStatus): void {
    const up = this.#up;
    const incarnation = up?.incarnation;
    if (status.up && status.incarnation === incarnation) return this.#sawSameIncarnation(status);
    if (!status.up && status.pausedIncarnation !== undefined && status.pausedIncarnation === incarnation)
      return this.#paused();
    const exit = status.up ? {} : (status.exit ?? {});
    this.#wentDown(exit);
    const error = new ExitedError(this.target.name, exit);
    if (up?.isUntried) this.#checkEarlyCrash(error);
    this.#dispatch("exited", { error, exit, missing: status.up ? undefined : status.missing });
    // Unless somebody who needs it has claimed it again at once.
    if (this.#state.name === "asleep" && !this.#state.closing) this.#sawAsleep(status);
  }

  /** Only the address may have changed. Open connections continue. */
  #sawSameIncarnation(status: RunningStatus): void {
    const before = this.#up;
    this.#up = status;
    if (before?.address !== status.address || before.port !== status.port) {
      this.#leases.move(status);
      this.#check.move();
    }
    this.#unpaused();
  }

  /** What was taken for ready without a trial, and crashed soon, has failed to start. */
  #checkEarlyCrash(error: ExitedError): void {
    const isEarly = performance.now() - this.#readyAt < EARLY_CRASH_MS;
    if (!isEarly || sleepReasonOf(error.exit) !== "crash") return this.#cooldown.reset();
    this.#history.lastError = error.message;
    this.#cooldown.begin();
  }

  #paused(): void {
    if (!this.#isFrozen) this.#history.note("paused by somebody else");
    this.#isFrozen = true;
    if (this.#state.leases > 0) this.#dispatch("paused");
    else this.#pausedUnused();
  }

  /** One that is being thawed for somebody who has left comes up all the same. */
  #pausedUnused(): void {
    if (this.#check.isUnderWay) return;
    this.#wentDown({ wasAsked: true });
    this.#dispatch("paused");
  }

  #unpaused(): void {
    if (this.#isFrozen) this.#history.note("thawed");
    this.#isFrozen = false;
  }
}

function startError(target: Target, error: Error): Error {
  if (error instanceof ActivationError) return error;
  return new StartFailedError(`${target.name} could not be started: ${error.message}`, { cause: error });
}
