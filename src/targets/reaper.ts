/** Reaps children that were not started by Node: see docs/design/processes.md. */
import { constants } from "node:os";
import process from "node:process";
import type { Exit } from "../activation/errors.ts";
import { MAX_TIMER_MS } from "../async/wait.ts";
import type { CFunction, Libc } from "../ffi/libc.ts";

const WNOHANG = 1;

/**
 * Waits for single PIDs when SIGCHLD arrives. libuv does the same for the children of Node, so neither reaps a child of the
 * other. Create it before the first child is started, in the main thread: others receive no signals.
 */
export class Reaper {
  readonly #waitpid: CFunction;
  readonly #status = new Int32Array(1);
  readonly #children = new Map<number, (exit: Exit) => void>();
  /** Children for which this process keeps running. */
  readonly #referenced = new Set<number>();
  /** Keeps the event loop running, because the handler of a signal does not. */
  #hold: NodeJS.Timeout | undefined;

  /** @throws FfiError if the C library lacks a function */
  constructor({ find }: Libc) {
    this.#waitpid = find("int waitpid(int, void *, int)");
    // Several children may cause one signal.
    process.on("SIGCHLD", () => {
      for (const pid of this.#children.keys()) this.#reap(pid);
    });
  }

  /** Resolves when the child has ended and was reaped, in a later turn of the event loop. */
  exitOf(pid: number): Promise<Exit> {
    const { promise, resolve } = Promise.withResolvers<Exit>();
    this.#children.set(pid, resolve);
    this.#referenced.add(pid);
    this.#hold ??= setInterval(() => {}, MAX_TIMER_MS);
    // Its signal may have arrived before this call.
    setImmediate(() => this.#reap(pid));
    return promise;
  }

  /** Lets this process end before the child. */
  unref(pid: number): void {
    this.#referenced.delete(pid);
    if (this.#referenced.size > 0) return;
    clearInterval(this.#hold);
    this.#hold = undefined;
  }

  #reap(pid: number): void {
    const onExit = this.#children.get(pid);
    if (onExit === undefined) return;
    const reaped = this.#waitpid(pid, this.#status, WNOHANG);
    if (reaped === 0) return;
    this.#children.delete(pid);
    this.unref(pid);
    onExit(reaped === pid ? exitFrom(this.#status[0] ?? 0) : {});
  }
}

/** Parses a wait status: see wait(2). */
function exitFrom(status: number): Exit {
  const signal = status & 0x7f;
  if (signal === 0) return { code: (status >> 8) & 0xff };
  const [name] = Object.entries(constants.signals).find(([, number]) => number === signal) ?? [`SIG${signal}`];
  return { signal: name };
}
