/** Runs nft and conntrack. */
import { execFile } from "node:child_process";

const LIMIT_MS = 10_000;
/** A full table of 262,144 flows has 50 MB as text. */
const MAX_OUTPUT_BYTES = 256 * 1024 * 1024;
const ENV = { PATH: "/usr/sbin:/sbin:/usr/bin:/bin", LC_ALL: "C" };

export type ToolName = "nft" | "conntrack";

/** A tool is missing, was refused, or reported an error. The message begins with its name. */
export class ToolError extends Error {
  override readonly name = "ToolError";
}

/**
 * Runs a tool to its end, for at most 10 s.
 *
 * @param input passed to its standard input
 * @returns its standard output
 * @throws ToolError
 */
export function runTool(name: ToolName, args: readonly string[], input = ""): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { timeout: LIMIT_MS, killSignal: "SIGKILL", maxBuffer: MAX_OUTPUT_BYTES, env: ENV } as const;
    const child = execFile(name, args, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const [line = ""] = stderr.split("\n");
      const reason = error.code === "ENOENT" ? "not installed" : error.killed ? "no answer within 10 s" : line;
      reject(new ToolError(`${name}: ${reason || error.message}`, { cause: error }));
    });
    // A tool that ended early does not read its input. Its exit code is handled above.
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });
}
