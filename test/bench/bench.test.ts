import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, realpathSync } from "node:fs";
import path from "node:path";
import { suite, test } from "node:test";
import { chart } from "./chart.ts";
import { cpuSecondsOfTree, residentBytesOfTree } from "./cpu.ts";
import { report } from "./report.ts";
import { type Row, ratioOf, runSubject, spreadOf } from "./runner.ts";
import { median, quantile } from "./statistics.ts";
import type { Contestant, Metric, Sample, Subject } from "./subject.ts";
import { subjects } from "./subjects.ts";

const metric: Metric = { name: "ms", title: "time, ms", digits: 1 };

function subjectOf(contestants: readonly Contestant[], parts: Partial<Subject> = {}): Subject {
  const open = () => Promise.resolve({ contestants, missing: ["nginx (Debian package nginx-light)"] });
  return { name: "x", title: "X", metrics: [metric], references: ["direct"], isIsolated: false, open, ...parts };
}

/** Measures these values in turn, and notes its name. */
function contestant(name: string, values: readonly number[], order: string[] = []): Contestant {
  const left = [...values];
  const measure = (): Promise<Sample> => {
    order.push(name);
    const ms = left.shift();
    return ms === undefined ? Promise.reject(new Error("no more")) : Promise.resolve({ ms });
  };
  return { name, measure };
}

const run = (subject: Subject, rounds: number) => runSubject(subject, { rounds, progress: () => {} });

suite("statistics", () => {
  test("median() is the middle value, or the mean of the two in the middle", () => {
    assert.equal(median([3, 1, 2]), 2);
    assert.equal(median([4, 1, 2, 3]), 2.5);
    assert.ok(Number.isNaN(median([])));
  });

  test("quantile() is the value below which a share of the values are", () => {
    assert.equal(quantile([5, 1, 4, 2, 3], 0.99), 5);
    assert.equal(quantile([5, 1, 4, 2, 3], 0), 1);
  });
});

suite("runSubject()", () => {
  test("measures the contestants in turns, and begins each round with another one", async () => {
    const order: string[] = [];
    await run(subjectOf(["a", "b", "c"].map((name) => contestant(name, [1, 2], order))), 2);
    assert.deepEqual(order, ["a", "b", "c", "b", "c", "a"]);
  });

  test("leaves out a contestant after it has failed", async () => {
    const order: string[] = [];
    const { rows } = await run(subjectOf([contestant("a", [1], order), contestant("b", [1, 2, 3], order)]), 3);
    assert.equal(order.filter((name) => name === "a").length, 2);
    assert.deepEqual(rows[0], { name: "a", samples: [{ ms: 1 }], error: "no more" });
    assert.equal(rows[1]?.samples.length, 3);
  });

  test("derives values from the contestant direct in the same round", async () => {
    const derive = (sample: Sample, direct: Sample): Sample => ({ added: (sample["ms"] ?? 0) - (direct["ms"] ?? 0) });
    const { rows } = await run(subjectOf([contestant("direct", [1, 5]), contestant("a", [3, 6])], { derive }), 2);
    assert.deepEqual(rows[1]?.samples, [
      { ms: 3, added: 2 },
      { ms: 6, added: 1 },
    ]);
  });

  test("runs no more rounds than the subject allows", async () => {
    const { rows } = await run(subjectOf([contestant("a", [1, 2, 3])], { maxRounds: 1 }), 3);
    assert.equal(rows[0]?.samples.length, 1);
  });
});

