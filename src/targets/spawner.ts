/** What the ways to start a local program have in common. */
import type net from "node:net";
import type { Readable, Writable } from "node:stream";
import type { Exit } from "../activation/errors.ts";

/**
 * What a program has as descriptor 0, 1 or 2: /dev/null, a pipe from or to this process, or a copy of a descriptor or
 * connection of this process. A copy is made blocking for all processes that share it.
 */
export type Stream = "ignore" | "pipe" | number | net.Socket;

/** stdin, stdout and stderr. */
export type Stdio = readonly [Stream, Stream, Stream];

/** What a spawner starts, any number of times. It does not change: a spawner may keep what it derives from it. */
export interface Executable {
  /** A path, or a name that is looked up in PATH of `env` as execvp(3) does. */
  readonly file: string;
  readonly args: readonly string[];
  /** Default: `file`. */
  readonly argv0?: string;
  /** Default: the working directory of this process. */
  readonly cwd?: string;
  /** The environment; `variables` of a start are added. */
  readonly env: Readonly<Record<string, string>>;
  /** Default: the account of this process. Another account has no supplementary groups. */
  readonly uid?: number;
  readonly gid?: number;
  /**
   * Whether the program may stay in the session of this process: see docs/design/processes.md. Default: no, it begins a
   * session.
   */
  readonly sharesSession?: boolean;
}

export interface SpawnRequest {
  readonly program: Executable;
  /** Environment of this start alone; replaces variables of the program. */
  readonly variables?: Readonly<Record<string, string>>;
  readonly stdio: Stdio;
}

/** A program that was started as the leader of its own process group. */
export interface Child {
  readonly pid: number;
  /** Null unless the stream is a pipe. */
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  /** Resolves when the program has ended and was reaped. Its children may still have its descriptors. */
  readonly exited: Promise<Exit>;
  /** Lets this process end while the program runs. */
  readonly unref: () => void;
}

export interface Spawner {
  /**
   * Starts a program. It takes copies of the descriptors before it returns its promise, so that the caller may close its
   * own. The program inherits no other descriptor.
   *
   * @throws the system's error, with its `code`
   */
  readonly spawn: (request: SpawnRequest) => Promise<Child>;
}
