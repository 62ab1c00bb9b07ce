/** Real processes for tests: small programs of test/fixtures, each as a ProcessTarget that is gone when disposed. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type ProcessOptions, ProcessTarget } from "../../../src/targets/process.ts";

const PATIENCE_MS = 10_000;
const POLL_MS = 5;

export const unlimited: AbortSignal = new AbortController().signal;

/** The path of a program in test/fixtures. */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url));
}

/** A process target that keeps what its program prints. */
export class ProcessSubject implements AsyncDisposable {
  readonly target: ProcessTarget;
  readonly lines: string[] = [];

  private constructor(options: Omit<ProcessOptions, "onLine">) {
    this.target = new ProcessTarget({ ...options, onLine: (line) => this.lines.push(line) });
  }

  static async of(
    command: readonly [string, ...string[]],
    options: Partial<ProcessOptions> = {},
  ): Promise<ProcessSubject> {
    const listen = { host: "127.0.0.1", port: await freePort() };
    return new ProcessSubject({ name: "process test", command, listen, env: {}, graceMs: 300, ...options });
  }

  /** The process that was started, leader of its group. */
  async pid(): Promise<number> {
    const status = await this.target.inspect();
    if (!status.up) throw new Error("it is not up");
    return Number(status.incarnation);
  }

  async untilPrinted(line: string | RegExp): Promise<string> {
    const matches = (printed: string): boolean => (typeof line === "string" ? printed === line : line.test(printed));
    await until(() => this.lines.some(matches), `it does not print ${line}; it printed ${JSON.stringify(this.lines)}`);
    return this.lines.find(matches) ?? "";
  }

  async untilDown(): Promise<void> {
    await until(async () => !(await this.target.inspect()).up, "it does not go down");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.target.kill();
    await this.untilDown();
  }
}

/** @throws Error with `complaint` when `condition` does not become true in time */
export async function until(condition: () => Promise<boolean> | boolean, complaint: string): Promise<void> {
  for (let waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += POLL_MS) {
    if (await condition()) return;
    await delay(POLL_MS);
  }
  throw new Error(complaint);
}

/** Whether a process runs; one that is dead but not reaped does not. */
export function runs(pid: number): boolean {
  try {
    // The state follows the name, which is in parentheses and may itself hold some.
    return !/^.*\) [ZX] /s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

/** A port of 127.0.0.1 on which nobody listens. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
