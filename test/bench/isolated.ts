/**
 * Runs one subject in a process of its own, in a network namespace of its own if `isIsolated`: the firewall's table of
 * connections, which containers need, has room for some seconds of a benchmark only, and then stops all new ones.
 */
import { execFileSync, fork, spawnSync } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { exitOnSignals } from "./program.ts";
import { type Result, runSubject } from "./runner.ts";
import type { Subject } from "./subject.ts";
import { subjects } from "./subjects.ts";

const RUNNER = import.meta.filename;

/** Returns true if this user may make network namespaces. */
function canIsolate(): boolean {
  return spawnSync("unshare", ["--net", "ip", "link", "set", "lo", "up"]).status === 0;
}

/** Runs a subject. */
export async function runApart(subject: Subject, rounds: number): Promise<Result> {
  const isIsolated = subject.isIsolated && canIsolate();
  const args = [subject.name, String(rounds), isIsolated ? "isolated" : "shared"];
  const child = isIsolated
    ? fork(RUNNER, args, { execPath: "unshare", execArgv: ["--net", process.execPath] })
    : fork(RUNNER, args);
  const stop = (): boolean => child.kill();
  process.once("exit", stop);
  const [received] = await Promise.race([once(child, "message"), once(child, "exit")]);
  process.off("exit", stop);
  const result = typeof received === "object" && received !== null ? (received as Result) : failed(subject);
  if (isIsolated || !subject.isIsolated) return result;
  const note = "a network namespace of its own (needs root): the table of connections may be the limit";
  return { ...result, missing: [...result.missing, note] };
}

/** The process has printed the reason. */
function failed({ name, title, metrics, references }: Subject): Result {
  return { name, title, metrics, references, rows: [{ name: "all", samples: [], error: "no result" }], missing: [] };
}

async function main(name: string, rounds: number, isIsolated: boolean): Promise<void> {
  exitOnSignals();
  // Each program that runs is ended at exit, and there are many.
  process.setMaxListeners(100);
  if (isIsolated) execFileSync("ip", ["link", "set", "lo", "up"]);
  const subject = subjects.find((one) => one.name === name);
  if (subject === undefined) throw new Error(`unknown subject "${name}"`);
  process.send?.(await runSubject(subject, { rounds, progress: (line) => console.error(line) }));
  process.disconnect();
}

if (import.meta.main) {
  const [name = "", rounds, place] = process.argv.slice(2);
  await main(name, Number(rounds), place === "isolated");
}
