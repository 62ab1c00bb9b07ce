/** The real program, bin/wakeport, as a child process. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Readable } from "node:stream";
import { eventually } from "../eventually.ts";

const PROGRAM = path.join(import.meta.dirname, "../../../bin/wakeport");
const MAX_DELAY_MS = 20_000;

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface LogLine {
  readonly event: string;
  readonly [fact: string]: unknown;
}

/** A running `wakeport`; disposing ends it. */
export class Program implements AsyncDisposable {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #exited: Promise<unknown>;
  stdout = "";
  stderr = "";

  /**
   * @param openFiles RLIMIT_NOFILE; default: this process's
   * @param namespace its network namespace; default: this process's
   * @param withoutCapability a capability that it lacks although it is root, as setpriv(1) names it: `net_admin`
   */
  constructor(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    openFiles?: number,
    namespace?: string,
    withoutCapability?: string,
  ) {
    const stdio: ["ignore", "pipe", "pipe"] = ["ignore", "pipe", "pipe"];
    const { PATH = "", NODE_COMPILE_CACHE: cache } = process.env;
    const inherited = { PATH, HOME: tmpdir(), ...(cache !== undefined && { NODE_COMPILE_CACHE: cache }) };
    const within = namespace === undefined ? [] : ["ip", "netns", "exec", namespace];
    const limited = openFiles === undefined ? [] : ["sh", "-c", `ulimit -n ${openFiles}; exec "$0" "$@"`];
    const lowered = withoutCapability === undefined ? [] : ["setpriv", "--bounding-set", `-${withoutCapability}`];
    const [file = PROGRAM, ...all] = [...within, ...lowered, ...limited, PROGRAM, ...args];
    this.child = spawn(file, all, { stdio, env: { ...inherited, ...env }, cwd: tmpdir() });
    this.#exited = once(this.child, "close");
    this.child.stdout.on("data", (chunk: Buffer) => {
      this.stdout += chunk.toString();
    });
    this.child.stderr.on("data", (chunk: Buffer) => {
      this.stderr += chunk.toString();
    });
  }

  /** The JSON log, one object per line. */
  get log(): LogLine[] {
    const whole = this.stdout.slice(0, this.stdout.lastIndexOf("\n") + 1);
    return whole
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  }

  /** Waits until `event` was logged `count` times. */
  async logged(event: string, count = 1): Promise<LogLine> {
    await eventually(`"${event}" in the log`, () => this.log.filter((line) => line.event === event).length >= count);
    return this.log.filter((line) => line.event === event)[count - 1] as LogLine;
  }

  async finished(): Promise<Finished> {
    const timer = setTimeout(() => this.child.kill("SIGKILL"), MAX_DELAY_MS);
    await this.#exited;
    clearTimeout(timer);
    const { exitCode: code, signalCode: signal } = this.child;
    return { code, signal, stdout: this.stdout, stderr: this.stderr };
  }

  /** SIGTERM first, because child processes would outlive SIGKILL. The second signal ends a drain. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (let signals = 0; signals < 2 && this.child.exitCode === null && this.child.signalCode === null; signals += 1) {
      this.child.kill("SIGTERM");
      await Promise.race([this.#exited, new Promise((resolve) => setTimeout(resolve, 1_000).unref())]);
    }
    this.child.kill("SIGKILL");
    await this.#exited;
  }
}

/** Runs a command until it exits. */
export async function wakeport(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> {
  await using program = new Program(args, env);
  return await program.finished();
}
