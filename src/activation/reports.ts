/** What the activation of targets reports, once for each event. */
import type { Exit } from "./errors.ts";
import type { WokenBy } from "./lease.ts";
import type { EventName, StateName } from "./machine.ts";

/** One change of a target's state. Reported once, by the one place that changes it. */
export interface StateChange {
  readonly target: string;
  readonly services: readonly string[];
  readonly from: StateName;
  readonly to: StateName;
  readonly event: EventName;
  /** The claim that caused a start: of a client, or of a dependent. */
  readonly wokenBy?: WokenBy;
}

export type ActivationOutcome = "ready" | "timeout" | "exited" | "unhealthy" | "engine_error" | "cancelled";

/** How one attempt to bring a target up, or to adopt a running one, ended. */
export interface ActivationReport {
  readonly target: string;
  readonly services: readonly string[];
  readonly outcome: ActivationOutcome;
  readonly adopted: boolean;
  readonly durationMs: number;
  /** The part spent in starting it; the rest went into readiness. Absent when the start itself did not end. */
  readonly startMs?: number;
  readonly error?: Error;
  readonly exit?: Exit;
  /** What the target last printed, oldest first, after a failure. */
  readonly lastLines?: readonly string[];
  /** How long nobody may ask again, after a failure. */
  readonly cooldownMs?: number;
}

export type SleepReason = "idle" | "shutdown" | "external" | "crash";

/** A target that was awake no longer is. */
export interface SleepReport {
  readonly target: string;
  readonly services: readonly string[];
  readonly reason: SleepReason;
  /** What was done to it; "none" when it went down by itself, or somebody else put it away. */
  readonly action: "stop" | "kill" | "pause" | "none";
  readonly durationMs: number;
  readonly exit?: Exit;
  /** The last output before a crash, oldest line first. */
  readonly lastLines?: readonly string[];
}

/** A target could not be stopped. Repeated failures with the same message are not reported. */
export interface StopFailure {
  readonly target: string;
  readonly services: readonly string[];
  readonly error: Error;
  /** Milliseconds until the next attempt; 0: no further attempt. */
  readonly retryMs: number;
}

/** An idle target that is not put to sleep. */
export interface KeptAwakeReport {
  readonly target: string;
  readonly services: readonly string[];
  /** What keeps it awake: direct use, or why it must not be stopped. */
  readonly uses: readonly string[];
}

/** Receives the reports of activators. */
export interface ActivationObserver {
  state(change: StateChange): void;
  activation(report: ActivationReport): void;
  sleep(report: SleepReport): void;
  /** An idle target stays awake. Reported when that begins, and when the reasons change. */
  keptAwake(report: KeptAwakeReport): void;
  stopFailed(report: StopFailure): void;
}
