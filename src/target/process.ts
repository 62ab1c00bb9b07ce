/**
 * A local process as a target. It runs in a process group of its own, without a shell, with an environment of its own;
 * stopping it means the whole group, so that nothing it started outlives it.
 */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { kill } from "node:process";
import { abortable } from "../activation/abortable.ts";
import type { Exit } from "../activation/errors.ts";
import { delay } from "../async.ts";
import { codeOf, messageOf, TargetError } from "../errors.ts";
import { dial } from "../net/dial.ts";
import { LineLimit, LineReader } from "./lines.ts";
import { Output } from "./output.ts";
import type { Sight, SleepAction, Target } from "./target.ts";

/** Between two looks whether a process group is gone. */
const GROUP_POLL_MS = 20;
/** After SIGKILL nothing but the kernel itself can keep a group alive. */
const KILL_MS = 2_000;
/** Enough to see that somebody else listens where the process should. */
const OCCUPIED_DIAL_MS = 500;
const LAST_LINES = 10;

export interface ProcessOptions {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /** Where the process listens. */
  readonly listen: { readonly host: string; readonly port: number };
  readonly cwd?: string;
  /** The whole environment of the process. */
  readonly env: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
  /** From SIGTERM to SIGKILL, in milliseconds. */
  readonly graceMs: number;
  /** Told each line that the process prints. */
  readonly onLine: (line: string) => void;
}

interface Life {
  readonly pid: number;
  isStopping: boolean;
  exit?: Exit;
}

export class ProcessTarget implements Target {
  readonly name: string;
  readonly graceMs: number;
  readonly #options: ProcessOptions;
  readonly #watchers = new Set<() => void>();
  #life: Life | undefined;
  /** Of the present life, or of the last one. */
  #output: Output | undefined;

  constructor(options: ProcessOptions) {
    this.#options = options;
    this.name = options.name;
    this.graceMs = options.graceMs;
  }

  async look(): Promise<Sight> {
    const life = this.#life;
    if (life === undefined) return { up: false };
    if (life.exit !== undefined) return { up: false, exit: life.exit };
    return { up: true, address: this.#options.listen.host, life: lifeOf(life) };
  }

  async start(signal: AbortSignal): Promise<"started" | "already"> {
    if (this.#life !== undefined && this.#life.exit === undefined) return "already";
    await this.#refuseOccupied(signal);
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
    if (action === "stop") signalGroup(life.pid, "SIGTERM");
    if (!(await this.#groupGone(life, graceMs, signal))) {
      signalGroup(life.pid, "SIGKILL");
      if (!(await this.#groupGone(life, KILL_MS, signal)) && life.exit === undefined) {
        throw new TargetError("failed", `${this.name} (pid ${life.pid}) survived SIGKILL`);
      }
    }
    if (this.#life === life) this.#life = undefined;
  }

  async lastLines(signal: AbortSignal): Promise<readonly string[]> {
    // The exit is known before the last output is read. Whoever took our pipe elsewhere may hold it open: not for ever.
    const output = this.#output;
    if (output === undefined) return [];
    if (!(await this.look()).up) await abortable(output.ended, signal).catch(() => {});
    return output.last(LAST_LINES);
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
    const { command, cwd, env, uid, gid } = this.#options;
    const [file, ...args] = command;
    const spawned = Promise.withResolvers<void>();
    let child: ReturnType<typeof spawn>;
    try {
      // Some errors are thrown here, others are told by an event.
      child = spawn(file, args, { cwd, env, uid, gid, detached: true, stdio: ["ignore", "pipe", "pipe"] });
      child.once("spawn", spawned.resolve);
      child.on("error", spawned.reject);
      await spawned.promise;
    } catch (error) {
      throw this.#cannotSpawn(error);
    }
    const life: Life = { pid: child.pid ?? 0, isStopping: false };
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
    const socket = await dial({ host, port, timeoutMs: OCCUPIED_DIAL_MS, signal }).catch(() => undefined);
    signal.throwIfAborted();
    if (socket === undefined) return;
    socket.on("error", () => {});
    socket.destroy();
    throw new TargetError("conflict", `something else already listens on ${host}:${port}`, {
      remedy: `find it with "ss -ltnp", end it, or give ${this.name} another port in "listen"`,
    });
  }

  /** Waits until no process of the group is left alive, at most `ms` milliseconds. */
  async #groupGone(life: Life, ms: number, signal: AbortSignal): Promise<boolean> {
    const limit = performance.now() + ms;
    while (signalGroup(life.pid, 0) && !(life.exit !== undefined && isDead(life.pid))) {
      if (performance.now() >= limit) return false;
      await delay(GROUP_POLL_MS, signal);
    }
    return true;
  }

  #cannotSpawn(error: unknown): TargetError {
    const [file] = this.#options.command;
    switch (codeOf(error)) {
      case "ENOENT":
        return new TargetError("missing", `cannot run "${file}": no such command, or no such cwd`, {
          remedy: 'give the full path in "command", and check "cwd"',
          cause: error,
        });
      case "EACCES":
        return new TargetError("denied", `cannot run "${file}": not executable for this user`, { cause: error });
      case "EPERM":
        return new TargetError("denied", `cannot run "${file}" as another user`, {
          remedy: 'run wakeport as root, or leave out "user" and "group"',
          cause: error,
        });
      default:
        return new TargetError("failed", `cannot run "${file}": ${messageOf(error)}`, { cause: error });
    }
  }
}

function lifeOf({ pid }: Life): string {
  return String(pid);
}

/** Sends `name` to a process group; 0 only asks. @returns whether there was anybody to receive it */
function signalGroup(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return kill(-pid, name);
  } catch (error) {
    // A process that changed its user is alive, and out of our reach.
    return codeOf(error) === "EPERM";
  }
}

/**
 * Whether all that is left of a process group are members that died and were not reaped. Those that outlived their
 * parent fall to PID 1, which in a container may be wakeport itself, or anything else that does not reap.
 */
function isDead(group: number): boolean {
  const states = processes()
    .filter((one) => one.group === group)
    .map(({ state }) => state);
  return states.length > 0 && states.every((state) => state === "Z" || state === "X");
}

/** All that can be seen of the processes of this system; nothing where there is no /proc. */
function processes(): { readonly state: string | undefined; readonly group: number }[] {
  try {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .flatMap(readStat);
  } catch {
    return [];
  }
}

function readStat(pid: string): { readonly state: string | undefined; readonly group: number }[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // After the name, which is in parentheses and may itself hold some: state, parent, group.
    const [state, , group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return [{ state, group: Number(group) }];
  } catch {
    return []; // It ended meanwhile.
  }
}
