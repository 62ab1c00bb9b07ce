/** What the path of a client reports, once for each event. */
import type { Exit } from "../activation/errors.ts";
import type { DenialReason } from "./admission/denial.ts";
import type { UnroutedError } from "./unrouted.ts";

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
  readonly received?: string;
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

/** Receives the reports about clients. */
export interface ProxyObserver {
  /** The client no longer waits: it is connected to the handler of its service. */
  connectionOpened(facts: ConnectionFacts): void;
  /** The connection is closed. */
  connection(report: ConnectionReport): void;
  /** A client was not routed to a service. */
  unrouted(report: UnroutedReport): void;
  banned(report: BanReport): void;
  /** The ident server of a client answered, or failed. */
  userId(report: UserIdReport): void;
  /** A fact that the operator should know. */
  warning(event: string, message: string): void;
}
