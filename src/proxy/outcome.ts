/** The outcome of a connection: of a served one, and of an error. */
import { ActivationError, ClosedError, type Exit, StartTimeoutError } from "../activation/errors.ts";
import { TargetError } from "../errors.ts";
import { type DenialReason, DeniedError } from "./admission/denial.ts";
import { MonitorError } from "./admission/monitors.ts";
import type { ConnectionOutcome, ConnectionReport } from "./reports.ts";

/** When a client passed the phases of its wait for a target, in milliseconds of the monotonic clock. */
export interface WakeTimes {
  /** The lease on the target was requested. */
  readonly requestedAt: number;
  /** The lease was granted. */
  readonly readyAt: number;
  readonly connectedAt: number;
  /** The first byte of the client or the target could be relayed. */
  readonly firstByteAt: number;
}

/** The result of a served connection. */
export interface Served {
  /** `relayed` to a target; `served` by the client's own process, or by wakeport itself. */
  readonly outcome: "relayed" | "served";
  /** The kind of end: `clean`, `client_reset`, `exited` … */
  readonly end: string;
  /** Exit of the client's own process. */
  readonly exit?: Exit;
  /** Present if the target was not ready at the request. */
  readonly wake?: WakeTimes;
}

export class ClientGoneError extends Error {
  override readonly name = "ClientGoneError";
}

/** A reload changed the service while the client waited, and the client must connect again. */
export class ServiceChangedError extends ClosedError {}

const ofReason: Readonly<Record<DenialReason, ConnectionOutcome>> = {
  address: "denied_address",
  banned: "denied_address",
  time: "denied_time",
  rate: "denied_rate",
  load: "denied_limit",
  per_source_limit: "denied_limit",
  service_limit: "denied_limit",
  waiting_limit: "denied_limit",
  process_limit: "denied_limit",
  no_control: "denied_address",
};

/** Returns the part of the report that an error determines. */
export function failureOf(error: unknown): Pick<ConnectionReport, "outcome" | "reason" | "end" | "error"> {
  // A health check needs no more than the accept.
  if (error instanceof MonitorError) return { outcome: "served", end: "probe" };
  return {
    outcome: outcomeOf(error),
    ...(error instanceof DeniedError && { reason: error.reason }),
    ...(error instanceof Error && { error }),
  };
}

function outcomeOf(error: unknown): ConnectionOutcome {
  if (error instanceof DeniedError) return ofReason[error.reason];
  if (error instanceof ClientGoneError) return "client_gone";
  if (error instanceof StartTimeoutError) return "start_timeout";
  if (error instanceof ActivationError || error instanceof TargetError) return "start_failed";
  return "dial_failed";
}
