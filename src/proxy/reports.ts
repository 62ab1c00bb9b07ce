/** The reports about clients. Each event is reported once. */
import type { Exit } from "../activation/errors.ts";
import type { DenialReason } from "./admission/denial.ts";
import type { UnroutedError } from "./unrouted.ts";

export type ConnectionOutcome =
  | "relayed"
  /** By the client's own process, or by wakeport itself. */
  | "served"
  | "denied_address"
  | "denied_time"
  | "denied_rate"
  | "denied_limit"
  | "start_failed"
  | "start_timeout"
  | "dial_failed"
  | "client_gone";

export interface ConnectionFacts {
  readonly service: string;
  readonly id: number;
  readonly client: string;
  readonly listener: string;
  /** The client's own process. */
  readonly pid?: number;
}

/** The phases of a client that waited for a start, besides those of the start itself. In milliseconds. */
export interface WakePhases {
  /** From the accept to the request of the target: admission, and the first byte if it is required. */
  readonly acceptMs: number;
  /** From ready to the connection with the target. */
  readonly dialMs: number;
  /** From there to the first byte of the client or the target. */
  readonly firstByteMs: number;
}

/** One closed connection. */
export interface ConnectionReport extends ConnectionFacts {
  readonly outcome: ConnectionOutcome;
  /** `cold` if the target was not up at the accept. */
  readonly start: "cold" | "warm";
  /** Time from the accept until the client was served; absent if it never was. */
  readonly waitMs?: number;
  readonly wake?: WakePhases;
  readonly durationMs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** The kind of end of a served connection. */
  readonly end?: string;
  /** Exit of the client's own process. */
  readonly exit?: Exit;
  readonly reason?: DenialReason;
  readonly error?: Error;
}

/** A client without a route. */
export interface UnroutedReport {
  /** The configured listen address. */
  readonly listener: string;
  readonly client: string;
  readonly error: UnroutedError;
  readonly durationMs: number;
  /** The host name that the client sent. */
  readonly name?: string;
  /** The client's first bytes, with control characters escaped, if they could not be parsed. */
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

/** The answer of a client's ident server (RFC 1413), or the reason for a missing answer. */
export interface UserIdReport extends ConnectionFacts {
  /** Operating system and user in the server's own form: `UNIX : alice`. */
  readonly answer?: string;
  readonly failure?: string;
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
