/** Runs client programs until they exit. */
import { spawn } from "node:child_process";
import { once } from "node:events";

const MAX_DELAY_MS = 20_000;

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program without a shell, and kills it at a deadline. @param input its standard input */
export async function run(command: string, args: readonly string[], input = ""): Promise<Ran> {
  const child = spawn(command, args, {
    env: { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin` },
    timeout: MAX_DELAY_MS,
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}
