/**
 * A local process as a target. It runs in a process group of its own, without a shell, with an environment of its own;
 * stopping it means the whole group, so that nothing it started outlives it.
 */

import type { Exit } from "../activation/errors.ts";
import type { SleepAction, Target, TargetStatus, UseMoment } from "../activation/target.ts";
import { abortable } from "../async/wait.ts";
import { TargetError } from "../errors.ts";
import { closeGracefully } from "../net/close.ts";
import { dial } from "../net/dial.ts";
import { directConnections } from "../net/direct-connections.ts";
import { readSocketRows } from "../net/proc-net.ts";
import { LineLimit, LineReader, MAX_MATCHED, shortened } from "./lines.ts";
import { Output } from "./output.ts";
import { PrivateListener } from "./private-listener.ts";
import { endGroup, signalGroup, socketsOf } from "./process-group.ts";
import type { Program } from "./shim.ts";
import { type Child, Launcher } from "./spawn.ts";
import { watchdog } from "./watchdog.ts";

/** Enough to see that somebody else listens where the process should. */
const OCCUPIED_DIAL_MS = 500;
const LAST_LINES = 10;

export interface ProcessOptions extends Program {
  readonly name: string;
  /** Where the process listens. Without a port, which needs a `listenerName`: wherever it is told to. */
  readonly listen: { readonly host: string; readonly port?: number };
  /** From SIGTERM to SIGKILL, in milliseconds. */
  readonly graceMs: number;
  /** Told each line that the process prints. */
  readonly onLine: (line: string) => void;
}

/** From a start to the end of the target. With a private listener it can contain several processes in turn. */
interface Life {
  readonly id: string;
  /** PID of the current process. */
  pid: number;
  /** Ends its group if wakeport is killed. */
  watch: Disposable;
  /** Passed to each process. */
  readonly listener?: PrivateListener | undefined;
  readonly output: Output;
  /** Number of processes that may still write to the output. */
  printing: number;
  isStopping: boolean;
  exit?: Exit;
  /** Clients in the backlog when the current process was started as a successor. */
  awaited: ReadonlySet<string>;
  /** Pending while a successor is being started. */
  succession?: Promise<void>;
}

export class ProcessTarget implements Target {
  readonly name: string;
  readonly graceMs: number;
  readonly #options: ProcessOptions;
  readonly #launcher: Launcher;
  readonly #watchers = new Set<() => void>();
  #othersGone: () => Promise<unknown> = () => Promise.resolve();
  #life: Life | undefined;
  /** Of the present life, or of the last one. */
  #output: Output | undefined;

  constructor(options: ProcessOptions) {
    this.#options = options;
    this.#launcher = new Launcher(options);
    this.name = options.name;
    this.graceMs = options.graceMs;
  }