suite("results", () => {
  const row = (name: string, values: readonly number[]): Row => ({ name, samples: values.map((ms) => ({ ms })) });

  test("spreadOf() has the median, the least and the greatest value", () => {
    assert.deepEqual(spreadOf(row("a", [3, 1, 2]), metric), { median: 2, p95: 3, min: 1, max: 3 });
    assert.equal(spreadOf(row("a", []), metric), undefined);
  });

  test("ratioOf() divides round by round", () => {
    // Each round is 2, although the values differ by 10.
    const ratio = ratioOf(row("a", [2, 20, 4]), row("b", [1, 10, 2]), metric);
    assert.deepEqual(ratio, { median: 2, p95: 2, min: 2, max: 2 });
  });

  test("report() is Markdown with what is missing", async () => {
    const text = report(await run(subjectOf([contestant("direct", [1]), contestant("a", [1.5])]), 1));
    assert.match(text, /^### X\n\nMedian of 1 round/);
    assert.match(text, /\n\| a +\| 1\.5 +\|\n/);
    assert.match(text, /Divided by direct, round by round:\n\n.*\n.*\n\| a +\| 1\.50 +\|\n/);
    assert.match(text, /\nLeft out: nginx \(Debian package nginx-light\)\.$/);
  });

  test("report() shows the tail of a metric that asks for it", async () => {
    const contestants = [contestant("a", [3, 1, 2])];
    const text = report(await run(subjectOf(contestants, { metrics: [{ ...metric, isTailShown: true }] }), 3));
    assert.match(text, /\n\| a +\| 2\.0, p95 3\.0 \(1\.0–3\.0\) \|\n/);
  });

  test("chart() draws a bar for each number of connections", () => {
    const rows = [{ name: "wakeport", samples: [{ cpu1: 0.3, cpu8: 0.2, cpu64: 0.1 }] }];
    const throughput = { name: "throughput", title: "", metrics: [], references: [], rows, missing: [] };
    assert.equal(chart([throughput]).match(/<rect class="(one|eight|many)" x="130"/g)?.length, 3 + 1);
    assert.throws(() => chart([]), /needs the subject throughput/);
  });
});

test("cpuSecondsOfTree() and residentBytesOfTree() include children, except those of one program", async () => {
  const node = realpathSync(process.execPath);
  const script = `while (process.cpuUsage().user < 300_000);
    process.on("disconnect", () => process.exit()).send("has spent 0.3 s")`;
  // Without the second command, the shell would become Node instead of its parent.
  const shell = spawn("sh", ["-c", '"$0" -e "$1"; true', node, script], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const pid = shell.pid ?? 0;
  await once(shell, "message");
  assert.ok(cpuSecondsOfTree(pid, "") >= 0.28);
  assert.ok(cpuSecondsOfTree(pid, node) < 0.1);
  assert.ok(residentBytesOfTree(pid, "") > 20_000_000);
  assert.ok(residentBytesOfTree(pid, node) < 20_000_000);
  shell.disconnect();
  await once(shell, "exit");
});

suite("npm run bench", () => {
  const bench = (...args: string[]) =>
    spawnSync(process.execPath, [path.join(import.meta.dirname, "bench.ts"), ...args], { encoding: "utf8" });

  test("--help prints its options and subjects", () => {
    const { status, stdout } = bench("--help");
    assert.equal(status, 0);
    assert.match(stdout, /^usage: npm run bench .*--rounds N .*throughput, connect,/s);
  });

  for (const [args, problem] of [
    [["throughputs"], 'unknown subject "throughputs"'],
    [["--round", "1"], "Unknown option '--round'"],
    [["--rounds", "0"], "cannot use --rounds 0"],
  ] as const) {
    test(`prints the usage after an error of its arguments: ${args.join(" ")}`, () => {
      const { status, stderr } = bench(...args);
      assert.equal(status, 2);
      assert.ok(stderr.startsWith(`bench: ${problem}`), stderr);
      assert.match(stderr, /^usage: npm run bench .*throughput, connect,/ms);
    });
  }
});

suite("docs/performance.md", () => {
  const page = readFileSync(path.join(import.meta.dirname, "../../docs/performance.md"), "utf8");
  const known = subjects.map(({ name }) => name);

  test("lists the subjects of npm run bench", () => {
    const listed = [...page.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, name]) => name);
    assert.deepEqual(listed, known);
  });

  test("has commands that name subjects that exist", () => {
    const named = [...page.matchAll(/npm run bench -- ([^`\n#]*)/g)].flatMap(([, rest = ""]) =>
      rest
        .replaceAll(/--[a-z]+ \S+/g, "")
        .split(/\s+/)
        .filter(Boolean),
    );
    assert.ok(named.length > 3);
    assert.deepEqual(
      named.filter((name) => !known.includes(name)),
      [],
    );
  });
});
