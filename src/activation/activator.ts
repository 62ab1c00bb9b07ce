/**
 * Controls one target. Leases of clients and dependents start it and keep it awake; without use it is put to sleep
 * after the idle timeout. The state changes only in `#dispatch`: see docs/design/activation.md.
 */

import { Deadline } from "../async/deadline.ts";
import { abortable, timerMs } from "../async/wait.ts";
import type { ActivatorSettings } from "./activation-policy.ts";
import { type ActivatorView, viewOf } from "./activator-view.ts";
import type { Bypass } from "./bypass.ts";
import { Companions } from "./companions.ts";
import type { DependencyLeases } from "./dependency-leases.ts";
import { ClosedError, shutdownError, startErrorOf } from "./errors.ts";
import type { Group } from "./group.ts";
import { StateHistory } from "./history.ts";
import { IdleCheck } from "./idle-check.ts";
import { type Holder, Lease, type LeaseClient } from "./lease.ts";
import { CLIENT, LeaseSet } from "./lease-set.ts";
import { LogTailCache, readLastLines } from "./log-tail.ts";
import { type EffectName, type EventName, initialState, type State, type StateName, transition } from "./machine.ts";
import type { ActivationObserver } from "./reports.ts";
import type { Target } from "./target.ts";
import { TargetController, type TargetEventDetails } from "./target-controller.ts";
import { Usage } from "./usage.ts";

/** The waiting page and the admin API show at most this number of lines. */
const LAST_LINES_LIMIT = 100;

export interface ActivatorOptions extends ActivatorSettings {
  readonly target: Target;
  /** Targets that are ready before this one is started. Absent: none. */
  readonly dependencies?: DependencyLeases;
  /** Targets that wake and sleep with this one, which does not wait for them; absent: none. */
  readonly companions?: DependencyLeases;
  readonly group?: Group;
  /** Connections that do not pass through wakeport. Absent: none. */
  readonly bypass?: Bypass;
  readonly observer: ActivationObserver;
}

interface TransitionDetails extends TargetEventDetails {
  readonly newcomer?: Lease;
}

export class Activator {
  readonly target: Target;
  readonly usage: Usage = new Usage((isUsed) => this.#useChanged(isUsed));
  readonly #dependencies: DependencyLeases | undefined;
  readonly #companions: Companions | undefined;
  readonly #group: Group | undefined;
  readonly #bypass: Bypass | undefined;
  readonly #observer: ActivationObserver;
  readonly #controller: TargetController;
  readonly #leases = new LeaseSet();
  readonly #history = new StateHistory();
  readonly #logTail: LogTailCache = new LogTailCache(() => readLastLines(this.target, LAST_LINES_LIMIT));
  #settings: ActivatorSettings;
  #state: State = initialState;
  /** Created for the first caller that waits. */
  #becameReady: PromiseWithResolvers<void> | undefined;
  /** Created at its first use: a target that stays asleep needs none. */
  #idleCheck: IdleCheck | undefined;
  #drainTimer: NodeJS.Timeout | undefined;
  /** Undefined before the close. */
  #closed: PromiseWithResolvers<void> | undefined;

  constructor(options: ActivatorOptions) {
    const { target, dependencies, companions, group, bypass, observer } = options;
    this.target = target;
    this.#settings = options;
    this.#dependencies = dependencies;
    this.#companions = companions && new Companions(companions);
    this.#group = group;
    this.#bypass = bypass;
    if (bypass !== undefined) dependencies?.onChange(() => this.#openBypass());
    this.#observer = observer;
    this.#controller = new TargetController({
      target,
      dependencies,
      companions: this.#companions,
      observer,
      history: this.#history,
      settings: () => this.#settings,
      state: () => this.#state,
      dispatch: (event, details) => this.#dispatch(event, details),
      onMoved: (status) => this.#leases.move(status),
      onInspected: () => this.#updateBypass(),
      onInspecting: () => this.#openBypass(),
      ...(bypass && { beforeSleep: () => bypass.beforeSleep() }),
    });
  }

