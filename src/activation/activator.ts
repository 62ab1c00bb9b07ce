/**
 * Owns the life of one target. Everybody who needs the target acquires a lease; the activator starts the target for
 * the first, keeps it up while any is held, and puts it to sleep when none was held for the idle timeout.
 *
 * State changes in `#dispatch` and nowhere else. A start belongs to the activator: the client that caused it may leave.
 * What the target says of itself is never believed as told: each hint leads to a look, and the look decides.
 */

import type { Sight, Target } from "../target/target.ts";
import type { ActivationReport, Observer, SleepReason } from "../telemetry/observer.ts";
import { Claims } from "./claims.ts";
import { Cooldown } from "./cooldown.ts";
import { ClosedError, CooldownError, type Exit, ExitedError, StartFailedError, StartTimeoutError } from "./errors.ts";
import { IdleTimer } from "./idle-timer.ts";
import { Lease } from "./lease.ts";
import { LOOK_MS, Lookout } from "./lookout.ts";
import { type EffectName, type EventName, initialState, type State, type StateName, transition } from "./machine.ts";
import { type Probe, Run, type UpSight } from "./run.ts";
import { Stopper } from "./stopper.ts";
import { timerMs } from "./timers.ts";
import { isDenial, outcomeOf, sleepReasonOf } from "./verdicts.ts";

const LAST_LINES_MS = 2_000;

/** All in milliseconds. */
export interface Policy {
  readonly idleTimeoutMs: number;
  readonly minUptimeMs: number;
  readonly startTimeoutMs: number;
}

export interface ActivatorOptions {
  readonly target: Target;
  readonly probe: Probe;
  readonly policy: Policy;
  /** The services that use the target, for reports. */
  readonly services: readonly string[];
  readonly observer: Observer;
}

/** What an activator knows of itself at this moment. Times are Unix milliseconds. */
export interface ActivatorView {
  readonly target: string;
  readonly state: StateName;
  readonly held: number;
  readonly waiting: number;
  readonly idleDeadline?: number;
  readonly lastActivity?: number;
  readonly cooldownUntil?: number;
  readonly lastError?: string;
  /** Milliseconds the target was awake in all, as far as this process saw. */
  readonly awakeMs: number;
}

/** What came with an event. */
interface Circumstance {
  readonly newcomer?: Lease;
  readonly error?: Error;
}

export class Activator {
  readonly target: Target;
  readonly #probe: Probe;
  readonly #policy: Policy;
  readonly #services: readonly string[];
  readonly #observer: Observer;

  #state: State = initialState;
  /** Changes with every change of state, so that a look begun before it is known to be stale. */
  #epoch = 0;
  readonly #claims = new Claims();

  /** The run under way, or the last one. */
  #run: Run | undefined;
  #up: UpSight | undefined;
  #readyAt = 0;
  readonly #idle = new IdleTimer(() => this.#dispatch("idle"));
  readonly #cooldown = new Cooldown();
  #check: { readonly done: Promise<void>; readonly limit: AbortController } | undefined;

  #watch: Disposable | undefined;
  readonly #lookout: Lookout;
  readonly #stopper: Stopper;
  #sleep: { readonly reason: SleepReason; readonly since: number } | undefined;

  #leaveRunning = false;
  #drainTimer: NodeJS.Timeout | undefined;
  readonly #closed = Promise.withResolvers<void>();

  #awakeMs = 0;
  #awakeSince: number | undefined;
  #lastActivity: number | undefined;
  #lastError: string | undefined;

