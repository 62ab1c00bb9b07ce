import { KeptError, TargetError, type TargetFault, UnhealthyError } from "../errors.ts";
import { ClosedError, DependencyError, type Exit, ExitedError, StartTimeoutError } from "./errors.ts";
import type { ActivationOutcome, SleepReason } from "./reports.ts";

/** 128 + SIGKILL and SIGTERM: what a container shows that somebody stopped. */
const SIGNAL_CODES: ReadonlySet<number> = new Set([137, 143]);

/** Names the outcome of a failed activation, for reports. */
export function outcomeOf(error: Error): { outcome: ActivationOutcome; exit?: Exit } {
  if (error instanceof ExitedError) return { outcome: "exited", exit: error.exit };
  if (error instanceof StartTimeoutError) return { outcome: "timeout" };
  if (error instanceof ClosedError) return { outcome: "cancelled" };
  if (error instanceof UnhealthyError) return { outcome: "unhealthy" };
  return { outcome: "engine_error" };
}

/** Whether somebody stopped it: as far as that is known, or by a signal as people send it. */
export function isStop({ code, signal, oomKilled, wasAsked }: Exit): boolean {
  if (oomKilled) return false;
  return wasAsked === true || signal === "SIGTERM" || (code !== undefined && SIGNAL_CODES.has(code));
}

/** Tells somebody's stop from a crash, by how the target ended. */
export function sleepReasonOf(exit: Exit): SleepReason {
  const endedWell = exit.signal === undefined && !exit.oomKilled && (exit.code === undefined || exit.code === 0);
  return endedWell || isStop(exit) ? "external" : "crash";
}

/** Faults that show before anything is started. */
const REFUSALS: ReadonlySet<TargetFault> = new Set(["missing", "denied", "invalid", "no_route"]);

/** Whether a start was refused, so that there is nothing of it to take away. */
export function wasRefused(error: Error): boolean {
  return error instanceof DependencyError || (error instanceof TargetError && REFUSALS.has(error.fault));
}

/** Whether a target was asked, and answered that it will not do it: what else fails may yet happen. */
export function isDenial(error: Error): boolean {
  return error instanceof TargetError && error.fault === "denied";
}

/** Whether a target was not stopped because it may not be stopped now. */
export function wasKept(error: Error): boolean {
  return error instanceof KeptError;
}
