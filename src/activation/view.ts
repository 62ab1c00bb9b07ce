import type { Cooldown } from "./cooldown.ts";
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
  /** The beginning of the state. */
  readonly since: number;
  /** What does not exist, if the target does not exist. */
  readonly missing?: string;
  /** Dependents that need the target. */
  readonly dependents: readonly string[];
  /** What kept the idle target awake at the end of the last idle timeout: direct use, or why it must not be stopped. */
  readonly keptAwakeBy: readonly string[];
  readonly held: number;
  readonly waiting: number;
  /** What a start waits for. */
  readonly pending?: readonly string[];
  readonly idleDeadline?: number;
  readonly lastActivity?: number;
  readonly cooldownUntil?: number;
  readonly lastError?: string;
  /** The last output before a failed start or a crash; absent after a successful start. */
  readonly lastLines?: readonly string[];
  /** Milliseconds for which this process saw the target awake. */
  readonly awakeMs: number;
}

export interface ViewParts {
  readonly target: string;
  readonly state: StateName;
  readonly isPaused: boolean;
  readonly missing: string | undefined;
  readonly pending: readonly string[];
  readonly leases: LeaseSet;
  readonly idle: IdleCheck;
  readonly cooldown: Cooldown;
  readonly history: StateHistory;
}

export function viewOf({
  target,
  missing,
  pending,
  leases,
  idle,
  cooldown,
  history,
  ...now
}: ViewParts): ActivatorView {
  const { lastActivity, lastError, lastLines = [] } = history;
  return {
    target,
    state: now.isPaused && now.state === "ready" ? "paused" : now.state,
    cause: history.cause,
    since: history.since,
    dependents: leases.dependents,
    keptAwakeBy: idle.keptAwakeBy,
    held: leases.held,
    waiting: leases.waiting,
    awakeMs: history.awakeMs,
    ...(missing !== undefined && { missing }),
    ...(pending.length > 0 && { pending }),
    ...(idle.deadline !== undefined && { idleDeadline: idle.deadline }),
    ...(cooldown.until !== undefined && { cooldownUntil: cooldown.until }),
    ...(lastActivity !== undefined && { lastActivity }),
    ...(lastError !== undefined && { lastError }),
    ...(lastLines.length > 0 && { lastLines }),
  };
}
