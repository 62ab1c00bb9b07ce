/** Classifies errors and exits of targets. */
import { TargetError, type TargetFault, UnhealthyError } from "../errors.ts";
import { ClosedError, DependencyError, type Exit, ExitedError, StartTimeoutError } from "./errors.ts";
import type { ActivationOutcome, SleepReason } from "./reports.ts";

/** 128 + SIGKILL and SIGTERM: the exit code of a stopped container. */
const SIGNAL_CODES: ReadonlySet<number> = new Set([137, 143]);

/** Returns the outcome of a failed activation, for reports. */
export function outcomeOf(error: Error): { outcome: ActivationOutcome; exit?: Exit } {
  if (error instanceof ExitedError) return { outcome: "exited", exit: error.exit };
  if (error instanceof StartTimeoutError) return { outcome: "timeout" };
  if (error instanceof ClosedError) return { outcome: "cancelled" };
  if (error instanceof UnhealthyError) return { outcome: "unhealthy" };
  return { outcome: "engine_error" };
}

/** Returns whether the target was stopped: by a known request, or by a signal that usually stops programs. */
export function isStop({ code, signal, oomKilled, stopRequested }: Exit): boolean {
  if (oomKilled) return false;
  return stopRequested === true || signal === "SIGTERM" || (code !== undefined && SIGNAL_CODES.has(code));
}

/** Distinguishes a stop by another process from a crash. */
export function sleepReasonOf(exit: Exit): SleepReason {
  const exitedCleanly = exit.signal === undefined && !exit.oomKilled && (exit.code === undefined || exit.code === 0);
  return exitedCleanly || isStop(exit) ? "external" : "crash";
}

/** Faults that are found before the target is started. */
const REFUSALS: ReadonlySet<TargetFault> = new Set(["missing", "denied", "invalid", "no_route"]);

/** Returns whether a start was rejected before it began, so that there is nothing to stop. */
export function wasRefused(error: Error): boolean {
  return error instanceof DependencyError || (error instanceof TargetError && REFUSALS.has(error.fault));
}