  async inspect(): Promise<TargetStatus> {
    const incarnation = this.#life;
    if (incarnation === undefined) return { up: false };
    if (incarnation.exit !== undefined) return { up: false, exit: incarnation.exit };
    const { listener, id } = incarnation;
    const handed = listener !== undefined && { port: listener.port, isUntried: true };
    return { up: true, address: this.#options.listen.host, ...handed, incarnation: id };
  }

  /** The port that it says it listens on; undefined where it is told. */
  get port(): number | undefined {
    return this.#options.listen.port;
  }

  /** For one that takes the place of others: no start before the answer of `othersGone`, which never rejects. */
  succeed(othersGone: () => Promise<unknown>): void {
    this.#othersGone = othersGone;
  }

  async start(signal: AbortSignal): Promise<"started" | "already"> {
    if (this.#life !== undefined && this.#life.exit === undefined) return "already";
    await abortable(this.#othersGone(), signal);
    if (this.#options.listenerName === undefined) await this.#refuseOccupied(signal);
    this.#output = undefined;
    await this.#begin();
    return "started";
  }

  async keptAwakeBy(
    trafficBytes: number | undefined,
    _signal?: AbortSignal,
    { isHeld = false }: UseMoment = {},
  ): Promise<readonly string[]> {
    const incarnation = this.#life;
    if (isHeld || trafficBytes === undefined || incarnation === undefined || incarnation.exit !== undefined) return [];
    const rows = await Promise.all([readSocketRows("tcp"), readSocketRows("tcp6")]);
    const port = incarnation.listener?.port ?? this.port;
    return [...directConnections(rows.flat(), socketsOf(incarnation.pid), port)].map(([at, count]) => {
      return `${count} direct ${count === 1 ? "connection" : "connections"} to port ${at}`;
    });
  }

  async sleep(action: SleepAction, signal: AbortSignal): Promise<void> {
    if (action === "pause") throw new TargetError("invalid", `${this.name}: a process cannot be paused`);
    const graceMs = action === "kill" ? 0 : this.graceMs;
    const incarnation = this.#life;
    if (incarnation === undefined || (incarnation.exit !== undefined && !incarnation.isStopping)) return;
    incarnation.isStopping = true;
    await incarnation.succession;
    const isGone = await endGroup(incarnation.pid, { graceMs, isReaped: () => incarnation.exit !== undefined, signal });
    if (!isGone && incarnation.exit === undefined) {
      throw new TargetError("failed", `${this.name} (pid ${incarnation.pid}) survived SIGKILL`);
    }
    incarnation.watch[Symbol.dispose]();
    if (this.#life === incarnation) this.#life = undefined;
  }

  async lastLines(signal: AbortSignal, most: number = LAST_LINES): Promise<readonly string[]> {
    // The exit is known before the last output is read. Whoever took our pipe elsewhere may hold it open: not for ever.
    const output = this.#output;
    if (output === undefined) return [];
    if (!(await this.inspect()).up) await abortable(output.ended, signal).catch(() => {});
    return output.last(most).map(shortened);
  }

  async follow(incarnation: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    if (this.#life?.id !== incarnation) return;
    await this.#output?.follow(onLine, signal);
  }

  watch(onChange: () => void): Disposable {
    this.#watchers.add(onChange);
    return { [Symbol.dispose]: () => this.#watchers.delete(onChange) };
  }

  /** Ends the whole group at once, without waiting: for a program that is itself about to end. */
  kill(): void {
    const incarnation = this.#life;
    // Of a life that is over the number may be somebody else's by now.
    if (incarnation !== undefined && (incarnation.exit === undefined || incarnation.isStopping))
      signalGroup(incarnation.pid, "SIGKILL");
  }

  async #begin(): Promise<void> {
    const { listen, listenerName } = this.#options;
    using opened = new DisposableStack();
    const listener = listenerName === undefined ? undefined : opened.use(await PrivateListener.open(listen));
    const { child, pid, watch } = await this.#spawn(listener);
    opened.move();
    const incarnation: Life = {
      id: String(pid),
      pid,
      watch,
      listener,
      output: new Output(),
      printing: 0,
      isStopping: false,
      awaited: new Set(),
    };
    this.#life = incarnation;
    this.#output = incarnation.output;
    this.#follow(incarnation, child);
  }

  async #spawn(listener: PrivateListener | undefined): Promise<Child & Pick<Life, "watch">> {
    await watchdog.open();
    const { child, pid } = await this.#launcher.launch([listener?.fd ?? "ignore", "pipe", "pipe"]);
    return { child, pid, watch: watchdog.watch(pid, this.graceMs) };
  }

  #follow(incarnation: Life, child: Child["child"]): void {
    incarnation.printing += 1;
    child.once("close", () => {
      incarnation.printing -= 1;
      if (incarnation.printing === 0 && incarnation.exit !== undefined) incarnation.output.end();
    });
    for (const stream of [child.stdout, child.stderr]) this.#read(stream, incarnation.output);
    child.once("exit", (code, killedBy) => this.#exited(incarnation, code, killedBy));
  }

  #read(stream: NodeJS.ReadableStream | null, output: Output): void {
    const limit = new LineLimit(this.#options.onLine);
    if (stream === null) return;
    const onLine = (line: string): void => {
      output.push(stream, line);
      limit.push(shortened(line));
    };
    const onUnfinished = (line: string): void => output.pause(stream, line);
    const reader = new LineReader(onLine, { limit: MAX_MATCHED, onUnfinished });
    stream.on("data", (chunk: Buffer) => reader.push(chunk));
    stream.on("end", () => {
      reader.end();
      limit.end();
    });
    stream.on("error", () => {});
  }

  #exited(incarnation: Life, code: number | null, killedBy: string | null): void {
    const exit = { ...(code !== null && { code }), ...(killedBy !== null && { signal: killedBy }) };
    // What a crashed process leaves behind would hold its port. In a stop, the rest of the group has its grace.
    if (!incarnation.isStopping) signalGroup(incarnation.pid, "SIGKILL");
    const waiting = incarnation.listener?.waiting ?? new Set();
    if (code === 0 && !incarnation.isStopping && isWorthSuccessor(incarnation, waiting)) {
      incarnation.awaited = waiting;
      incarnation.succession = this.#succeed(incarnation).catch(() => this.#over(incarnation, exit));
    } else this.#over(incarnation, exit);
  }

  /** Starts another process with the same listener, for the clients in its backlog. */
  async #succeed(incarnation: Life): Promise<void> {
    incarnation.watch[Symbol.dispose]();
    const { child, pid, watch } = await this.#spawn(incarnation.listener);
    incarnation.pid = pid;
    incarnation.watch = watch;
    this.#follow(incarnation, child);
  }

  #over(incarnation: Life, exit: Exit): void {
    // In the same turn in which the backlog was empty: later clients are refused and try the next life.
    incarnation.listener?.[Symbol.dispose]();
    if (!incarnation.isStopping) incarnation.watch[Symbol.dispose]();
    incarnation.exit = exit;
    for (const onChange of this.#watchers) onChange();
  }

  /** A stranger on the port would be taken for the process, and would get its clients. */
  async #refuseOccupied(signal: AbortSignal): Promise<void> {
    const { host, port } = this.#options.listen;
    if (port === undefined) return;
    const socket = await dial({ host, port, timeoutMs: OCCUPIED_DIAL_MS, signal }).catch(() => undefined);
    signal.throwIfAborted();
    if (socket === undefined) return;
    closeGracefully(socket);
    throw new TargetError("conflict", `something else already listens on ${host}:${port}`, {
      remedy: `find it with "ss -ltnp", end it, or give ${this.name} another port in "listen"`,
    });
  }
}

/**
 * Whether a successor is started: clients are in the backlog, and the process that ended was not itself a successor that
 * accepted none of them.
 */
function isWorthSuccessor({ awaited }: Life, waiting: ReadonlySet<string>): boolean {
  return waiting.size > 0 && (awaited.size === 0 || !awaited.isSubsetOf(waiting));
}