  /** Replaces the settings. A start or stop under way continues with the old ones. */
  configure(settings: ActivatorSettings): void {
    this.#settings = settings;
    if (this.#idleCheck?.deadline !== undefined || this.#state.name === "paused") this.#idle.arm();
  }

  /** Begins to watch the target. A running target is adopted. */
  open(): void {
    this.#controller.open();
  }

  /**
   * Returns the deadline of one client for all its waits: the rest of a stop, a start, and connecting to the target.
   * A client that acquires several leases keeps its first deadline.
   *
   * @param limitMs upper limit, in milliseconds
   */
  deadline(limitMs: number = Number.POSITIVE_INFINITY): Deadline {
    const stopMs = this.#state.name === "stopping" ? this.#controller.stopper.limitMs : 0;
    const waitMs = timerMs(stopMs + this.#settings.policy.startTimeoutMs);
    return new Deadline(Math.min(waitMs, limitMs), () => this.#controller.starter.timeoutError());
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
    const readyLease = this.acquireNow(holder, client);
    if (readyLease !== undefined) return readyLease;
    if (["asleep", "paused", "stopping"].includes(this.#state.name)) this.#controller.starter.assertNoCooldown();
    const lease = this.#newLease(holder, client);
    using deadline = this.deadline();
    // AbortSignal.any() would double the CPU time of a lease on a ready target.
    const withdraw = (): void => lease.withdraw((signal.aborted ? signal : deadline.signal).reason);
    for (const limit of [signal, deadline.signal]) limit.addEventListener("abort", withdraw, { once: true });
    try {
      this.#dispatch("acquire", { newcomer: lease });
      await lease.granted;
      if (this.usage.isUsed) this.#companions?.wake();
      if (this.#isIncomplete) await this.#complete(lease, AbortSignal.any([signal, deadline.signal]));
      return lease;
    } finally {
      signal.removeEventListener("abort", withdraw);
    }
  }

  /** Acquires a lease without a wait if the target is ready for clients; otherwise returns undefined. */
  acquireNow(holder: Holder = CLIENT, client?: LeaseClient): Lease | undefined {
    if (this.#state.name !== "ready" || this.#isIncomplete) return undefined;
    const lease = this.#newLease(holder, client);
    this.#dispatch("acquire", { newcomer: lease });
    if (this.usage.isUsed) this.#companions?.wake();
    return lease;
  }

  /** Waits until the target is ready without starting it, then acquires a lease. */
  async join(signal: AbortSignal, holder: Holder): Promise<Lease> {
    while (this.#state.name !== "ready") {
      this.#becameReady ??= Promise.withResolvers();
      await abortable(this.#becameReady.promise, signal);
    }
    return this.acquire(signal, holder);
  }

  /** Called before a dependent that holds this target is put to sleep. @returns what the dependent's stop waits for */
  beforeDependentSleeps(): Promise<unknown> | undefined {
    return this.usage.isUsed ? undefined : this.#idleCheck?.sample();
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

  /** Whether an inspection is under way, after which the target may have a new address. */
  get isInspecting(): boolean {
    return this.#controller.isInspecting;
  }

  /** Waits for the inspection under way, because the target may have a new address. @throws the reason of `signal` */
  waitForInspection(signal: AbortSignal): Promise<void> {
    return this.#controller.waitForInspection(signal);
  }

  /**
   * Checks a ready target that does not accept a connection: inspects it, then waits until it answers again. Concurrent
   * calls share one check.
   *
   * @throws the reason of the lease's signal if the target is down; StartTimeoutError if it does not answer
   */
  async verify(lease: Lease): Promise<void> {
    await this.#controller.check.run().finally(() => {
      if (this.#controller.isPaused) this.#controller.requestInspect();
    });
    lease.signal.throwIfAborted();
  }

  /**
   * Rejects new leases, lets held ones continue until the drain deadline, then stops the target. Idempotent.
   *
   * @returns resolves when the target is asleep or, with `leaveRunning`, no longer in use
   */
  close(options: { readonly drainMs: number; readonly leaveRunning: boolean }): Promise<void> {
    if (this.#closed !== undefined) return this.#closed.promise;
    const closed = Promise.withResolvers<void>();
    this.#closed = closed;
    this.#controller.leaveRunning = options.leaveRunning;
    this.#bypass?.shutDown(options.leaveRunning);
    this.#dispatch("close");
    this.#companions?.close(this.usage.isUsed);
    if (this.#state.name === "draining") {
      this.#drainTimer = setTimeout(() => this.#dispatch("deadline"), options.drainMs);
    }
    this.#controller.stopper.hurry();
    return closed.promise;
  }

  /** Whether clients are served without a start. */
  get isReady(): boolean {
    return this.#state.name === "ready" && !this.#controller.isPaused;
  }

  /** Whether the target is stopped or paused, and neither starts nor stops. */
  get isAsleep(): boolean {
    return this.#state.name === "asleep" || this.#state.name === "paused";
  }

  /** Returns the target's last output lines, oldest first, at most about 1 s old. Never rejects. */
  lastLines(): Promise<readonly string[]> {
    return this.#logTail.lines();
  }

  get view(): ActivatorView {
    const { isPaused, missing, pending, cooldownUntil } = this.#controller;
    return viewOf({
      target: this.target.name,
      state: isPaused && this.#state.name === "ready" ? "paused" : this.#state.name,
      missing,
      pending,
      leases: this.#leases,
      idle: this.#idleCheck,
      cooldownUntil,
      history: this.#history,
    });
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
    this.#updateBypass();
    if (state.closing && state.name === "asleep") this.#finish();
  }

  #moved(from: StateName, to: StateName, event: EventName, details: TransitionDetails): void {
    this.#controller.stateChanged();
    this.#logTail.clear();
    const wokenBy = to === "starting" && event !== "found" ? this.#leases.first : undefined;
    this.#history.moved(from, to, event, { ...details, wokenBy });
    this.#observer.state({ ...this.#subject, from, to, event, ...(wokenBy && { wokenBy }) });
    if (from === "draining") clearTimeout(this.#drainTimer);
    if (to === "ready") this.#ready();
    if (to === "paused") this.#idle.paused();
    if (to !== "asleep" && to !== "paused") return;
    this.#dependencies?.release();
    this.#companions?.release();
  }

  #perform(effect: EffectName, from: StateName, details: TransitionDetails): void {
    const { newcomer, error } = details;
    switch (effect) {
      case "grant":
        return this.#grant();
      case "reject-newcomer":
        if (newcomer !== undefined) this.#leases.reject(shutdownError(this.target.name), [newcomer]);
        return;
      case "reject-waiting":
        return this.#leases.reject(error ?? shutdownError(this.target.name));
      case "cut":
        return this.#cut(error);
      case "arm":
        return this.#idle.arm();
      case "disarm":
        return this.#idleCheck?.cancel();
      default:
        return this.#controller.perform(effect, from, details);
    }
  }

  get #idle(): IdleCheck {
    this.#idleCheck ??= this.#newIdleCheck();
    return this.#idleCheck;
  }

  #newIdleCheck(): IdleCheck {
    const [group, bypass] = [this.#group, this.#bypass];
    return new IdleCheck({
      target: this.target,
      usage: this.usage,
      policy: () => this.#settings.policy,
      state: () => this.#state.name,
      ...((group ?? bypass) && { useOfOthers: () => this.#useOfOthers() }),
      onIdle: () => this.#dispatch("idle"),
      onKeptAwake: (uses) => this.#observer.keptAwake({ ...this.#subject, uses }),
    });
  }

  /** Opens the bypass while clients can connect to the target, and ends its connections when the target is down. */
  #updateBypass(): void {
    this.#openBypass();
    if (this.#state.name === "asleep") this.#bypass?.drop();
  }

  #openBypass(): void {
    const { running, isInspecting } = this.#controller;
    const isUsable = this.#state.name === "ready" && !this.#isIncomplete;
    this.#bypass?.update(isUsable ? running : undefined, isInspecting);
  }

  /** A lease that the bypass acquires cancels the idle timeout. */
  async #useOfOthers(): Promise<readonly string[]> {
    await this.#bypass?.refresh();
    return (await this.#group?.sessionsInOtherMembers(this)) ?? [];
  }

  #ready(): void {
    this.#idle.ready();
    this.#becameReady?.resolve();
    this.#becameReady = undefined;
  }

  #finish(): void {
    this.#controller.close();
    this.#closed?.resolve();
  }

  // Leases

  #grant(): void {
    if (this.usage.isUsed) this.recordActivity();
    else this.#becameUnused();
    this.#leases.grant(this.#controller.running ?? { address: "" });
  }

  #cut(error: Error | undefined): void {
    const reason = error ?? new ClosedError(`${this.target.name} was still in use at the end of the drain`);
    this.#controller.endCheck(reason);
    this.#leases.cut(reason);
  }

  /** Counts a client's lease as use of the target. Any other lease counts while its holder is in use. */
  #countUse(lease: Lease): void {
    const { holder, client } = lease;
    const use = holder.usage === undefined ? this.usage.addClient() : this.usage.addUser(holder.usage);
    lease.counts(use);
    // The group acquires a lease on this target as well, and retries members that failed.
    if (holder.kind !== "group" && this.usage.isUsed) this.#group?.wake(client);
  }

  /** The last client may be a client of a dependent that still holds the target. */
  #useChanged(isUsed: boolean): void {
    if (isUsed) {
      this.#idleCheck?.cancel();
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

  /** Whether a new lease on the ready target must wait: see `#complete`. */
  get #isIncomplete(): boolean {
    return this.#controller.isUnreachable || this.#dependencies?.isIncomplete === true;
  }

  #newLease(holder: Holder, client: LeaseClient | undefined): Lease {
    const lease = new Lease(holder, this.#onRelease, client);
    this.#countUse(lease);
    this.#leases.add(lease);
    return lease;
  }

  /** Completes a ready target for a new lease: unpauses it, waits for a route, and acquires missing dependencies. */
  async #complete(lease: Lease, signal: AbortSignal): Promise<void> {
    const scope = AbortSignal.any([signal, lease.signal]);
    const all = Promise.all([
      this.#controller.isUnreachable ? this.verify(lease) : undefined,
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

  readonly #onRelease = (lease: Lease): void => {
    if (this.#leases.release(lease) && lease.holder.kind === "client") this.recordActivity();
    this.#dispatch("release");
    if (this.#controller.isPaused && this.#state.leases === 0) this.#controller.pausedUnused();
  };
}
