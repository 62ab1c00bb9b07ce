/** The load generators of load/*.c: compiled when they are needed, because an interpreter would be the limit. */
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { temporaryFolder } from "./folder.ts";

const RUN_MS = 60_000;
const run = promisify(execFile);

export interface Flood {
  readonly bytes: number;
  readonly seconds: number;
  /** Of the sender itself. */
  readonly cpuSeconds: number;
}

export interface Connects {
  readonly connections: number;
  readonly seconds: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
  /** Unix milliseconds of the last echo. */
  readonly endedMs: number;
  /** Of the client program itself. */
  readonly cpuSeconds: number;
}

/** Connections that stay open until `close`. */
export interface Held {
  close(): Promise<void>;
}

/** The paths of compiled generators. */
const programs = new Map<string, string>();
/** Lives as long as this process. */
const owner = new AsyncDisposableStack();
let folder: string | undefined;

/** Returns undefined if the machine has a C compiler, else the package that has it. */
export function missingCompiler(): string | undefined {
  try {
    execFileSync("cc", ["--version"], { stdio: "ignore" });
    return undefined;
  } catch {
    return "a C compiler (Debian packages gcc and libc6-dev)";
  }
}

/** Returns the path of a generator, compiled at its first use and removed when this process ends. */
function built(name: string): string {
  folder ??= temporaryFolder(owner);
  const program = programs.get(name) ?? join(folder, name);
  if (!programs.has(name)) {
    execFileSync("cc", ["-O2", "-o", program, join(import.meta.dirname, "load", `${name}.c`)]);
    programs.set(name, program);
  }
  return program;
}

async function printed<T extends { readonly failed: number }>(name: string, ...args: (number | string)[]): Promise<T> {
  const { stdout } = await run(built(name), args.map(String), { timeout: RUN_MS });
  return checked(name, JSON.parse(stdout) as T);
}

function checked<T extends { readonly failed: number }>(name: string, outcome: T): T {
  if (outcome.failed > 0)
    throw new Error(`${outcome.failed} connections failed in ${name}: ${JSON.stringify(outcome)}`);
  return outcome;
}

/** Sends through `port` for some seconds. @param host default: 127.0.0.1 @throws if a stream does not end in good order */
export function flood(port: number, streams: number, seconds: number, host?: string): Promise<Flood> {
  return printed<Flood & { failed: number }>("flood", port, streams, seconds, ...(host === undefined ? [] : [host]));
}

/**
 * Connects, exchanges 64 bytes and closes, with some clients at a time. After 0 s, each client has connected once.
 *
 * @throws if a connection fails
 */
export function connects(port: number, clients: number, seconds: number, host?: string): Promise<Connects> {
  const optional = host === undefined ? [] : [host];
  return printed<Connects & { failed: number }>("connect", port, clients, seconds, ...optional);
}

/** Opens connections through `port`, with one byte echoed on each. @throws if a connection fails */
export async function hold(port: number, connections: number): Promise<Held> {
  const child = spawn(built("hold"), [String(port), String(connections)], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const close = async (): Promise<void> => {
    child.stdin.end();
    await exited;
  };
  const timer = setTimeout(() => child.kill("SIGKILL"), RUN_MS);
  const [line] = (await Promise.race([once(createInterface(child.stdout), "line"), exited])) as [
    string | number | null,
  ];
  clearTimeout(timer);
  if (typeof line !== "string") throw new Error(`the connections did not open within ${RUN_MS / 1000} s`);
  try {
    checked("hold", JSON.parse(line) as { failed: number });
  } catch (error) {
    await close();
    throw error;
  }
  return { close };
}

/** Echoes all that it receives. @param host an address to listen on; default: 127.0.0.1 */
export function echoServer(port: number, host?: string): readonly string[] {
  return [built("echo"), String(port), ...(host === undefined ? [] : [host])];
}

/** Discards all that it receives. @param host an address to listen on; default: 127.0.0.1 */
export function sinkServer(port: number, host?: string): readonly string[] {
  return [built("sink"), String(port), ...(host === undefined ? [] : [host])];
}
