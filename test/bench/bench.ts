/**
 * Measures wakeport beside programs that do the same, in turns within one run:
 *
 *   npm run bench -- [NAME...] [--rounds 3] [--json FILE] [--svg FILE] [--before CHECKOUT]
 *
 * Prints a Markdown table for each subject, writes all samples to a JSON file, and draws a chart of the CPU time for each
 * GB. With another checkout of wakeport, measures that too. test/bench/tools installs the other programs; those that are
 * missing are left out. Needs Linux, and root for network namespaces. Exits with 1 if a contestant failed.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, release } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { chart } from "./chart.ts";
import { runApart } from "./isolated.ts";
import { exitOnSignals } from "./program.ts";
import { report } from "./report.ts";
import type { Result } from "./runner.ts";
import { subjects } from "./subjects.ts";

/** What the figures depend on. */
interface Machine {
  readonly cores: number;
  readonly cpu: string;
  readonly kernel: string;
  readonly node: string;
  /** Of the last minute before the run: other programs make the figures vary. */
  readonly load: number;
}

function machine(): Machine {
  const load = Number(readFileSync("/proc/loadavg", "latin1").split(" ")[0]);
  return { cores: availableParallelism(), cpu: cpus()[0]?.model ?? "", kernel: release(), node: process.version, load };
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new Error(`cannot use --${option} ${text}: expected a whole number above 0`);
}

const { values, positionals } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    json: { type: "string" },
    svg: { type: "string" },
    before: { type: "string" },
  },
  allowPositionals: true,
});
const rounds = positive("rounds", values.rounds);
const known = subjects.map(({ name }) => name);
const unknown = positionals.filter((name) => !known.includes(name));
if (unknown.length > 0) throw new Error(`unknown subject "${unknown.join(", ")}": expected ${known.join(", ")}`);

if (process.platform !== "linux") throw new Error("the load generators and /proc need Linux");
exitOnSignals();
// Also for the processes of the subjects.
if (values.before !== undefined) process.env["WAKEPORT_BENCH_BEFORE"] = resolve(values.before);
const before = machine();
const results: Result[] = [];
for (const subject of subjects) {
  if (positionals.length > 0 && !positionals.includes(subject.name)) continue;
  const result = await runApart(subject, rounds);
  results.push(result);
  console.log(`${report(result)}\n`);
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ machine: before, results }, null, 2)}\n`);
if (values.svg !== undefined) writeFileSync(values.svg, chart(results));
process.exitCode = results.some(({ rows }) => rows.some(({ error }) => error !== undefined)) ? 1 : 0;
