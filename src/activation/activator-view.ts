import type { StateHistory } from "./history.ts";
import type { IdleCheck } from "./idle-check.ts";
import type { LeaseSet } from "./lease-set.ts";
import type { StateName } from "./machine.ts";

/** The current state of an activator. Times are Unix milliseconds. */
export interface ActivatorView {
  readonly target: string;
  /** "paused" also for a ready target that another process paused. */
  readonly state: StateName;
  /** The reason of the state. */
  readonly cause: string;
  /** When the state began, in Unix milliseconds. */
  readonly since: number;
  /** Names what is missing, if the target does not exist. */
  readonly missing?: string | undefined;
  /** Dependents that need the target. */
  readonly dependents: readonly string[];
  /** What kept the idle target awake at the end of the last idle timeout: direct use, or why it must not be stopped. */
  readonly keptAwakeBy: readonly string[];
  readonly held: number;
  readonly waiting: number;
  /** What a start waits for; undefined if nothing is known. */
  readonly pending?: readonly string[] | undefined;
  readonly idleDeadline?: number | undefined;
  readonly lastActivity?: number | undefined;
  readonly cooldownUntil?: number | undefined;
  readonly lastError?: string | undefined;
  /** The last output before a failed start or a crash; undefined after a successful start. */
  readonly lastLines?: readonly string[] | undefined;
  /** Milliseconds for which this process saw the target awake. */
  readonly awakeMs: number;
}

interface ViewParts extends Pick<ActivatorView, "target" | "state" | "missing" | "cooldownUntil"> {
  readonly pending: readonly string[];
  readonly leases: LeaseSet;
  /** Undefined before its first use. */
  readonly idle: IdleCheck | undefined;
  readonly history: StateHistory;
}

export function viewOf({ pending, leases, idle, history, ...rest }: ViewParts): ActivatorView {
  const { cause, since, awakeMs, lastActivity, lastError, lastLines } = history;
  const { dependents, held, waiting } = leases;
  const { keptAwakeBy = [], deadline: idleDeadline } = idle ?? {};
  return {
    ...rest,
    ...{ cause, since, awakeMs, lastActivity, lastError, dependents, held, waiting, keptAwakeBy, idleDeadline },
    pending: pending.length > 0 ? pending : undefined,
    lastLines: lastLines.length > 0 ? lastLines : undefined,
  };
}