  constructor(options: ActivatorOptions) {
    this.target = options.target;
    this.#probe = options.probe;
    this.#policy = options.policy;
    this.#services = options.services;
    this.#observer = options.observer;
    const { target } = options;
    this.#lookout = new Lookout({ target, epoch: () => this.#epoch, onSight: (sight) => this.#saw(sight) });
    this.#stopper = new Stopper({
      target,
      onDown: () => this.#takenDown(),
      onFailure: (error, retryMs) => this.#notTakenDown(error, retryMs),
    });
  }

  /** Begins to follow the target; one that is up already is adopted. */
  open(): void {
    this.#watch = this.target.watch(() => this.#changed());
    this.#changed();
  }

  /**
   * Claims the target, starting it when it sleeps. Claims are granted in the order in which they came.
   *
   * @param signal gives the claim up while it waits; its reason is thrown
   * @throws StartTimeoutError, StartFailedError, ExitedError, CooldownError, ClosedError
   */
  async acquire(signal: AbortSignal): Promise<Lease> {
    signal.throwIfAborted();
    this.#refuseInCooldown();
    const lease = new Lease((released) => this.#released(released));
    this.#claims.add(lease);
    const patience = setTimeout(() => lease.abandon(this.#timeoutError()), this.#patienceMs());
    const leave = (): void => lease.abandon(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    try {
      this.#dispatch("acquire", { newcomer: lease });
      await lease.granted;
      return lease;
    } finally {
      clearTimeout(patience);
      signal.removeEventListener("abort", leave);
    }
  }

  /**
   * For a lease whose target does not take a connection although it is ready: looks whether it is still up, then
   * waits until it answers again. One check serves all who ask meanwhile.
   *
   * @throws the reason of the lease's signal when the target turns out to be down, StartTimeoutError when it stays silent
   */
  async verify(lease: Lease): Promise<void> {
    this.#check ??= this.#checkUpstream();
    const check = this.#check;
    await check.done.finally(() => {
      if (this.#check === check) this.#check = undefined;
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
    if (this.#state.name === "draining") {
      this.#drainTimer = setTimeout(() => this.#dispatch("deadline"), options.drainMs);
    }
    this.#stopper.hurry();
    return this.#closed.promise;
  }

  get view(): ActivatorView {
    const idleDeadline = this.#idle.deadline;
    const cooldownUntil = this.#cooldown.until;
    return {
      target: this.target.name,
      state: this.#state.name,
      held: this.#claims.held,
      waiting: this.#claims.waiting,
      awakeMs: this.#awakeMs + (this.#awakeSince === undefined ? 0 : performance.now() - this.#awakeSince),
      ...(idleDeadline !== undefined && { idleDeadline }),
      ...(cooldownUntil !== undefined && { cooldownUntil }),
      ...(this.#lastActivity !== undefined && { lastActivity: this.#lastActivity }),
      ...(this.#lastError !== undefined && { lastError: this.#lastError }),
    };
  }

  #dispatch(event: EventName, circumstance: Circumstance = {}): void {
    const from = this.#state.name;
    const { state, effects } = transition(this.#state, event);
    this.#state = state;
    if (state.name !== from) this.#moved(from, state.name, event);
    for (const effect of effects) this.#perform(effect, circumstance);
    if (state.closing && state.name === "asleep") this.#finish();
  }

  #moved(from: StateName, to: StateName, event: EventName): void {
    this.#epoch += 1;
    this.#observer.state({ target: this.target.name, services: this.#services, from, to, event });
    if (from === "asleep") this.#awakeSince = performance.now();
    if (from === "draining") clearTimeout(this.#drainTimer);
    if (to === "asleep" && this.#awakeSince !== undefined) {
      this.#awakeMs += performance.now() - this.#awakeSince;
      this.#awakeSince = undefined;
    }
  }

  #perform(effect: EffectName, { newcomer, error }: Circumstance): void {
    switch (effect) {
      case "start":
      case "adopt":
        return this.#begin(effect === "adopt");
      case "abort":
        return this.#run?.abort(error ?? this.#closedError());
      case "stop":
        return this.#putToSleep();
      case "stop-again":
        return this.#stopper.again();
      case "hurry":
        return this.#stopper.hurry();
      case "grant":
        return this.#grant();
      case "refuse":
        if (newcomer !== undefined) this.#claims.reject(this.#closedError(), [newcomer]);
        return;
      case "reject":
        return this.#claims.reject(error ?? this.#closedError());
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
    this.#lastActivity = Date.now();
    this.#claims.grant(this.#up?.address ?? "");
  }

  #cut(error: Error | undefined): void {
    const reason = error ?? new ClosedError(`${this.target.name} was still in use at the end of the drain`);
    this.#endCheck(reason);
    this.#claims.cut(reason);
  }

  #released(lease: Lease): void {
    if (this.#claims.release(lease)) this.#lastActivity = Date.now();
    this.#dispatch("release");
  }

  #refuseInCooldown(): void {
    const wouldStart = this.#state.name === "asleep" || this.#state.name === "stopping";
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
    return new StartTimeoutError(`${this.target.name} was not ready within ${seconds} s`);
  }

  #arm(): void {
    const uptimeMs = performance.now() - this.#readyAt;
    this.#idle.start(Math.max(this.#policy.idleTimeoutMs, this.#policy.minUptimeMs - uptimeMs));
  }

  // Bringing it up

  #begin(adopt: boolean): void {
    // Whoever started the target without us gets to keep it, ready or not, for as long as an unused one is kept.
    const timeoutMs = this.#policy.startTimeoutMs + (adopt ? this.#policy.idleTimeoutMs : 0);
    const { target } = this;
    const run = new Run({ target, probe: this.#probe, adopt, timeoutMs, timeoutError: () => this.#timeoutError() });
    this.#run = run;
    run.bringUp().then(
      (up) => this.#broughtUp(run, up),
      (error) => this.#notBroughtUp(run, error),
    );
  }

  #broughtUp(run: Run, up: UpSight): void {
    if (run !== this.#run) return;
    // Closed in the very moment in which it succeeded.
    if (this.#state.name !== "starting") return this.#notBroughtUp(run, this.#closedError());
    // It stayed awake through a stop that failed, but not in the same life.
    if (this.#up?.life !== up.life) this.#wentDown({});
    this.#up = up;
    this.#readyAt = performance.now();
    this.#lastError = undefined;
    this.#cooldown.reset();
    this.#dispatch("started");
    this.#report(run, { outcome: "ready" });
    // What changed while nobody looked, between the last look of the run and now, is seen here.
    this.#changed();
  }

  #notBroughtUp(run: Run, reason: unknown): void {
    if (run !== this.#run) return;
    const error = reason instanceof Error ? reason : new Error(String(reason));
    const { outcome, exit } = outcomeOf(error);
    if (this.#state.name !== "starting") return this.#report(run, { outcome, error });
    this.#lastError = error.message;
    if (exit !== undefined) this.#wentDown(exit);
    const cooldown = run.adopt ? {} : { cooldownMs: this.#cooldown.begin() };
    const event = exit === undefined ? "failed" : run.adopt ? "lost" : "exited";
    this.#dispatch(event, { error: startError(this.target, error) });
    if (event === "lost") this.#changed();
    void this.#lastLines().then((lastLines) =>
      this.#report(run, { outcome, error, lastLines, ...cooldown, ...(exit && { exit }) }),
    );
  }

  async #lastLines(): Promise<readonly string[]> {
    return this.target.lastLines(AbortSignal.timeout(LAST_LINES_MS));
  }

  #report(run: Run, result: Pick<ActivationReport, "outcome"> & Partial<ActivationReport>): void {
    this.#observer.activation({
      target: this.target.name,
      services: this.#services,
      adopted: run.adopt,
      durationMs: run.elapsedMs,
      ...(run.startMs !== undefined && { startMs: run.startMs }),
      ...result,
    });
  }

  // Taking it down

  #putToSleep(): void {
    this.#endCheck();
    const reason = this.#state.closing ? "shutdown" : "idle";
    // What never was ready was never awake: taking the remains of a start away is no sleep.
    this.#sleep = this.#up === undefined ? undefined : { reason, since: performance.now() };
    if (!this.#leaveRunning) return this.#stopper.begin(this.#run?.startCall);
    this.#sleep = undefined;
    queueMicrotask(() => this.#takenDown());
  }

  #takenDown(): void {
    if (this.#sleep !== undefined) {
      const { reason, since } = this.#sleep;
      this.#reportSleep(reason, performance.now() - since);
    }
    this.#sleep = undefined;
    this.#up = undefined;
    this.#dispatch("stopped");
    // Somebody may have started it while it went down.
    if (!this.#state.closing) this.#changed();
  }

  #notTakenDown(error: Error, retryMs: number): void {
    this.#lastError = error.message;
    this.#observer.stopFailed(this.target.name, error, this.#state.closing ? 0 : retryMs);
    this.#dispatch(isDenial(error) ? "denied" : "failed");
  }

  /** By itself, or by somebody else. */
  #wentDown(exit: Exit): void {
    if (this.#up === undefined) return;
    this.#up = undefined;
    this.#reportSleep(sleepReasonOf(exit), 0, exit);
  }

  #reportSleep(reason: SleepReason, durationMs: number, exit?: Exit): void {
    this.#observer.sleep({
      target: this.target.name,
      services: this.#services,
      reason,
      action: exit === undefined ? "stop" : "none",
      durationMs,
      ...(exit && { exit }),
    });
  }

  #finish(): void {
    this.#watch?.[Symbol.dispose]();
    this.#cooldown.reset();
    this.#closed.resolve();
  }

  // Looking

  #changed(): void {
    if (this.#state.name === "starting") return this.#run?.notice();
    this.#lookout.hint();
  }

  #saw(sight: Sight): void {
    const { name } = this.#state;
    if (name === "asleep" && sight.up) return this.#dispatch("found");
    if (name !== "ready" && name !== "draining") return;
    if (sight.up && sight.life === this.#up?.life) return;
    const exit = sight.up ? {} : (sight.exit ?? {});
    this.#wentDown(exit);
    this.#dispatch("exited", { error: new ExitedError(this.target.name, exit) });
    if (sight.up && !this.#state.closing) this.#dispatch("found");
  }

  /** Is the target still up, and does it answer within the start timeout? */
  #checkUpstream(): { readonly done: Promise<void>; readonly limit: AbortController } {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(this.#timeoutError()), this.#policy.startTimeoutMs);
    const check = async (): Promise<void> => {
      const epoch = this.#epoch;
      const signal = AbortSignal.any([limit.signal, AbortSignal.timeout(LOOK_MS)]);
      const sight = await this.target.look(signal).catch(() => undefined);
      if (sight !== undefined && epoch === this.#epoch) this.#saw(sight);
      limit.signal.throwIfAborted();
      if (this.#up !== undefined) await this.#probe(this.#up.address, limit.signal);
    };
    return { done: check().finally(() => clearTimeout(timer)), limit };
  }

  #endCheck(reason?: Error): void {
    this.#check?.limit.abort(reason);
    this.#check = undefined;
  }
}

function startError(target: Target, error: Error): Error {
  if (error instanceof ExitedError || error instanceof StartTimeoutError) return error;
  return new StartFailedError(`${target.name} could not be started: ${error.message}`, { cause: error });
}
