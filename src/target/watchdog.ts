/**
 * Ends the processes of targets when wakeport itself was killed, by SIGKILL or for want of memory. Otherwise they would
 * go on without a parent, and hold their ports against the next wakeport.
 *
 * It is a shell at the other end of a pipe. It learns each process group that is to end with wakeport, and ends those that
 * are left when the pipe closes. A parent-death signal would reach only the leader of a group, and is lost when a program
 * changes its user.
 */
import { type Child, Launcher } from "./spawn.ts";

/** Reads `PID SECONDS` for a group with its grace, and `PID` for one that is gone. */
const SCRIPT = `trap '' HUP INT QUIT TERM
groups=
while read -r pid grace; do
  kept=
  for one in $groups; do [ "\${one%:*}" = "$pid" ] || kept="$kept $one"; done
  groups=$kept
  [ -z "$grace" ] || groups="$groups $pid:$grace"
done
end() {
  kill -s TERM -- "-$1" || return
  left=$2
  while [ "$left" -gt 0 ]; do
    sleep 1
    kill -s 0 -- "-$1" || return
    left=$((left - 1))
  done
  kill -s KILL -- "-$1"
}
for one in $groups; do end "\${one%:*}" "\${one#*:}" & done
wait`;

/** A watchdog that ends sooner is not replaced before the next start of a process: the system may kill each one. */
const STEADY_MS = 1_000;

const env = { PATH: "/usr/local/bin:/usr/bin:/bin" };

export class Watchdog {
  readonly #launcher = new Launcher({ command: ["sh", "-c", SCRIPT], env });
  /** Seconds of grace, by the leader of each group. */
  readonly #groups = new Map<number, number>();
  #child: Promise<Child["child"]> | undefined;

  /** Resolves when it runs. @throws TargetError when it cannot be started */
  async open(): Promise<void> {
    this.#child ??= this.#start();
    await this.#child;
  }

  /**
   * Ends this process group with wakeport, until disposed of. Starts the watchdog unless it runs; where that fails, the group
   * is not watched: a caller to which it matters awaits `open` first.
   *
   * @param graceMs from SIGTERM to SIGKILL
   */
  watch(pid: number, graceMs: number): Disposable {
    const seconds = Math.ceil(graceMs / 1_000);
    this.#groups.set(pid, seconds);
    if (this.#child === undefined) void this.open().catch(() => {});
    else this.#tell(`${pid} ${seconds}`);
    return {
      [Symbol.dispose]: () => {
        if (this.#groups.delete(pid)) this.#tell(`${pid}`);
      },
    };
  }

  async #start(): Promise<Child["child"]> {
    try {
      const { child } = await this.#launcher.launch(["pipe", "ignore", "ignore"]);
      // It must not keep this process from its end.
      child.unref();
      if (child.stdin !== null && "unref" in child.stdin && typeof child.stdin.unref === "function")
        child.stdin.unref();
      child.stdin?.on("error", () => {});
      const startedAt = performance.now();
      child.once("exit", () => {
        this.#child = undefined;
        const isFailure = performance.now() - startedAt < STEADY_MS;
        if (!isFailure && this.#groups.size > 0) void this.open().catch(() => {});
      });
      for (const [pid, seconds] of this.#groups) child.stdin?.write(`${pid} ${seconds}\n`);
      return child;
    } catch (error) {
      this.#child = undefined;
      throw error;
    }
  }

  #tell(line: string): void {
    void this.#child?.then(({ stdin }) => stdin?.write(`${line}\n`)).catch(() => {});
  }
}

/** One for all targets of this process. */
export const watchdog: Watchdog = new Watchdog();
