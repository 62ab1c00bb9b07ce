/** Starts programs with posix_spawn(3), which does not copy this process. It cannot set a user or a group. */
import { closeSync, existsSync } from "node:fs";
import net from "node:net";
import { constants } from "node:os";
import type { Readable, Writable } from "node:stream";
import { type Descriptors, descriptors } from "../ffi/descriptors.ts";
import { type Libc, systemError } from "../ffi/libc.ts";
import { type PosixSpawn, posixSpawn } from "../ffi/posix-spawn.ts";
import { socketFd } from "../net/socket-fd.ts";
import { inheritableDescriptors } from "./inherited-descriptors.ts";
import { Reaper } from "./reaper.ts";
import type { Child, Spawner, SpawnRequest, Stream } from "./spawner.ts";

/** PATH of execvp(3) for an environment without PATH. */
const DEFAULT_PATH = "/bin:/usr/bin";
/** Runs scripts without a `#!` line, as execvp(3) does. */
const SHELL = "/bin/sh";
const { EACCES, ENOENT, ENOEXEC, ENOTDIR } = constants.errno;

/** One of the streams of a new child. */
interface Opened {
  /** The child's end; undefined is /dev/null. */
  readonly fd: number | undefined;
  /** This process's end of a pipe. */
  readonly own?: number;
}

export class PosixSpawner implements Spawner {
  readonly #spawn: PosixSpawn;
  readonly #descriptors: Descriptors;
  readonly #reaper: Reaper;
  readonly #inherited = inheritableDescriptors();

  /** @throws FfiError if the C library lacks a function */
  constructor(libc: Libc) {
    this.#spawn = posixSpawn(libc);
    this.#descriptors = descriptors(libc);
    this.#reaper = new Reaper(libc);
  }

  async spawn(request: SpawnRequest): Promise<Child> {
    const opened: Opened[] = [];
    /** Copied descriptors that did not block. */
    const changed: number[] = [];
    try {
      for (const [index, stream] of request.stdio.entries()) opened.push(this.#open(stream, index === 0, changed));
      const pid = this.#start(request, opened);
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
      for (const fd of changed) this.#descriptors.makeNonBlocking(fd);
      for (const { own } of opened) if (own !== undefined) closeSync(own);
      throw error;
    } finally {
      for (const { fd, own } of opened) if (fd !== undefined && own !== undefined) closeSync(fd);
    }
  }

  #open(stream: Stream, isInput: boolean, changed: number[]): Opened {
    if (stream === "ignore") return { fd: undefined };
    if (stream === "pipe") {
      const { readEnd, writeEnd } = this.#descriptors.pipe();
      return isInput ? { fd: readEnd, own: writeEnd } : { fd: writeEnd, own: readEnd };
    }
    const fd = typeof stream === "number" ? stream : socketFd(stream);
    if (this.#descriptors.makeBlocking(fd)) changed.push(fd);
    return { fd };
  }

  /** Returns the PID. @throws the system's error */
  #start({ file, args, argv0, cwd, env: variables }: SpawnRequest, streams: readonly Opened[]): number {
    const env = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
    rejectNul([file, argv0 ?? "", ...args, ...env, cwd ?? ""]);
    const call = { env, cwd, descriptors: streams.map(({ fd }) => fd), closed: this.#inherited };
    let failure = ENOENT;
    for (const path of pathsOf(file, variables["PATH"])) {
      let result = this.#spawn({ ...call, file: path, argv: [argv0 ?? file, ...args] });
      if (result === -ENOEXEC) result = this.#spawn({ ...call, file: SHELL, argv: [SHELL, path, ...args] });
      if (result > 0) return result;
      if (![ENOENT, ENOTDIR, EACCES].includes(-result)) throw systemError(`spawn ${file}`, -result);
      if (result === -EACCES) failure = EACCES;
    }
    throw systemError(`spawn ${file}`, failure);
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
