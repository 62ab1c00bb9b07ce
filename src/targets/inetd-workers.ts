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
  /** Ends it with SIGKILL, with all that it started. */
  readonly kill: () => void;
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
  readonly #starting = new Set<Promise<Worker>>();
  readonly #running = new Set<Worker>();

  constructor(options: WorkersOptions) {
    this.#options = options;
  }

  /** Starts a worker. The descriptors in `stdio` may be closed as with Launcher.launch. @throws TargetError */
  async start(stdio: Stdio, env: Readonly<Record<string, string>> = {}): Promise<Worker> {
    this.#options.busy.add(this);
    const starting = this.#start(stdio, env);
    this.#starting.add(starting);
    try {
      return await starting;
    } finally {
      this.#starting.delete(starting);
      this.#updateBusy();
    }
  }

  /** Waits `drainMs` milliseconds, then ends the workers that still run. */
  async close(drainMs: number): Promise<void> {
    await settledWithin(drainMs, this.#ended());
    await settledWithin(this.#options.graceMs, Promise.allSettled(this.#starting));
    await Promise.all([...this.#running].map((worker) => this.#end(worker)));
  }

  /** Kills all workers and does not wait: for the end of wakeport without a drain. */
  kill(): void {
    for (const { kill } of this.#running) kill();
  }

  async #start(stdio: Stdio, env: Readonly<Record<string, string>>): Promise<Worker> {
    const startedAt = performance.now();
    const { pid, stderr, exited } = await this.#options.launcher.launch(stdio, env);
    const worker: Worker = { pid, startedAt, exited, kill: () => this.#kill(worker) };
    const watch = this.#options.endWithWakeport ? watchdog.watch(pid, this.#options.graceMs) : undefined;
    this.#running.add(worker);
    const reading = stderr === null ? undefined : this.#read(stderr);
    void exited.then(() => {
      watch?.[Symbol.dispose]();
      this.#running.delete(worker);
      this.#updateBusy();
      reading?.expire();
    });
    return worker;
  }

  async #ended(): Promise<void> {
    await Promise.allSettled(this.#starting);
    await Promise.all([...this.#running].map(({ exited }) => exited));
  }

  #updateBusy(): void {
    if (this.#running.size === 0 && this.#starting.size === 0) this.#options.busy.delete(this);
  }

  #kill(worker: Worker): void {
    // After the end, another process may have the PID.
    if (this.#running.has(worker)) signalGroup(worker.pid, "SIGKILL");
  }

  async #end(worker: Worker): Promise<void> {
    const isReaped = (): boolean => !this.#running.has(worker);
    const never = new AbortController().signal;
    await endGroup(worker.pid, { graceMs: this.#options.graceMs, isReaped, signal: never });
  }

  #read(stream: Readable): { expire(): void } {
    let lines: { readonly reader: LineReader; readonly limit: LineLimit } | undefined;
    let timer: NodeJS.Timeout | undefined;
    stream.on("data", (chunk: Buffer) => {
      // Most programs write nothing.
      lines ??= this.#newLines();
      lines.reader.push(chunk);
    });
    stream.on("error", () => {});
    stream.once("close", () => {
      clearTimeout(timer);
      lines?.reader.end();
      lines?.limit.end();
    });
    return {
      expire: () => {
        if (!stream.destroyed) timer = setTimeout(() => stream.destroy(), STDERR_LINGER_MS);
      },
    };
  }

  #newLines(): { readonly reader: LineReader; readonly limit: LineLimit } {
    const limit = new LineLimit(this.#options.onLine);
    return { limit, reader: new LineReader((line) => limit.push(line)) };
  }
}

/** Resolves when the promise has resolved or the time is over. */
async function settledWithin(ms: number, promise: Promise<unknown>): Promise<void> {
  const { promise: elapsed, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([elapsed, promise]);
  clearTimeout(timer);
}
