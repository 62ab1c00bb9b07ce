import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** USER_HZ, which is 100 on all architectures that Node supports. */
const TICKS_PER_SECOND = 100;

interface Stat {
  readonly pid: number;
  readonly parent: number;
  /** User and system time of all threads, and of the children that were reaped, in ticks. */
  readonly ticks: number;
}

/**
 * User and system seconds of a process with its threads, its children, and the children that it has reaped: fields utime,
 * stime, cutime and cstime of /proc/PID/stat, see proc_pid_stat(5). The resolution is 10 ms.
 *
 * @param except path of a program; processes that run it do not count
 */
export function cpuSecondsOfTree(pid: number, except: string): number {
  const ticks = treeOf(pid, except).reduce((sum, stat) => sum + stat.ticks, 0);
  return ticks / TICKS_PER_SECOND;
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
  return { pid, parent: fields[1] ?? 0, ticks: utime + stime + cutime + cstime };
}

/** Returns undefined if the process has ended. */
function read(file: string): string | undefined {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return undefined;
  }
}
