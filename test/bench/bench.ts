/**
 * Measures wakeport beside programs that do the same, in turns within one run.
 *
 * Prints a Markdown table for each subject, writes all samples to a JSON file, and draws a chart of the CPU time for each
 * GB. With another checkout of wakeport, measures that too. test/bench/tools installs the other programs; those that are
 * missing are left out. Needs Linux, and root for network namespaces. Exits with 1 if a contestant failed.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, release } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { messageOf } from "../../src/errors.ts";
import { chart } from "./chart.ts";
import { runApart } from "./isolated.ts";
import { exitOnSignals } from "./program.ts";
import { report } from "./report.ts";
import type { Result } from "./runner.ts";
import { subjects } from "./subjects.ts";

const known = subjects.map(({ name }) => name);
const USAGE = `usage: npm run bench -- [SUBJECT...] [OPTIONS]

  --rounds N          measure each program N times (cold-start and asleep: a multiple of it); default: 3
  --json FILE         write all samples
  --svg FILE          draw the CPU time for each GB, which throughput measures
  --before CHECKOUT   measure another checkout of wakeport too

Subjects, all by default: ${known.join(", ")}. See docs/performance.md.`;

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

/** @throws Error with a message for the user */
function readArguments() {
  const options = {
    help: { type: "boolean", short: "h", default: false },
    rounds: { type: "string", default: "3" },
    json: { type: "string" },
    svg: { type: "string" },
    before: { type: "string" },
  } as const;
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new Error(`cannot use --rounds ${values.rounds}: expected a whole number above 0`);
  }
  const unknown = positionals.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`unknown subject "${unknown.join(", ")}"`);
  return { ...values, rounds, names: positionals.length > 0 ? positionals : known };
}

/** Ends the program with the usage, after `message` with status 2. */
function exitWithUsage(message?: string): never {
  if (message === undefined) console.log(USAGE);
  else console.error(`bench: ${message}\n${USAGE}`);
  process.exit(message === undefined ? 0 : 2);
}

function argumentsOrExit() {
  try {
    return readArguments();
  } catch (error) {
    return exitWithUsage(messageOf(error));
  }
}

const { help, rounds, names, ...values } = argumentsOrExit();
if (help) exitWithUsage();
if (process.platform !== "linux") throw new Error("the load generators and /proc need Linux");
exitOnSignals();
// Also for the processes of the subjects.
if (values.before !== undefined) process.env["WAKEPORT_BENCH_BEFORE"] = resolve(values.before);
const before = machine();
const results: Result[] = [];
for (const subject of subjects) {
  if (!names.includes(subject.name)) continue;
  const result = await runApart(subject, rounds);
  results.push(result);
  console.log(`${report(result)}\n`);
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ machine: before, results }, null, 2)}\n`);
if (values.svg !== undefined) writeFileSync(values.svg, chart(results));
process.exitCode = results.some(({ rows }) => rows.some(({ error }) => error !== undefined)) ? 1 : 0;
