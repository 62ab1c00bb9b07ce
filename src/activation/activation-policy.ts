import type { StateName } from "./machine.ts";
import type { Probe, SleepAction } from "./target.ts";

/** When a target is started and put to sleep. Times are in milliseconds. */
export interface ActivationPolicy {
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

/** The part of an activator that a reload changes. */
export interface ActivatorSettings {
  readonly probe: Probe;
  readonly policy: ActivationPolicy;
  /** The services that use the target, for reports. */
  readonly services: readonly string[];
}

/** Returns the next sleep action of a target in `state`. */
export function sleepActionIn(state: StateName, { sleep, thenStop }: ActivationPolicy): SleepAction {
  return state === "paused" ? (thenStop?.action ?? "stop") : sleep;
}
