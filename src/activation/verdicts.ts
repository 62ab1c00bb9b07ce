import type { ActivationOutcome, SleepReason } from "../telemetry/observer.ts";
import { ClosedError, type Exit, ExitedError, StartTimeoutError } from "./errors.ts";

/** 128 + SIGKILL and SIGTERM: what a container shows that somebody stopped. */
const STOPPED_CODES: ReadonlySet<number> = new Set([0, 137, 143]);

/** Names the outcome of a failed activation, for reports. */
export function outcomeOf(error: Error): { outcome: ActivationOutcome; exit?: Exit } {
  if (error instanceof ExitedError) return { outcome: "exited", exit: error.exit };
  if (error instanceof StartTimeoutError) return { outcome: "timeout" };
  if (error instanceof ClosedError) return { outcome: "cancelled" };
  if (error.name === "UnhealthyError") return { outcome: "unhealthy" };
  return { outcome: "engine_error" };
}

/** Tells somebody's stop from a crash, by how the target ended. */
export function sleepReasonOf(exit: Exit): SleepReason {
  if (exit.oomKilled) return "crash";
  if (exit.signal !== undefined) return exit.signal === "SIGTERM" ? "external" : "crash";
  return exit.code === undefined || STOPPED_CODES.has(exit.code) ? "external" : "crash";
}
