/**
 * A local process as a target. It runs in a process group of its own, without a shell, with an environment of its own;
 * stopping it means the whole group, so that nothing it started outlives it.
 */
import { abortable } from "../activation/abortable.ts";
import type { Exit } from "../activation/errors.ts";
import { TargetError } from "../errors.ts";
import { dial } from "../net/dial.ts";
import { LineLimit, LineReader } from "./lines.ts";
import { Output } from "./output.ts";
import { PrivateListener } from "./private-listener.ts";
import { endGroup, signalGroup } from "./process-group.ts";
import type { Program } from "./shim.ts";
import { Launcher } from "./spawn.ts";
import type { Sight, SleepAction, Target } from "./target.ts";

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

interface Life {
  readonly pid: number;
  /** Of the listener that it was given. */
  readonly port?: number;
  isStopping: boolean;
  exit?: Exit;
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

  async look(): Promise<Sight> {
    const life = this.#life;
    if (life === undefined) return { up: false };
    if (life.exit !== undefined) return { up: false, exit: life.exit };
    const { port } = life;
    const listener = port !== undefined && { port, isUntried: true };
    return { up: true, address: this.#options.listen.host, ...listener, life: lifeOf(life) };
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
    this.#life = await this.#spawn();
    return "started";
  }

  async sleep(action: SleepAction, signal: AbortSignal): Promise<void> {
    if (action === "pause") throw new TargetError("invalid", `${this.name}: a process cannot be paused`);
    const graceMs = action === "kill" ? 0 : this.graceMs;
    const life = this.#life;
    if (life === undefined || (life.exit !== undefined && !life.isStopping)) return;
    life.isStopping = true;
    const isGone = await endGroup(life.pid, { graceMs, isReaped: () => life.exit !== undefined, signal });
    if (!isGone && life.exit === undefined) {
      throw new TargetError("failed", `${this.name} (pid ${life.pid}) survived SIGKILL`);
    }
    if (this.#life === life) this.#life = undefined;
  }

  async lastLines(signal: AbortSignal, most: number = LAST_LINES): Promise<readonly string[]> {
    // The exit is known before the last output is read. Whoever took our pipe elsewhere may hold it open: not for ever.
    const output = this.#output;
    if (output === undefined) return [];
    if (!(await this.look()).up) await abortable(output.ended, signal).catch(() => {});
    return output.last(most);
  }

  async follow(life: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    if (this.#life === undefined || lifeOf(this.#life) !== life) return;
    await this.#output?.follow(onLine, signal);
  }

  watch(onChange: () => void): Disposable {
    this.#watchers.add(onChange);
    return { [Symbol.dispose]: () => this.#watchers.delete(onChange) };
  }

  /** Ends the whole group at once, without waiting: for a program that is itself about to end. */
  kill(): void {
    const life = this.#life;
    // Of a life that is over the number may be somebody else's by now.
    if (life !== undefined && (life.exit === undefined || life.isStopping)) signalGroup(life.pid, "SIGKILL");
  }

  async #spawn(): Promise<Life> {
    const { listen, listenerName } = this.#options;
    using listener = listenerName === undefined ? undefined : await PrivateListener.open(listen);
    const launching = this.#launcher.launch([listener?.fd ?? "ignore", "pipe", "pipe"]);
    const port = listener?.port;
    // Now, and not after the answer: from here on the listener is the program's alone.
    listener?.[Symbol.dispose]();
    const { child, pid } = await launching;
    const life: Life = { pid, ...(port !== undefined && { port }), isStopping: false };
    const output = new Output();
    this.#output = output;
    child.once("close", () => output.end());
    for (const stream of [child.stdout, child.stderr]) this.#read(stream, output);
    child.once("exit", (code, killedBy) => this.#exited(life, code, killedBy));
    return life;
  }

  #read(stream: NodeJS.ReadableStream | null, output: Output): void {
    const limit = new LineLimit(this.#options.onLine);
    const reader = new LineReader((line) => {
      output.push(line);
      limit.push(line);
    });
    stream?.on("data", (chunk: Buffer) => reader.push(chunk));
    stream?.on("end", () => {
      reader.end();
      limit.end();
    });
    stream?.on("error", () => {});
  }

  #exited(life: Life, code: number | null, killedBy: string | null): void {
    life.exit = { ...(code !== null && { code }), ...(killedBy !== null && { signal: killedBy }) };
    // What a crashed process leaves behind would hold its port. In a stop, the rest of the group has its grace.
    if (!life.isStopping) signalGroup(life.pid, "SIGKILL");
    for (const onChange of this.#watchers) onChange();
  }

  /** A stranger on the port would be taken for the process, and would get its clients. */
  async #refuseOccupied(signal: AbortSignal): Promise<void> {
    const { host, port } = this.#options.listen;
    if (port === undefined) return;
    const socket = await dial({ host, port, timeoutMs: OCCUPIED_DIAL_MS, signal }).catch(() => undefined);
    signal.throwIfAborted();
    if (socket === undefined) return;
    socket.on("error", () => {});
    socket.destroy();
    throw new TargetError("conflict", `something else already listens on ${host}:${port}`, {
      remedy: `find it with "ss -ltnp", end it, or give ${this.name} another port in "listen"`,
    });
  }
}

function lifeOf({ pid }: Life): string {
  return String(pid);
}
