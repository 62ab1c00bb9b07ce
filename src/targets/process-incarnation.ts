import type { Readable } from "node:stream";
import type { Exit } from "../activation/errors.ts";
import { TargetError } from "../errors.ts";
import type { Program } from "./exec-wrapper.ts";
import { Output } from "./output.ts";
import { PrivateListener } from "./private-listener.ts";
import { endGroup, signalGroup, socketsOf } from "./process-group.ts";
import type { Launcher } from "./spawn.ts";
import type { Child } from "./spawner.ts";
import { watchdog } from "./watchdog.ts";

export interface ProcessOptions extends Program {
  readonly name: string;
  /** Where the process listens. The port is absent if wakeport passes a listener with any free port (`listenerName`). */
  readonly listen: { readonly host: string; readonly port?: number };
  /** From SIGTERM to SIGKILL, in milliseconds. */
  readonly graceMs: number;
  /** Receives the lines of the process's output. */
  readonly onLine: (line: string) => void;
}

/** A process, and the watch that ends its group if wakeport is killed. */
interface Watched {
  readonly child: Child;
  readonly watch: Disposable;
}

/** One run of a process target. With a private listener it can contain several processes in turn. */
export class ProcessIncarnation {
  readonly id: string;
  readonly output = new Output();
  readonly #options: ProcessOptions;
  readonly #launcher: Launcher;
  readonly #listener: PrivateListener | undefined;
  readonly #onEnd: () => void;
  /** PID of the current process. */
  #pid: number;
  #watch: Disposable;
  /** Number of processes that may still write to the output. */
  #writers = 0;
  #isStopping = false;
  #exit: Exit | undefined;
  /** Clients in the backlog when the current process was started as a successor. */
  #awaited: ReadonlySet<string> = new Set();
  /** Pending while a successor is being started. */
  #succession: Promise<void> | undefined;

  private constructor(
    options: ProcessOptions,
    launcher: Launcher,
    listener: PrivateListener | undefined,
    onEnd: () => void,
    { child, watch }: Watched,
  ) {
    this.#options = options;
    this.#launcher = launcher;
    this.#listener = listener;
    this.#onEnd = onEnd;
    this.id = String(child.pid);
    this.#pid = child.pid;
    this.#watch = watch;
    this.#observe(child);
  }

  /** @param onEnd called when the last process has ended @throws TargetError */
  static async start(options: ProcessOptions, launcher: Launcher, onEnd: () => void): Promise<ProcessIncarnation> {
    const { listen, listenerName, graceMs } = options;
    using opened = new DisposableStack();
    const listener = listenerName === undefined ? undefined : opened.use(await PrivateListener.open(listen));
    const watched = await spawnWatched(launcher, listener, graceMs);
    opened.move();
    return new ProcessIncarnation(options, launcher, listener, onEnd, watched);
  }

  /** The port of the private listener; undefined without one. */
  get listenerPort(): number | undefined {
    return this.#listener?.port;
  }

  /** Undefined while it runs. */
  get exit(): Exit | undefined {
    return this.#exit;
  }

  /** Whether it ended without a stop. */
  get hasEndedByItself(): boolean {
    return this.#exit !== undefined && !this.#isStopping;
  }

  /** Inodes of the sockets of its processes. */
  get sockets(): ReadonlySet<number> {
    return socketsOf(this.#pid);
  }

  /** Ends the process group: SIGTERM, then SIGKILL after `graceMs`. @throws TargetError; the reason of `signal` */
  async stop(graceMs: number, signal: AbortSignal): Promise<void> {
    this.#isStopping = true;
    await this.#succession;
    const isGone = await endGroup(this.#pid, { graceMs, isReaped: () => this.#exit !== undefined, signal });
    if (!isGone && this.#exit === undefined) {
      throw new TargetError("failed", `${this.#options.name} (pid ${this.#pid}) survived SIGKILL`);
    }
    this.#watch[Symbol.dispose]();
  }

  /** Sends SIGKILL to the process group and does not wait. */
  kill(): void {
    // After the end, another process may have the PID.
    if (!this.hasEndedByItself) signalGroup(this.#pid, "SIGKILL");
  }

  #observe({ exited, stdout, stderr }: Child): void {
    const streams = [stdout, stderr].filter((stream) => stream !== null);
    for (const stream of streams) this.output.read(stream, this.#options.onLine);
    void exited.then((exit) => this.#exited(exit));
    this.#writers += 1;
    void Promise.all([exited, ...streams.map(closed)]).then(() => {
      this.#writers -= 1;
      if (this.#writers === 0 && this.#exit !== undefined) this.output.end();
    });
  }

  #exited(exit: Exit): void {
    // The children of a crashed process would keep its port. In a stop, they have their grace.
    if (!this.#isStopping) signalGroup(this.#pid, "SIGKILL");
    const waiting = this.#listener?.waiting ?? new Set();
    if (exit.code === 0 && !this.#isStopping && this.#needsSuccessor(waiting)) {
      this.#awaited = waiting;
      this.#succession = this.#startSuccessor().catch(() => this.#end(exit));
    } else this.#end(exit);
  }

  /**
   * Whether clients are in the backlog. A successor that accepted none of the clients that it was started for gets no
   * successor itself.
   */
  #needsSuccessor(waiting: ReadonlySet<string>): boolean {
    return waiting.size > 0 && (this.#awaited.size === 0 || !this.#awaited.isSubsetOf(waiting));
  }

  /** Starts another process with the same listener, for the clients in its backlog. */
  async #startSuccessor(): Promise<void> {
    this.#watch[Symbol.dispose]();
    const { child, watch } = await spawnWatched(this.#launcher, this.#listener, this.#options.graceMs);
    this.#pid = child.pid;
    this.#watch = watch;
    this.#observe(child);
  }

  #end(exit: Exit): void {
    // In the same turn in which the backlog was empty: later clients are refused and connect to the next incarnation.
    this.#listener?.[Symbol.dispose]();
    if (!this.#isStopping) this.#watch[Symbol.dispose]();
    this.#exit = exit;
    this.#onEnd();
  }
}

/** Resolves when a stream is closed, also after an error. */
function closed(stream: Readable): Promise<void> {
  return new Promise((resolve) => stream.once("close", resolve));
}

async function spawnWatched(
  launcher: Launcher,
  listener: PrivateListener | undefined,
  graceMs: number,
): Promise<Watched> {
  await watchdog.open();
  const child = await launcher.launch([listener?.fd ?? "ignore", "pipe", "pipe"]);
  return { child, watch: watchdog.watch(child.pid, graceMs) };
}
