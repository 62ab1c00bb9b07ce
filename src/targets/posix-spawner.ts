/** Starts programs with posix_spawn(3), which does not copy this process. It cannot set a user or a group. */
import { closeSync, existsSync, openSync } from "node:fs";
import net from "node:net";
import { constants } from "node:os";
import type { Readable, Writable } from "node:stream";
import { Semaphore } from "../async/semaphore.ts";
import { type Descriptors, descriptors } from "../ffi/descriptors.ts";
import { type Libc, systemError } from "../ffi/libc.ts";
import { type PosixSpawn, posixSpawn, type SpawnCall } from "../ffi/posix-spawn.ts";
import { socketFd } from "../net/socket-fd.ts";
import { inheritableDescriptors } from "./inherited-descriptors.ts";
import { signalGroup } from "./process-group.ts";
import { Reaper } from "./reaper.ts";
import type { Child, Executable, Spawner, SpawnRequest, Stream } from "./spawner.ts";

/** PATH of execvp(3) for an environment without PATH. */
const DEFAULT_PATH = "/bin:/usr/bin";
/** Runs scripts without a `#!` line, as execvp(3) does. */
const SHELL = "/bin/sh";
const { EACCES, ENOENT, ENOEXEC, ENOTDIR } = constants.errno;

/** Starts at a time: the threads of libuv's pool, in which also file and DNS calls of this process run. */
const MAX_STARTS = 4;
/** Limit of the wait for programs that are being started at the exit of the process, in milliseconds. */
const EXIT_MS = 2_000;
const POLL_MS = 1;
const never: AbortSignal = new AbortController().signal;

/** One of the streams of a new child. */
interface Opened {
  readonly stream: Stream;
  /** The child's end, which is closed after the start; undefined is /dev/null. */
  readonly fd: number | undefined;
  /** This process's end of a pipe. */
  readonly own?: number;
  /** Whether an earlier stream has the same `fd`. */
  readonly isCopy?: boolean;
}

/** What is derived from a program once. */
interface Prepared {
  readonly argv: readonly (string | null)[];
  /** Names of variables, and `NAME=value`. */
  readonly env: readonly (readonly [string, string])[];
}

export class PosixSpawner implements Spawner {
  readonly #posix: PosixSpawn;
  readonly #descriptors: Descriptors;
  readonly #reaper: Reaper;
  readonly #inherited = inheritableDescriptors();
  readonly #hasTerminal: boolean = hasTerminal();
  readonly #starts = new Semaphore(MAX_STARTS);
  readonly #prepared = new WeakMap<Executable, Prepared>();

  /** @throws FfiError if the C library lacks a function */
  constructor(libc: Libc) {
    this.#posix = posixSpawn(libc);
    this.#descriptors = descriptors(libc);
    this.#reaper = new Reaper(libc);
  }

