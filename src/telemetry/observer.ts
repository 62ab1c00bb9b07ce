import type { Exit } from "../activation/errors.ts";
import type { WokenBy } from "../activation/lease.ts";
import type { EventName, StateName } from "../activation/machine.ts";
import type { DenialReason } from "../proxy/admission/denial.ts";
import type { UnroutedError } from "../proxy/routing/unrouted.ts";
import type { DenialSummary, UnroutedSummary } from "./denial-throttle.ts";

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

export type ConnectionOutcome =
  | "relayed"
  /** By a process of its own, or by wakeport itself. */
  | "served"
  | "denied_address"
  | "denied_time"
  | "denied_rate"
  | "denied_limit"
  | "start_failed"
  | "start_timeout"
  | "dial_failed"
  | "client_gone";

/** Which client it is. */
export interface ConnectionFacts {
  readonly service: string;
  readonly id: number;
  readonly client: string;
  readonly listener: string;
  /** Of the process that serves this client alone. */
  readonly pid?: number;
}

/** One accepted client, told when it is over. */
export interface ConnectionReport extends ConnectionFacts {
  readonly outcome: ConnectionOutcome;
  /** Whether the target had to be woken, or was being woken, when the client came. */
  readonly start: "cold" | "warm";
  /** From accept until the path to the upstream was open. */
  readonly waitMs?: number;
  readonly durationMs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** How a connection ended that was served. */
  readonly end?: string;
  /** Of the process that served this client alone. */
  readonly exit?: Exit;
  /** Why the client was refused, where it was. */
  readonly reason?: DenialReason;
  readonly error?: Error;
}

/** A client that was led to no service. */
export interface UnroutedReport {
  /** As it is configured. */
  readonly listener: string;
  readonly client: string;
  readonly error: UnroutedError;
  readonly durationMs: number;
  /** Which it said, where that was understood. */
  readonly name?: string;
  /** How it began, where it was not, in plain characters. */
  readonly said?: string;
}

/** A source that a sensor has banned from all services. */
export interface BanReport {
  /** The sensor. */
  readonly service: string;
  readonly source: string;
  /** Unix time in milliseconds. */
  readonly until: number;
}

/** What the machine of a client said when it was asked who the client is (RFC 1413). */
export interface UserIdReport extends ConnectionFacts {
  /** Its system and the user, as it has written them: `UNIX : alice`. Absent when it did not tell. */
  readonly answer?: string;
  /** Why it did not. */
  readonly trouble?: string;
}

/** One call to the engine. `code` is the HTTP status, "timeout", or "error" when there was no answer. */
export interface EngineCall {
  readonly operation: string;
  readonly code: string;
  readonly durationMs: number;
}

/** How far the pull of an image is. Told when it begins, every few seconds, and once at its end. */
export interface PullReport {
  readonly image: string;
  readonly stage: "begun" | "under way" | "done" | "failed";
  readonly durationMs: number;
  /** Of what the engine has begun to fetch; 0 before it tells. */
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly error?: Error;
}

/** What became of reading the configuration anew. Services are told by their names. */
export type ReloadReport =
  | {
      readonly outcome: "success";
      readonly added: readonly string[];
      readonly removed: readonly string[];
      readonly changed: readonly string[];
      readonly unchanged: number;
      /** Keys whose new values count only after a restart. */
      readonly afterRestart: readonly string[];
    }
  | { readonly outcome: "failure"; readonly error: Error };

/** Everything that happens, told once each. Logs and metrics are made from this and from nothing else. */
export interface Observer {
  state(change: StateChange): void;
  activation(report: ActivationReport): void;
  sleep(report: SleepReport): void;
  /** An idle target stays awake. Reported when that begins, and when the reasons change. */
  keptAwake(report: KeptAwakeReport): void;
  stopFailed(report: StopFailure): void;
  /** A client waits no longer: the way to what serves it is open. */
  connectionOpened(facts: ConnectionFacts): void;
  connection(report: ConnectionReport): void;
  /** Refusals of which the log has no lines of their own. */
  denials(summary: DenialSummary): void;
  /** A client came for no service that is known. */
  unrouted(report: UnroutedReport): void;
  /** Such clients of which the log has no lines of their own. */
  moreUnrouted(summary: UnroutedSummary): void;
  banned(report: BanReport): void;
  /** The machine of a client has answered who it is, or will not. */
  userId(report: UserIdReport): void;
  engineCall(call: EngineCall): void;
  engineUp(description: string): void;
  engineDown(error: Error): void;
  eventsReconnected(): void;
  pull(report: PullReport): void;
  /** A container of our own that nothing names any more is gone. */
  orphanRemoved(container: string, service: string): void;
  reload(report: ReloadReport): void;
  /** A line that a process target printed. */
  output(target: string, line: string): void;
  /** Something the person who runs this should know, once. */
  warning(event: string, message: string): void;
}

const silent: Observer = {
  state: () => {},
  activation: () => {},
  sleep: () => {},
  keptAwake: () => {},
  stopFailed: () => {},
  connectionOpened: () => {},
  connection: () => {},
  denials: () => {},
  unrouted: () => {},
  moreUnrouted: () => {},
  banned: () => {},
  userId: () => {},
  engineCall: () => {},
  engineUp: () => {},
  engineDown: () => {},
  eventsReconnected: () => {},
  pull: () => {},
  orphanRemoved: () => {},
  reload: () => {},
  output: () => {},
  warning: () => {},
};

/** An observer that does what `parts` has and is silent about the rest. */
export function observer(parts: Partial<Observer> = {}): Observer {
  return { ...silent, ...parts };
}

/** Tells each of `observers`, in order. */
export function fanOut(...observers: readonly Observer[]): Observer {
  return {
    state: (change) => observers.forEach((o) => o.state(change)),
    activation: (report) => observers.forEach((o) => o.activation(report)),
    sleep: (report) => observers.forEach((o) => o.sleep(report)),
    keptAwake: (report) => observers.forEach((o) => o.keptAwake(report)),
    stopFailed: (report) => observers.forEach((o) => o.stopFailed(report)),
    connectionOpened: (facts) => observers.forEach((o) => o.connectionOpened(facts)),
    connection: (report) => observers.forEach((o) => o.connection(report)),
    denials: (summary) => observers.forEach((o) => o.denials(summary)),
    unrouted: (report) => observers.forEach((o) => o.unrouted(report)),
    moreUnrouted: (summary) => observers.forEach((o) => o.moreUnrouted(summary)),
    banned: (report) => observers.forEach((o) => o.banned(report)),
    userId: (report) => observers.forEach((o) => o.userId(report)),
    engineCall: (call) => observers.forEach((o) => o.engineCall(call)),
    engineUp: (description) => observers.forEach((o) => o.engineUp(description)),
    engineDown: (error) => observers.forEach((o) => o.engineDown(error)),
    eventsReconnected: () => observers.forEach((o) => o.eventsReconnected()),
    pull: (report) => observers.forEach((o) => o.pull(report)),
    orphanRemoved: (container, service) => observers.forEach((o) => o.orphanRemoved(container, service)),
    reload: (report) => observers.forEach((o) => o.reload(report)),
    output: (target, line) => observers.forEach((o) => o.output(target, line)),
    warning: (event, message) => observers.forEach((o) => o.warning(event, message)),
  };
}
