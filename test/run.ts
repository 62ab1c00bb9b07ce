/**
 * Runs the tests: `node test/run.ts [TIER | FILE]…`, by default all tiers. Files run concurrently, except those that
 * contain a line `// runs alone: REASON`, which follow one by one. Tests that need an engine are skipped if the machine
 * has none; with WAKEPORT_TEST_ENGINE=required they fail.
 */
import { globSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import path from "node:path";
import process from "node:process";
import { run } from "node:test";
import { engineVersion } from "./support/engine/engine.ts";
import { cannotHavePodman } from "./support/engine/podman-engine.ts";
import { Reporter } from "./support/reporter.ts";

/** The folders of each tier, slowest tier first. All other tests are unit tests: no engine, no program. */
const tiers: ReadonlyMap<string, string> = new Map([
  ["e2e", "test/e2e/"],
  ["engine", "test/integration/"],
  ["program", "test/program/"],
  ["unit", "test/"],
]);
/** Tests wait far more than they compute. */
const CONCURRENCY = Number(process.env["WAKEPORT_TEST_CONCURRENCY"] ?? Math.max(4, availableParallelism()));
const TIMEOUT_MS = 300_000;

// Compiling src/ is half of the time in which a test file, or wakeport itself, starts.
process.env["NODE_COMPILE_CACHE"] ??= path.join(import.meta.dirname, "../node_modules/.cache/node");

const names = process.argv.slice(2);
const files = (names.length > 0 ? names : [...tiers.keys()]).flatMap((name) =>
  tiers.has(name) ? filesOf(name) : [name],
);
const notice = await engineNotice(new Set(files.map(tierOf)));
if (notice !== "") console.log(notice);

const reporter = new Reporter(files.length);
const [alone = [], concurrent = []] = partition(files, runsAlone);
await runAll(concurrent, CONCURRENCY);
await runAll(alone, 1);
process.stdout.write(reporter.summary());
if (notice !== "") console.log(notice);
process.exitCode = reporter.hasFailed ? 1 : 0;

async function runAll(files: readonly string[], concurrency: number): Promise<void> {
  if (files.length === 0) return;
  for await (const event of run({ files: [...files], concurrency, timeout: TIMEOUT_MS })) {
    process.stdout.write(reporter.textOf(event));
  }
}

function filesOf(tier: string): string[] {
  return globSync("test/**/*.test.ts")
    .toSorted()
    .filter((file) => tierOf(file) === tier);
}

function tierOf(file: string): string {
  return [...tiers].find(([, folder]) => file.startsWith(folder))?.[0] ?? "";
}

function runsAlone(file: string): boolean {
  return /^\/\/ runs alone: \S/m.test(readFileSync(file, "utf8"));
}

function partition<T>(all: readonly T[], isFirst: (one: T) => boolean): readonly [T[], T[]] {
  return [all.filter(isFirst), all.filter((one) => !isFirst(one))];
}

/** Describes the engines that the tests of these tiers use. Ends this process if the required engine is missing. */
async function engineNotice(needed: ReadonlySet<string>): Promise<string> {
  if (!needed.has("engine") && !needed.has("e2e")) return "";
  const engine = await engineVersion();
  if (engine === undefined) {
    if (process.env["WAKEPORT_TEST_ENGINE"] !== "required") {
      return "NO DOCKER ENGINE: the tests that need one are SKIPPED. As root on Debian, test/engine/up starts one.";
    }
    console.error("No Docker engine answers, and WAKEPORT_TEST_ENGINE=required: see test/engine/README.md");
    process.exit(1);
  }
  const noPodman = await cannotHavePodman();
  return `Docker engine ${engine}: ${noPodman === false ? "all tests run." : `tests are SKIPPED. ${noPodman}`}`;
}