  async spawn({ program, variables, stdio }: SpawnRequest): Promise<Child> {
    const opened: Opened[] = [];
    try {
      for (const stream of stdio) opened.push(this.#open(stream, opened));
      const pid = await this.#start(program, variables, opened);
      const exited = this.#reaper.exitOf(pid);
      const [stdin, stdout, stderr] = opened;
      return {
        pid,
        stdin: stdin?.own === undefined ? null : writable(stdin.own),
        stdout: stdout?.own === undefined ? null : readable(stdout.own),
        stderr: stderr?.own === undefined ? null : readable(stderr.own),
        exited,
        unref: () => this.#reaper.unref(pid),
      };
    } catch (error) {
      for (const { own } of opened) if (own !== undefined) closeSync(own);
      throw error;
    } finally {
      for (const { fd, isCopy } of opened) if (fd !== undefined && !isCopy) closeSync(fd);
    }
  }

  /**
   * Kills the programs that are being started, for the exit of the process: before its end, Node lets the threads of its
   * pool finish all starts. Blocks until each program has a PID, at most 2 s.
   */
  killStarting(): void {
    const { pending } = this.#posix;
    const isComplete = (): boolean => [...pending].every(({ pid }) => pid > 0);
    const clock = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    const limit = performance.now() + EXIT_MS;
    while (!isComplete() && performance.now() < limit) Atomics.wait(clock, 0, 0, POLL_MS);
    for (const start of pending) {
      start.cancel();
      if (start.pid > 0) signalGroup(start.pid, "SIGKILL");
    }
  }

  /** @param opened the streams before this one */
  #open(stream: Stream, opened: readonly Opened[]): Opened {
    if (stream === "ignore") return { stream, fd: undefined };
    if (stream === "pipe") {
      const { readEnd, writeEnd } = this.#descriptors.pipe();
      return opened.length === 0 ? { stream, fd: readEnd, own: writeEnd } : { stream, fd: writeEnd, own: readEnd };
    }
    const same = opened.find((one) => one.stream === stream);
    if (same !== undefined) return { stream, fd: same.fd, isCopy: true };
    return { stream, fd: this.#descriptors.duplicate(typeof stream === "number" ? stream : socketFd(stream)) };
  }

  /** Returns the PID. @throws the system's error; then each descriptor blocks or not as before */
  async #start(program: Executable, variables: SpawnRequest["variables"], streams: readonly Opened[]): Promise<number> {
    const { file, cwd, sharesSession } = program;
    const { argv, env } = this.#prepare(program);
    const fds = streams.map(({ fd }) => fd);
    const call: SpawnCall = {
      argv,
      env: environment(env, variables),
      cwd,
      descriptors: fds,
      // This process may have closed one of them, and then a stream may have its number.
      closed: this.#inherited.filter((fd) => !fds.includes(fd)),
      beginsSession: !sharesSession || this.#hasTerminal,
    };
    using _start = this.#starts.tryAcquire() ?? (await this.#starts.acquire(never));
    const changed = streams.filter(
      ({ fd, isCopy }) => fd !== undefined && !isCopy && this.#descriptors.makeBlocking(fd),
    );
    let failure = ENOENT;
    // As execvp(3) does: the first of the files that can be executed.
    for (const path of pathsOf(file, program.env["PATH"])) {
      let result = await this.#posix.spawn(path, call);
      if (result === -ENOEXEC) {
        result = await this.#posix.spawn(SHELL, { ...call, argv: [SHELL, path, ...argv.slice(1)] });
      }
      if (result > 0) return result;
      if (result !== -ENOENT && result !== -ENOTDIR) failure = -result;
      if (result !== -ENOENT && result !== -ENOTDIR && result !== -EACCES) break;
    }
    for (const { fd } of changed) if (fd !== undefined) this.#descriptors.makeNonBlocking(fd);
    throw systemError(`spawn ${file}`, failure);
  }

  #prepare(program: Executable): Prepared {
    const known = this.#prepared.get(program);
    if (known !== undefined) return known;
    const { file, argv0 = file, args, cwd = "", env: variables } = program;
    const env = Object.entries(variables).map(([name, value]) => [name, `${name}=${value}`] as const);
    for (const text of [file, argv0, ...args, cwd, ...env.map(([, text]) => text)]) rejectNul(text);
    const prepared = { argv: [argv0, ...args, null], env };
    this.#prepared.set(program, prepared);
    return prepared;
  }
}

/** Returns an environment for C. */
function environment(env: Prepared["env"], added: SpawnRequest["variables"] = {}): readonly (string | null)[] {
  const all: (string | null)[] = [];
  for (const [name, text] of env) if (!Object.hasOwn(added, name)) all.push(text);
  for (const name in added) {
    const text = `${name}=${added[name]}`;
    rejectNul(text);
    all.push(text);
  }
  all.push(null);
  return all;
}

/** Whether this process has a controlling terminal, which all processes of its session can open. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync("/dev/tty", "r"));
    return true;
  } catch {
    return false;
  }
}

/** Returns the paths that execvp(3) tries. Files that do not exist are left out, because each attempt is a process. */
function pathsOf(file: string, searched: string = DEFAULT_PATH): readonly string[] {
  if (file.includes("/")) return [file];
  const paths = searched.split(":").map((folder) => `${folder === "" ? "." : folder}/${file}`);
  return paths.filter((path) => !path.startsWith("/") || existsSync(path));
}

/** A NUL would end a string of C early. */
function rejectNul(text: string): void {
  if (text.includes("\0")) throw new Error("a command, a variable or cwd contains a NUL byte");
}

function readable(fd: number): Readable {
  return new net.Socket({ fd, readable: true, writable: false });
}

function writable(fd: number): Writable {
  return new net.Socket({ fd, readable: false, writable: true });
}
