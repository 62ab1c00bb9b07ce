import { readdirSync, readFileSync } from "node:fs";

/** The PIDs of all children of a process, zombies included. Each thread has a list of the children that it started. */
export function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    return readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  });
}
