import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "../support/free-port.ts";
import { type Checkout, launcherOf, own } from "./checkouts.ts";

const START_MS = 15_000;

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

/** The real program with its configuration and its log. */
export class Wakeport implements AsyncDisposable {
  readonly pid: number;
  readonly log: readonly LogRecord[];
  readonly adminPort: number;
  readonly #end: (signal: NodeJS.Signals) => Promise<void>;

  private constructor(parts: {
    pid: number;
    log: readonly LogRecord[];
    adminPort: number;
    end: (signal: NodeJS.Signals) => Promise<void>;
  }) {
    this.pid = parts.pid;
    this.log = parts.log;
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
    const child = spawn(launcherOf(checkout), ["run", "-c", file], { stdio: ["ignore", "pipe", "inherit"], env });
    const log: LogRecord[] = [];
    const started = Promise.withResolvers<void>();
    createInterface({ input: child.stdout }).on("line", (line) => {
      const record = JSON.parse(line) as LogRecord;
      log.push(record);
      if (record.event === "started") started.resolve();
    });
    const exited = once(child, "exit");
    const stop = (): boolean => child.kill();
    process.once("exit", stop);
    const timer = setTimeout(() => started.reject(new Error("wakeport did not start")), START_MS);
    await Promise.race([started.promise, exited.then(() => Promise.reject(new Error("wakeport ended too early")))]);
    clearTimeout(timer);
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
    return this.log.filter((record) => record.event === event);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end("SIGTERM");
  }
}
