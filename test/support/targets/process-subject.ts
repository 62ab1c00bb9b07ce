/** Process targets that run small programs of test/fixtures and are killed when disposed. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ProcessTarget } from "../../../src/targets/process.ts";
import type { ProcessOptions } from "../../../src/targets/process-incarnation.ts";
import { eventually } from "../eventually.ts";
import { freePort } from "../free-port.ts";

export const unlimited: AbortSignal = new AbortController().signal;

/** The path of a program in test/fixtures. */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url));
}

/** A process target that stores the output of its program. */
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

  /** PID of the started process, the leader of its group. */
  async pid(): Promise<number> {
    const status = await this.target.inspect();
    if (!status.up) throw new Error("it is not up");
    return Number(status.incarnation);
  }

  async untilPrinted(line: string | RegExp): Promise<string> {
    const matches = (printed: string): boolean => (typeof line === "string" ? printed === line : line.test(printed));
    await eventually(`the program prints ${line}`, () => this.lines.some(matches));
    return this.lines.find(matches) ?? "";
  }

  async untilDown(): Promise<void> {
    await eventually("the program exits", async () => !(await this.target.inspect()).up);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.target.kill();
    await this.untilDown();
  }
}

/** Whether a process runs. A zombie does not run. */
export function runs(pid: number): boolean {
  try {
    // The state follows the name, which is in parentheses and may contain some.
    return !/^.*\) [ZX] /s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
