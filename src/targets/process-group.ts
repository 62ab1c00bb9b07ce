/** Process groups: signals, end and sockets. */
import { readdirSync, readFileSync } from "node:fs";
import { kill } from "node:process";
import { delay } from "../async/wait.ts";
import { codeOf } from "../errors.ts";
import { socketInodes } from "../net/proc-net.ts";

/** Interval of checks whether a process group still exists. */
const GROUP_POLL_MS = 20;
/** Wait after SIGKILL. Then only the kernel can keep a process alive. */
const KILL_MS = 2_000;

/** Sends a signal to a process group; 0 only checks. Returns whether the group has a process. */
export function signalGroup(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return kill(-pid, name);
  } catch (error) {
    // The process is alive, but has changed its user.
    return codeOf(error) === "EPERM";
  }
}

export interface EndOptions {
  /** From SIGTERM to SIGKILL, in milliseconds; 0 kills at once. */
  readonly graceMs: number;
  /** Whether the leader has been reaped. Until then the group always exists. */
  readonly isReaped: () => boolean;
  readonly signal: AbortSignal;
}

/**
 * Ends a process group: SIGTERM, then SIGKILL after its grace. Returns whether no process of it is alive.
 *
 * @throws the reason of `signal`
 */
export async function endGroup(pid: number, { graceMs, isReaped, signal }: EndOptions): Promise<boolean> {
  if (graceMs > 0) signalGroup(pid, "SIGTERM");
  if (await isGroupGone(pid, graceMs, isReaped, signal)) return true;
  signalGroup(pid, "SIGKILL");
  return isGroupGone(pid, KILL_MS, isReaped, signal);
}

/** Waits until no process of the group is alive, at most `ms` milliseconds. */
async function isGroupGone(pid: number, ms: number, isReaped: () => boolean, signal: AbortSignal): Promise<boolean> {
  const limit = performance.now() + ms;
  while (signalGroup(pid, 0) && !(isReaped() && isDead(pid))) {
    if (performance.now() >= limit) return false;
    await delay(GROUP_POLL_MS, signal);
  }
  return true;
}

/**
 * Whether all processes of a group are zombies. Orphans are children of PID 1, which in a container may be wakeport itself
 * or another program that does not reap them.
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

/** Returns the visible processes of this system; empty without /proc. */
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
    // The name is in parentheses and may contain some. Then follow state, parent and group.
    const [state, , group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return [{ pid: Number(pid), state, group: Number(group) }];
  } catch {
    // The process has ended meanwhile.
    return [];
  }
}
