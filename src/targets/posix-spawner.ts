/** Starts programs with posix_spawn(3), which does not copy this process. It cannot set a user or a group. */
import { closeSync, existsSync } from "node:fs";
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
import type { Child, Spawner, SpawnRequest, Stream } from "./spawner.ts";

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
  /** The child's end, which is closed after the start; undefined is /dev/null. */
  readonly fd: number | undefined;
  /** This process's end of a pipe. */
  readonly own?: number;
}

export class PosixSpawner implements Spawner {
  readonly #posix: PosixSpawn;
  readonly #descriptors: Descriptors;
  readonly #reaper: Reaper;
  readonly #inherited = inheritableDescriptors();
  readonly #starts = new Semaphore(MAX_STARTS);

  /** @throws FfiError if the C library lacks a function */
  constructor(libc: Libc) {
    this.#posix = posixSpawn(libc);
    this.#descriptors = descriptors(libc);
    this.#reaper = new Reaper(libc);
  }

  async spawn(request: SpawnRequest): Promise<Child> {
    const opened: Opened[] = [];
    try {
      for (const [index, stream] of request.stdio.entries()) opened.push(this.#open(stream, index === 0));
      const pid = await this.#start(request, opened);
      const exited = this.#reaper.exitOf(pid);
      const [stdin, stdout, stderr] = opened.map(({ own }) => own);
      return {
        pid,
        stdin: stdin === undefined ? null : writable(stdin),
        stdout: stdout === undefined ? null : readable(stdout),
        stderr: stderr === undefined ? null : readable(stderr),
        exited,
        unref: () => this.#reaper.unref(pid),
      };
    } catch (error) {
      for (const { own } of opened) if (own !== undefined) closeSync(own);
      throw error;
    } finally {
      for (const { fd } of opened) if (fd !== undefined) closeSync(fd);
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

  #open(stream: Stream, isInput: boolean): Opened {
    if (stream === "ignore") return { fd: undefined };
    if (stream === "pipe") {
      const { readEnd, writeEnd } = this.#descriptors.pipe();
      return isInput ? { fd: readEnd, own: writeEnd } : { fd: writeEnd, own: readEnd };
    }
    return { fd: this.#descriptors.duplicate(typeof stream === "number" ? stream : socketFd(stream)) };
  }

  /** Returns the PID. @throws the system's error; then each descriptor blocks or not as before */
  async #start({ file, args, argv0, cwd, env: variables }: SpawnRequest, streams: readonly Opened[]): Promise<number> {
    const env = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
    rejectNul([file, argv0 ?? "", ...args, ...env, cwd ?? ""]);
    const fds = streams.map(({ fd }) => fd);
    // This process may have closed one of them, and then a stream may have its number.
    const closed = this.#inherited.filter((fd) => !fds.includes(fd));
    const call = { argv: [argv0 ?? file, ...args], env, cwd, descriptors: fds, closed };
    using _start = this.#starts.tryAcquire() ?? (await this.#starts.acquire(never));
    const changed = fds.filter((fd) => fd !== undefined).filter((fd) => this.#descriptors.makeBlocking(fd));
    const result = await this.#spawnFirst(pathsOf(file, variables["PATH"]), call);
    if (result > 0) return result;
    for (const fd of changed) this.#descriptors.makeNonBlocking(fd);
    throw systemError(`spawn ${file}`, -result);
  }

  /** Starts the first of the files that can be executed, as execvp(3) does. Returns its PID, or a negative error number. */
  async #spawnFirst(paths: readonly string[], call: Omit<SpawnCall, "file">): Promise<number> {
    let failure = ENOENT;
    for (const file of paths) {
      let result = await this.#posix.spawn({ ...call, file });
      if (result === -ENOEXEC) {
        result = await this.#posix.spawn({ ...call, file: SHELL, argv: [SHELL, file, ...call.argv.slice(1)] });
      }
      if (![ENOENT, ENOTDIR, EACCES].includes(-result)) return result;
      if (result === -EACCES) failure = EACCES;
    }
    return -failure;
  }
}

/** Returns the paths that execvp(3) tries. Files that do not exist are left out, because each attempt is a process. */
function pathsOf(file: string, searched: string = DEFAULT_PATH): readonly string[] {
  if (file.includes("/")) return [file];
  const paths = searched.split(":").map((folder) => `${folder === "" ? "." : folder}/${file}`);
  return paths.filter((path) => !path.startsWith("/") || existsSync(path));
}

/** A NUL would end a string of C early. */
function rejectNul(strings: readonly string[]): void {
  if (strings.some((one) => one.includes("\0"))) throw new Error("a command, a variable or cwd contains a NUL byte");
}

function readable(fd: number): Readable {
  return new net.Socket({ fd, readable: true, writable: false });
}

function writable(fd: number): Writable {
  return new net.Socket({ fd, readable: false, writable: true });
}
