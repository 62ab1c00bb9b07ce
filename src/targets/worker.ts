/** Programs that serve what they were handed, a client or a listener, and end when they are done with it. */
import type { Readable } from "node:stream";
import type { Exit } from "../activation/errors.ts";
import { LineLimit, LineReader } from "./lines.ts";
import { endGroup, signalGroup } from "./process-group.ts";
import type { Launcher, StdioOptions } from "./spawn.ts";
import { watchdog } from "./watchdog.ts";

/** What a program leaves behind may hold its stderr open: it is read no longer than this after the program's end. */
const LAST_WORDS_MS = 1_000;

/** One such program while it runs. */
export interface Worker {
  readonly pid: number;
  /** Of performance.now(), in milliseconds. */
  readonly startedAt: number;
  /** Resolves when it has ended and was reaped. */
  readonly exited: Promise<Exit>;
}

export interface WorkersOptions {
  readonly launcher: Launcher;
  /** From SIGTERM to SIGKILL, in milliseconds. */
  readonly graceMs: number;
  /** Has this one in it as long as anybody is at work. */
  readonly busy: Set<Workers>;
  /** Whether it ends when wakeport is killed; default: no. For programs that hold a port of wakeport. */
  readonly endWithWakeport?: boolean;
  /** Told each line that one of them prints to a stderr that is a pipe. */
  readonly onLine: (line: string) => void;
}

/** Those of one service. */
export class Workers {
  readonly #options: WorkersOptions;
  readonly #running = new Set<Worker>();

  constructor(options: WorkersOptions) {
    this.#options = options;
  }

  /** See Launcher.launch: what `stdio` names may be closed as soon as this returns its promise. @throws TargetError */
  async start(stdio: StdioOptions, env: Readonly<Record<string, string>> = {}): Promise<Worker> {
    const startedAt = performance.now();
    const { child, pid } = await this.#options.launcher.launch(stdio, env);
    const { promise: exited, resolve } = Promise.withResolvers<Exit>();
    const worker = { pid, startedAt, exited };
    const watch = this.#options.endWithWakeport ? watchdog.watch(pid, this.#options.graceMs) : undefined;
    this.#running.add(worker);
    this.#options.busy.add(this);
    const stderr = child.stderr === null ? undefined : this.#read(child.stderr);
    // Not 'close', which waits for all that the program has left behind.
    child.once("exit", (code, killedBy) => {
      watch?.[Symbol.dispose]();
      this.#running.delete(worker);
      if (this.#running.size === 0) this.#options.busy.delete(this);
      stderr?.expire();
      resolve({ ...(code !== null && { code }), ...(killedBy !== null && { signal: killedBy }) });
    });
    return worker;
  }

  /** Lets them finish for `drainMs` milliseconds, then ends what is left of them. */
  async close(drainMs: number): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, drainMs);
    await Promise.race([late, Promise.all([...this.#running].map(({ exited }) => exited))]);
    clearTimeout(timer);
    await Promise.all([...this.#running].map((worker) => this.#end(worker)));
  }

  /** Ends them at once, without waiting: for a program that is itself about to end. */
  kill(): void {
    for (const { pid } of this.#running) signalGroup(pid, "SIGKILL");
  }

  async #end(worker: Worker): Promise<void> {
    const isReaped = (): boolean => !this.#running.has(worker);
    const never = new AbortController().signal;
    await endGroup(worker.pid, { graceMs: this.#options.graceMs, isReaped, signal: never });
  }

  #read(stream: Readable): { expire(): void } {
    const limit = new LineLimit(this.#options.onLine);
    const reader = new LineReader((line) => limit.push(line));
    let timer: NodeJS.Timeout | undefined;
    stream.on("data", (chunk: Buffer) => reader.push(chunk));
    stream.on("error", () => {});
    stream.once("close", () => {
      clearTimeout(timer);
      reader.end();
      limit.end();
    });
    return {
      expire: () => {
        if (!stream.destroyed) timer = setTimeout(() => stream.destroy(), LAST_WORDS_MS);
      },
    };
  }
}
