/** What a status of a target means to its activator. Pure: the activator acts on the result. */
import type { Exit } from "./errors.ts";
import type { StateName } from "./machine.ts";
import type { RenamedRun, RunningStatus, TargetStatus } from "./target.ts";

/** What the activator knew before the status. */
export interface Known {
  readonly state: StateName;
  /** The run that leases hold; undefined if the target is not ready. */
  readonly running?: Pick<RunningStatus, "incarnation" | "address" | "port"> | undefined;
}

export type Finding =
  | { readonly kind: "nothing" }
  /** Running, although the activator did not start it. */
  | { readonly kind: "found" }
  /** Paused by another process while it was asleep. */
  | { readonly kind: "found-paused" }
  /** Still the same run. Its address may have changed. */
  | { readonly kind: "running"; readonly status: RunningStatus; readonly hasMoved: boolean }
  /** The run that leases hold was paused by another process. */
  | { readonly kind: "paused" }
  /** The run that leases hold continues, but the target is another container now. */
  | { readonly kind: "renamed"; readonly run: RenamedRun }
  /** The run is over. The target may be running again, in a new incarnation. */
  | { readonly kind: "exited"; readonly exit: Exit; readonly missing?: string | undefined };

const nothing: Finding = { kind: "nothing" };

/** Returns what `status` means for a target about which `known` was known. */
export function interpret(status: TargetStatus, known: Known): Finding {
  switch (known.state) {
    case "asleep":
    case "paused":
      return interpretAsleep(status, known.state);
    case "ready":
    case "draining":
      return interpretAwake(status, known.running);
    // The start attempt and the stop inspect the target themselves.
    case "starting":
    case "stopping":
      return nothing;
  }
}

function interpretAsleep(status: TargetStatus, state: "asleep" | "paused"): Finding {
  // No client can use a target without a route, so it is not adopted.
  if (status.up) return status.noRoute === undefined ? { kind: "found" } : nothing;
  const isPaused = status.pausedIncarnation !== undefined;
  if (isPaused === (state === "paused")) return nothing;
  return isPaused ? { kind: "found-paused" } : exited(status);
}

function interpretAwake(status: TargetStatus, running: Known["running"]): Finding {
  if (running === undefined) return exited(status);
  if (status.up && status.incarnation === running.incarnation) {
    const hasMoved = status.address !== running.address || status.port !== running.port;
    return { kind: "running", status, hasMoved };
  }
  if (!status.up && status.pausedIncarnation === running.incarnation) return { kind: "paused" };
  const { renamed } = status;
  if (renamed !== undefined && running.incarnation.startsWith(renamed.incarnation))
    return { kind: "renamed", run: renamed };
  return exited(status);
}

/** The exit is unknown if the target was restarted before the inspection. */
function exited(status: TargetStatus): Finding {
  if (status.up) return { kind: "exited", exit: {} };
  return { kind: "exited", exit: status.exit ?? {}, missing: status.missing };
}

/** Returns whether the target was created or removed since the previous status, whose `missing` is given. */
export function existenceChange(before: string | undefined, status: TargetStatus): "created" | "removed" | undefined {
  const exists = status.up || status.missing === undefined;
  if (exists === (before === undefined)) return undefined;
  return exists ? "created" : "removed";
}
