/**
 * Keeps descriptors that wakeport inherited out of its children. Node opens files close-on-exec, but sets that flag on
 * inherited descriptors only up to the first gap above 15.
 */
import { openSync, readdirSync, readFileSync } from "node:fs";

const OWN_FILES = "/proc/self/fd";
const O_CLOEXEC = 0o2000000;

/** Returns the descriptors above 2 that a child would inherit; empty if /proc cannot be read. */
export function inheritableDescriptors(): readonly number[] {
  return filesIn(OWN_FILES)
    .map(Number)
    .filter((fd) => fd > 2 && isInheritable(fd));
}

/**
 * Replaces each of these descriptors by /dev/null in a child. They stay open in this process, because they may be locks.
 * Redirections of a shell would not work: dash does not support descriptors above 9.
 */
export class DescriptorMask {
  readonly #fds: ReadonlySet<number>;
  readonly #count: number;
  readonly #null: number;

  constructor(fds: readonly number[]) {
    this.#fds = new Set(fds);
    this.#count = Math.max(-1, ...fds) + 1;
    this.#null = fds.length === 0 ? -1 : openSync("/dev/null", "r+");
  }

  /** @param stdio the descriptors of a child, from 0 on, as for `spawn` */
  over<Entry>(stdio: readonly Entry[]): (Entry | number | "ignore")[] {
    // "ignore" above 2 leaves a descriptor as it is.
    const rest = Math.max(0, this.#count - stdio.length);
    const masked = Array.from({ length: rest }, (_, index) => {
      return this.#fds.has(stdio.length + index) ? this.#null : "ignore";
    });
    return [...stdio, ...masked];
  }
}

function isInheritable(fd: number): boolean {
  try {
    const [, flags = ""] = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8")) ?? [];
    return (Number.parseInt(flags, 8) & O_CLOEXEC) === 0;
  } catch {
    // The descriptor of the folder itself, which is closed now.
    return false;
  }
}

function filesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
