import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../support/free-port.ts";
import { type Checkout, launcherOf, own } from "./checkouts.ts";

const START_MS = 15_000;
const POLL_MS = 5;

/** One line of wakeport's log. */
export interface LogRecord {
  readonly event: string;
  readonly [fact: string]: unknown;
}

export interface StartOptions {
  /** Other sections than `services`: YAML. */
  readonly sections?: string;
  readonly checkout?: Checkout;
}

/** A log file. It is read only on request, so that the reader takes no CPU time while something is measured. */
class LogFile {
  readonly #file: string;
  #lines = 0;
  readonly #records: LogRecord[] = [];

  constructor(file: string) {
    this.#file = file;
  }

  /** The complete lines up to now. */
  get records(): readonly LogRecord[] {
    const lines = readFileSync(this.#file, "utf8").split("\n").slice(0, -1);
    for (const line of lines.slice(this.#lines)) this.#records.push(JSON.parse(line) as LogRecord);
    this.#lines = lines.length;
    return this.#records;
  }
}

/** The real program with its configuration and its log. */
export class Wakeport implements AsyncDisposable {
  readonly pid: number;
  readonly adminPort: number;
  readonly #log: LogFile;
  readonly #end: (signal: NodeJS.Signals) => Promise<void>;

  private constructor(parts: {
    pid: number;
    log: LogFile;
    adminPort: number;
    end: (signal: NodeJS.Signals) => Promise<void>;
  }) {
    this.pid = parts.pid;
    this.#log = parts.log;
    this.adminPort = parts.adminPort;
    this.#end = parts.end;
  }

  /** Starts it with these services (YAML below `services:`), and waits until it has started. */
  static async start(services: string, { sections = "", checkout = own }: StartOptions = {}): Promise<Wakeport> {
    const adminPort = await freePort();
    const folder = await mkdtemp(join(tmpdir(), "wakeport-bench-"));
    const file = join(folder, "wakeport.yaml");
    await writeFile(
      file,
      `admin: { listen: "127.0.0.1:${adminPort}" }\n${sections}services:${services === "" ? " {}" : `\n${services}`}\n`,
    );
    const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}` };
    const logFile = join(folder, "log");
    const output = openSync(logFile, "w");
    // The kernel shares the CPU among sessions: each program that is compared has its own.
    const child = spawn(launcherOf(checkout), ["run", "-c", file], {
      detached: true,
      stdio: ["ignore", output, "inherit"],
      env,
    });
    closeSync(output);
    const log = new LogFile(logFile);
    const exited = once(child, "exit");
    const stop = (): boolean => child.kill();
    process.once("exit", stop);
    const limit = performance.now() + START_MS;
    while (!log.records.some(({ event }) => event === "started")) {
      if (child.exitCode !== null) throw new Error("wakeport ended too early");
      if (performance.now() > limit) throw new Error("wakeport did not start");
      await delay(POLL_MS);
    }
    const end = async (signal: NodeJS.Signals): Promise<void> => {
      child.kill(signal);
      await exited;
      process.off("exit", stop);
      await rm(folder, { recursive: true });
    };
    return new Wakeport({ pid: child.pid ?? 0, log, adminPort, end });
  }

  /** The log's records of one event. */
  records(event: string): readonly LogRecord[] {
    return this.#log.records.filter((record) => record.event === event);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end("SIGTERM");
  }
}
