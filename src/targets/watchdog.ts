/**
 * Ends the processes of targets if wakeport itself is killed, because they would keep the ports that the next wakeport
 * needs. A shell at the other end of a pipe does this: see docs/design/processes.md.
 */
import { Launcher } from "./spawn.ts";
import type { Child } from "./spawner.ts";

/** Begins with the groups in WATCHED. Reads `PID SECONDS` to add a group with its grace, and `PID` to remove one. */
const SCRIPT = `trap '' HUP INT QUIT TERM
groups=$WATCHED
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

/** If a watchdog ends sooner, the next one is started only at the next start of a process: the system may kill each one. */
const STEADY_MS = 1_000;

const env = { PATH: "/usr/local/bin:/usr/bin:/bin" };

export class Watchdog {
  readonly #launcher = new Launcher({ command: ["sh", "-c", SCRIPT], env });
  /** Grace in seconds, by the PID of the group's leader. */
  readonly #groups = new Map<number, number>();
  #child: Promise<Child> | undefined;

  /** Starts the shell. @throws TargetError if it cannot be started */
  async open(): Promise<void> {
    this.#child ??= this.#start();
    await this.#child;
  }

  /**
   * Ends this process group if wakeport is killed, until disposed. Starts the watchdog if necessary; if that fails, the
   * group is not watched. Await `open` first to get the error.
   *
   * @param graceMs time from SIGTERM to SIGKILL
   */
  watch(pid: number, graceMs: number): Disposable {
    const seconds = Math.ceil(graceMs / 1_000);
    this.#groups.set(pid, seconds);
    if (this.#child === undefined) void this.open().catch(() => {});
    else this.#write(`${pid} ${seconds}`);
    return {
      [Symbol.dispose]: () => {
        if (this.#groups.delete(pid)) this.#write(`${pid}`);
      },
    };
  }

  async #start(): Promise<Child> {
    try {
      const groups = [...this.#groups].map(([pid, seconds]) => `${pid}:${seconds}`);
      // Known from the start, because wakeport may be killed before it could write them.
      const child = await this.#launcher.launch(["pipe", "ignore", "ignore"], { WATCHED: groups.join(" ") });
      // The shell must not keep this process running.
      child.unref();
      if (child.stdin !== null && "unref" in child.stdin && typeof child.stdin.unref === "function")
        child.stdin.unref();
      child.stdin?.on("error", () => {});
      const startedAt = performance.now();
      void child.exited.then(() => {
        this.#child = undefined;
        const isFailure = performance.now() - startedAt < STEADY_MS;
        if (!isFailure && this.#groups.size > 0) void this.open().catch(() => {});
      });
      return child;
    } catch (error) {
      this.#child = undefined;
      throw error;
    }
  }

  #write(line: string): void {
    void this.#child?.then(({ stdin }) => stdin?.write(`${line}\n`)).catch(() => {});
  }
}

/** Shared by all targets of this process. */
export const watchdog: Watchdog = new Watchdog();
