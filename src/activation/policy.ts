import type { SleepAction } from "./target.ts";

/** When a target is started and put to sleep. Times are in milliseconds. */
export interface Policy {
  /** From the end of the last use until the target is put to sleep. */
  readonly idleTimeoutMs: number;
  readonly sleep: SleepAction;
  /** Second sleep step: what to do with a paused target after `afterMs`. Absent: it stays paused. */
  readonly thenStop?: { readonly afterMs: number; readonly action: "stop" | "kill" };
  readonly minUptimeMs: number;
  readonly startTimeoutMs: number;
  /** Bytes of direct traffic in one idle timeout that do not keep the target awake; absent: any number. */
  readonly directTrafficBytes?: number;
}

/** Times on the monotonic clock, in milliseconds. */
export interface ActivityTimes {
  readonly readyAt: number;
  /** -Infinity if there was no use. */
  readonly lastUsed: number;
  readonly lastDirectUse: number;
}

/** Returns the rest of the idle timeout in milliseconds. It begins with the last use and respects the minimum uptime. */
export function idleRestMs({ idleTimeoutMs, minUptimeMs }: Policy, times: ActivityTimes): number {
  const idleSince = Math.max(times.lastUsed, times.readyAt, times.lastDirectUse);
  const sleepsAt = Math.max(idleSince + idleTimeoutMs, times.readyAt + minUptimeMs);
  return Math.max(0, sleepsAt - performance.now());
}
