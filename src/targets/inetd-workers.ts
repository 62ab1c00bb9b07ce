/** Programs that receive a client or a listener, serve it and end. */
import type { Readable } from "node:stream";
import type { Exit } from "../activation/errors.ts";
import { LineLimit, LineReader } from "./lines.ts";
import { endGroup, signalGroup } from "./process-group.ts";
import type { Launcher } from "./spawn.ts";
import type { Stdio } from "./spawner.ts";
import { watchdog } from "./watchdog.ts";

/** How long stderr is read after a program's end. Its children may keep stderr open. */
const STDERR_LINGER_MS = 1_000;

/** A running program. */
export interface Worker {
  readonly pid: number;
  /** Time of performance.now() in milliseconds. */
  readonly startedAt: number;
  /** Resolves when the program has ended and was reaped. */
  readonly exited: Promise<Exit>;
}

export interface WorkersOptions {
  readonly launcher: Launcher;
  /** From SIGTERM to SIGKILL, in milliseconds. */
  readonly graceMs: number;
  /** Contains these workers while one of them runs. */
  readonly busy: Set<Workers>;
  /** Whether the programs end if wakeport is killed, because they hold a port of wakeport. Default: no. */
  readonly endWithWakeport?: boolean;
  /** Receives the lines of their stderr, if it is a pipe. */
  readonly onLine: (line: string) => void;
}

/** The workers of one service. */
export class Workers {
  readonly #options: WorkersOptions;
  readonly #running = new Set<Worker>();

  constructor(options: WorkersOptions) {
    this.#options = options;
  }

  /** Starts a worker. The descriptors in `stdio` may be closed as with Launcher.launch. @throws TargetError */
  async start(stdio: Stdio, env: Readonly<Record<string, string>> = {}): Promise<Worker> {
    const startedAt = performance.now();
    const { pid, stderr, exited } = await this.#options.launcher.launch(stdio, env);
    const worker = { pid, startedAt, exited };
    const watch = this.#options.endWithWakeport ? watchdog.watch(pid, this.#options.graceMs) : undefined;
    this.#running.add(worker);
    this.#options.busy.add(this);
    const reading = stderr === null ? undefined : this.#read(stderr);
    void exited.then(() => {
      watch?.[Symbol.dispose]();
      this.#running.delete(worker);
      if (this.#running.size === 0) this.#options.busy.delete(this);
      reading?.expire();
    });
    return worker;
  }

  /** Waits `drainMs` milliseconds, then ends the workers that still run. */
  async close(drainMs: number): Promise<void> {
    const { promise: elapsed, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, drainMs);
    await Promise.race([elapsed, Promise.all([...this.#running].map(({ exited }) => exited))]);
    clearTimeout(timer);
    await Promise.all([...this.#running].map((worker) => this.#end(worker)));
  }

  /** Kills all workers and does not wait: for the end of wakeport without a drain. */
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
        if (!stream.destroyed) timer = setTimeout(() => stream.destroy(), STDERR_LINGER_MS);
      },
    };
  }
}
