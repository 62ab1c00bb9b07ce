/** What activators report, once for each event. */
import type { Exit } from "./errors.ts";
import type { WokenBy } from "./lease.ts";
import type { EventName, StateName } from "./machine.ts";

/** The target of a report, and the services that use it. */
interface Subject {
  readonly target: string;
  readonly services: readonly string[];
}

export interface StateChange extends Subject {
  readonly from: StateName;
  readonly to: StateName;
  readonly event: EventName;
  /** The lease that caused a start. */
  readonly wokenBy?: WokenBy;
}

export type ActivationOutcome = "ready" | "timeout" | "exited" | "unhealthy" | "engine_error" | "cancelled";

/** The end of an attempt to start a target, or to adopt a running one. */
export interface ActivationReport extends Subject {
  readonly outcome: ActivationOutcome;
  readonly adopted: boolean;
  readonly durationMs: number;
  /** The part until the target was up; the rest is readiness. Absent if the target was not up. */
  readonly startMs?: number;
  readonly error?: Error;
  readonly exit?: Exit;
  /** The target's last output lines after a failure, oldest first. */
  readonly lastLines?: readonly string[];
  /** Milliseconds after a failure in which no start is allowed. */
  readonly cooldownMs?: number;
}

export type SleepReason = "idle" | "shutdown" | "external" | "crash";

/** The end of an awake target. */
export interface SleepReport extends Subject {
  readonly reason: SleepReason;
  /** The activator's action; "none" if the target exited or another process stopped it. */
  readonly action: "stop" | "kill" | "pause" | "none";
  readonly durationMs: number;
  readonly exit?: Exit;
  /** The last output before a crash, oldest line first. */
  readonly lastLines?: readonly string[];
}

/** A target could not be stopped. Repeated failures with the same message are not reported. */
export interface StopFailure extends Subject {
  readonly error: Error;
  /** Milliseconds until the next attempt; 0: no further attempt. */
  readonly retryMs: number;
}

/** An idle target that is not put to sleep. */
export interface KeptAwakeReport extends Subject {
  /** What keeps it awake: direct use, or why it must not be stopped. */
  readonly uses: readonly string[];
}

export interface ActivationObserver {
  state(change: StateChange): void;
  activation(report: ActivationReport): void;
  sleep(report: SleepReport): void;
  /** Reported when an idle target begins to stay awake, and when the reasons change. */
  keptAwake(report: KeptAwakeReport): void;
  stopFailed(report: StopFailure): void;
}
