/** What a connection ends as that was not served. */
import { ActivationError, ClosedError, type Exit, StartTimeoutError } from "../activation/errors.ts";
import { TargetError } from "../errors.ts";
import { type DenialReason, DeniedError } from "./admission/denial.ts";
import { MonitorError } from "./admission/monitors.ts";
import type { ConnectionOutcome, ConnectionReport } from "./reports.ts";

/** How a client was served that was served at all. */
export interface Served {
  /** By a target behind a relay, or by a process of its own, or by wakeport itself. */
  readonly outcome: "relayed" | "served";
  /** How it ended, in a word. */
  readonly end: string;
  /** Of the process that served this client alone. */
  readonly exit?: Exit;
}

export class ClientGoneError extends Error {
  override readonly name = "ClientGoneError";
}

/** What the client waited for is another one now, and it cannot be led on to that: it has to come again. */
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

/** The part of its report that tells why. */
export function failureOf(error: unknown): Pick<ConnectionReport, "outcome" | "reason" | "end" | "error"> {
  // All that it came for.
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
