import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** USER_HZ, which is 100 on all architectures that Node supports. */
const TICKS_PER_SECOND = 100;

interface Stat {
  readonly pid: number;
  readonly parent: number;
  /** User and system time of all its threads, in ticks. */
  readonly ownTicks: number;
  /** The same of the children that it has reaped. */
  readonly reapedTicks: number;
}

/**
 * User and system seconds of a process with its threads, its children, and the children that it has reaped: fields utime,
 * stime, cutime and cstime of /proc/PID/stat, see proc_pid_stat(5). Their resolution is 10 ms; /proc/PID/task/TID/schedstat
 * has nanoseconds, but only of threads that are alive.
 *
 * @param except path of a program; processes that run it do not count
 */
export function cpuSecondsOfTree(pid: number, except: string): number {
  return treeOf(pid, except).reduce((sum, stat) => sum + cpuSecondsOf(stat), 0);
}

function cpuSecondsOf({ pid, ownTicks, reapedTicks }: Stat): number {
  const threads = tasksOf(pid).map((task) => Number(read(`/proc/${pid}/task/${task}/schedstat`)?.split(" ")[0] ?? 0));
  const alive = threads.reduce((sum, nanoseconds) => sum + nanoseconds, 0) / 1e9;
  return Math.max(alive, ownTicks / TICKS_PER_SECOND) + reapedTicks / TICKS_PER_SECOND;
}

/** Returns an empty list if the process has ended. */
function tasksOf(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

/** The resident bytes of a process and its children: VmRSS of /proc/PID/status. @param except as above */
export function residentBytesOfTree(pid: number, except: string): number {
  return treeOf(pid, except).reduce((sum, stat) => sum + residentBytes(stat.pid), 0);
}

function residentBytes(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`) ?? "")?.[1];
  return Number(kib ?? 0) * 1_024;
}

function treeOf(root: number, except: string): Stat[] {
  const all = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => statOf(Number(name)) ?? []);
  const tree = all.filter(({ pid }) => pid === root);
  // An array grows while it is iterated, so this visits grandchildren too.
  for (const { pid } of tree) {
    tree.push(...all.filter((stat) => stat.parent === pid && programOf(stat.pid) !== except));
  }
  return tree;
}

/** Returns undefined if the process has ended. */
function programOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return undefined;
  }
}

function statOf(pid: number): Stat | undefined {
  const text = read(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The second field is the name, in parentheses, which may contain spaces.
  const fields = text
    .slice(text.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  const [utime = 0, stime = 0, cutime = 0, cstime = 0] = fields.slice(11, 15);
  return { pid, parent: fields[1] ?? 0, ownTicks: utime + stime, reapedTicks: cutime + cstime };
}

/** Returns undefined if the process has ended. */
function read(file: string): string | undefined {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return undefined;
  }
}
