/** A process group as a whole: signalled together, and gone only when nobody of it is left alive. */
import { readdirSync, readFileSync } from "node:fs";
import { kill } from "node:process";
import { delay } from "../async/wait.ts";
import { codeOf } from "../errors.ts";
import { socketInodes } from "../net/proc-net.ts";

/** Between two looks whether a process group is gone. */
const GROUP_POLL_MS = 20;
/** After SIGKILL nothing but the kernel itself can keep a group alive. */
const KILL_MS = 2_000;

/** Sends `name` to a process group; 0 only asks. @returns whether there was anybody to receive it */
export function signalGroup(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return kill(-pid, name);
  } catch (error) {
    // A process that changed its user is alive, and out of our reach.
    return codeOf(error) === "EPERM";
  }
}

export interface EndOptions {
  /** From SIGTERM to SIGKILL, in milliseconds; 0 kills at once. */
  readonly graceMs: number;
  /** Whether the leader has been reaped: before that its number is taken, and the group never looks gone. */
  readonly isReaped: () => boolean;
  readonly signal: AbortSignal;
}

/**
 * Ends a process group: SIGTERM, then SIGKILL after its grace.
 *
 * @returns whether nobody of it is left alive
 * @throws the reason of `signal`
 */
export async function endGroup(pid: number, { graceMs, isReaped, signal }: EndOptions): Promise<boolean> {
  if (graceMs > 0) signalGroup(pid, "SIGTERM");
  if (await isGroupGone(pid, graceMs, isReaped, signal)) return true;
  signalGroup(pid, "SIGKILL");
  return isGroupGone(pid, KILL_MS, isReaped, signal);
}

/** Waits until no process of the group is left alive, at most `ms` milliseconds. */
async function isGroupGone(pid: number, ms: number, isReaped: () => boolean, signal: AbortSignal): Promise<boolean> {
  const limit = performance.now() + ms;
  while (signalGroup(pid, 0) && !(isReaped() && isDead(pid))) {
    if (performance.now() >= limit) return false;
    await delay(GROUP_POLL_MS, signal);
  }
  return true;
}

/**
 * Whether all that is left of a process group are members that died and were not reaped. Those that outlived their
 * parent fall to PID 1, which in a container may be wakeport itself, or anything else that does not reap.
 */
function isDead(group: number): boolean {
  const states = processes()
    .filter((one) => one.group === group)
    .map(({ state }) => state);
  return states.length > 0 && states.every((state) => state === "Z" || state === "X");
}

/** Returns the inodes of all sockets of a process group; empty if this user may not read them. */
export function socketsOf(group: number): ReadonlySet<number> {
  const members = processes().filter((one) => one.group === group);
  return new Set(members.flatMap(({ pid }) => socketInodes(pid)));
}

interface ProcessStat {
  readonly pid: number;
  readonly state: string | undefined;
  readonly group: number;
}

/** All that can be seen of the processes of this system; nothing where there is no /proc. */
function processes(): ProcessStat[] {
  try {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .flatMap(readStat);
  } catch {
    return [];
  }
}

function readStat(pid: string): ProcessStat[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // After the name, which is in parentheses and may itself hold some: state, parent, group.
    const [state, , group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return [{ pid: Number(pid), state, group: Number(group) }];
  } catch {
    return []; // It ended meanwhile.
  }
}
