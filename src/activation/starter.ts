import type { ActivatorSettings } from "./activation-policy.ts";
import { outcomeOf, sleepReasonOf, wasRefused } from "./classify.ts";
import type { Companions } from "./companions.ts";
import { Cooldown } from "./cooldown.ts";
import type { DependencyLeases } from "./dependency-leases.ts";
import { CooldownError, type Exit, StartTimeoutError, shutdownError } from "./errors.ts";
import type { ActivationReport } from "./reports.ts";
import { StartAttempt } from "./start-attempt.ts";
import type { RunningStatus, Target } from "./target.ts";

/** A crash of an untried target within this time after its start is a failed start. */
const EARLY_CRASH_MS = 10_000;

export interface StartFailure {
  readonly error: Error;
  /** "lost": a found target went down before it was ready. */
  readonly event: "failed" | "exited" | "lost";
  readonly exit?: Exit;
  /** Whether the start was rejected before it began, so that there is nothing to stop. */
  readonly wasRefused: boolean;
}

export interface StarterOptions {
  readonly target: Target;
  readonly inspection: Pick<Target, "inspect">;
  readonly dependencies: DependencyLeases | undefined;
  readonly companions: Companions | undefined;
  readonly settings: () => ActivatorSettings;
  /** Whether the activator still waits for the attempt. */
  readonly isStarting: () => boolean;
  readonly onReady: (running: RunningStatus) => void;
  readonly onFailed: (failure: StartFailure) => void;
  readonly report: (report: Omit<ActivationReport, "target" | "services">) => void;
  /** Reads the target's last output lines. Never rejects. */
  readonly lastLines: () => Promise<readonly string[]>;
}

/** Starts a target or adopts a running one, one attempt at a time, and reports each attempt. */
export class Starter {
  readonly cooldown: Cooldown = new Cooldown();
  readonly #options: StarterOptions;
  /** The attempt under way, or the last one. */
  #attempt: StartAttempt | undefined;
  #readyAt = 0;

  constructor(options: StarterOptions) {
    this.#options = options;
  }

  /** What the start under way waits for; empty if that is not known. */
  get pending(): readonly string[] {
    return this.#options.isStarting() ? (this.#attempt?.pending ?? []) : [];
  }

  /**
   * Aborts the call that starts the target, if it is still open: the target may be ready before the engine answers.
   *
   * @returns resolves after the call, also if it was aborted before; undefined without an open call
   */
  endStartCall(): Promise<void> | undefined {
    const startCall = this.#attempt?.startCall;
    if (startCall !== undefined) this.abort(new Error("the start call is not needed any more"));
    return startCall;
  }

  /** @throws CooldownError if the last start failed and the next one is not due */
  assertNoCooldown(): void {
    if (!this.cooldown.isActive) return;
    const seconds = Math.max(0, ((this.cooldown.until ?? 0) - Date.now()) / 1000).toFixed(1);
    const message = `${this.#options.target.name} failed to start a moment ago; next attempt in ${seconds} s`;
    throw new CooldownError(message);
  }

  /** Begins an attempt. @param isAdoption the target is running and only its readiness is checked */
  begin(isAdoption: boolean): void {
    const { target, dependencies, companions, settings } = this.#options;
    const { probe, policy } = settings();
    // A found target that is not ready is kept for as long as an unused one.
    const timeoutMs = policy.startTimeoutMs + (isAdoption ? policy.idleTimeoutMs : 0);
    const prepare = dependencies && { prepare: (signal: AbortSignal) => dependencies.acquire(signal) };
    const timeoutError = (): Error => this.timeoutError();
    const startCall = this.endStartCall();
    const attempt = new StartAttempt({
      target,
      inspection: this.#options.inspection,
      probe,
      adopt: isAdoption,
      ...prepare,
      startCall,
      timeoutMs,
      timeoutError,
    });
    this.#attempt = attempt;
    if (isAdoption) {
      dependencies?.join();
      companions?.join();
    } else companions?.wake();
    attempt.start().then(
      (running) => this.#succeeded(attempt, running),
      (error) => this.#failed(attempt, error),
    );
  }

  abort(reason: Error): void {
    this.#attempt?.abort(reason);
  }

  /** Whether the status of the target may have changed after the last inspection of the attempt. */
  get isInspectDue(): boolean {
    return this.#attempt?.isInspectDue === true;
  }

  /** Makes the attempt under way inspect the target, whose status may have changed. */
  requestInspect(): void {
    this.#attempt?.requestInspect();
  }

  /** Called when an untried target exited. @returns whether the exit counts as a failed start */
  untriedExited(exit: Exit): boolean {
    const isEarly = performance.now() - this.#readyAt < EARLY_CRASH_MS;
    const hasFailed = isEarly && sleepReasonOf(exit) === "crash";
    if (hasFailed) this.cooldown.begin();
    else this.cooldown.reset();
    return hasFailed;
  }

  timeoutError(): StartTimeoutError {
    const { target, settings } = this.#options;
    const seconds = settings().policy.startTimeoutMs / 1000;
    const { pending } = this;
    const waiting = pending.length === 0 ? "" : `, waiting for ${pending.join(", ")}`;
    return new StartTimeoutError(`${target.name} was not ready within ${seconds} s${waiting}`);
  }

  #succeeded(attempt: StartAttempt, running: RunningStatus): void {
    if (attempt !== this.#attempt) return;
    if (!this.#options.isStarting()) return this.#cancelled(attempt);
    this.#readyAt = performance.now();
    if (!running.isUntried) this.cooldown.reset();
    this.#options.onReady(running);
    this.#report(attempt, { outcome: "ready" });
  }

  #failed(attempt: StartAttempt, reason: unknown): void {
    if (attempt !== this.#attempt) return;
    if (!this.#options.isStarting()) return this.#cancelled(attempt);
    const error = reason instanceof Error ? reason : new Error(String(reason));
    const { outcome, exit } = outcomeOf(error);
    const result = { outcome, error, ...(exit && { exit }) };
    const cooldown = attempt.adopt ? {} : { cooldownMs: this.cooldown.begin() };
    this.#options.onFailed({
      error,
      event: exit === undefined ? "failed" : attempt.adopt ? "lost" : "exited",
      ...(exit && { exit }),
      wasRefused: !attempt.didStart && wasRefused(error),
    });
    void this.#options.lastLines().then((lastLines) => this.#report(attempt, { ...result, lastLines, ...cooldown }));
  }

  /** The target was closed before the attempt ended. */
  #cancelled(attempt: StartAttempt): void {
    this.#report(attempt, { outcome: "cancelled", error: shutdownError(this.#options.target.name) });
  }

  #report(attempt: StartAttempt, result: Pick<ActivationReport, "outcome"> & Partial<ActivationReport>): void {
    this.#options.report({
      adopted: attempt.adopt,
      durationMs: attempt.elapsedMs,
      ...(attempt.startMs !== undefined && { startMs: attempt.startMs }),
      ...result,
    });
  }
}
