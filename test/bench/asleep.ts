/**
 * Measures wakeport while all its targets sleep, beside a bare Node in the same run:
 *
 *   node test/bench/asleep.ts [--seconds 60] [--rounds 5] [--services 1000] [--no-engine]
 *
 * Each row is one program: src/ and dist/ (built by `npm run build`), with ten containers, with ten processes, and with
 * many processes. Starts are interleaved, and the time is from exec to the first line of output, which wakeport writes
 * after it has bound its ports and the engine has answered. Then all programs run side by side for `--seconds`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { freePort } from "../support/free-port.ts";
import { Container } from "./container.ts";
import { memoryMiB } from "./memory.ts";
import { exitOnSignals } from "./program.ts";

const FEW_SERVICES = 10;
const SETTLE_MS = 10_000;
const START_MS = 30_000;
const TICK_MS = 10;
const ROOT = path.join(import.meta.dirname, "../..");
const BARE = 'require("net").createServer().listen(0, "127.0.0.1", () => console.log("ready"))';

interface Subject {
  readonly name: string;
  readonly args: readonly string[];
}

interface Usage {
  readonly cpuMs: number;
  /** Voluntary context switches of the main thread, and of all threads. */
  readonly mainWakeUps: number;
  readonly wakeUps: number;
}

const folder = mkdtempSync(path.join(tmpdir(), "wakeport-bench-"));
const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    rounds: { type: "string", default: "5" },
    services: { type: "string", default: "1000" },
    "no-engine": { type: "boolean", default: false },
  },
});

/** Writes a configuration with these services, each a line below `services:`. @returns its path */
async function configuration(name: string, services: readonly string[]): Promise<string> {
  const file = path.join(folder, `${name}.yaml`);
  const admin = `admin: { listen: "127.0.0.1:${await freePort()}" }`;
  writeFileSync(file, `${admin}\nlog: { format: json }\nservices:\n${services.map((line) => `  ${line}\n`).join("")}`);
  return file;
}

async function processes(count: number): Promise<string[]> {
  const services: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const listen = await freePort();
    const process = `{ command: [/bin/false], listen: "127.0.0.1:${listen + 30_000}" }`;
    services.push(`s${index}: { ports: ["127.0.0.1:${listen}"], process: ${process} }`);
  }
  return services;
}

async function containers(count: number, stack: AsyncDisposableStack): Promise<string[]> {
  const services: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const listen = await freePort();
    const name = `wakeport-bench-asleep-${listen}`;
    stack.use(await Container.createNode(name, "setInterval(() => {}, 1000)"));
    services.push(`s${index}: { ports: ["127.0.0.1:${listen}:7"], container: ${name} }`);
  }
  return services;
}

/** Starts the program. @returns it with the milliseconds from exec to its first line of output */
async function start({ name, args }: Subject): Promise<{ child: ChildProcess; ms: number }> {
  const began = performance.now();
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"], cwd: folder });
  process.once("exit", () => child.kill("SIGKILL"));
  child.once("exit", (code) => code && console.error(`${name} exited with ${code}`));
  await once(child.stdout, "data", { signal: AbortSignal.timeout(START_MS) });
  const ms = performance.now() - began;
  child.stdout.resume();
  return { child, ms };
}

async function stop(child: ChildProcess): Promise<void> {
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
}

function usageOf(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const wakeUps = new Map(
    readdirSync(`/proc/${pid}/task`).map((thread) => {
      const status = readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
      return [Number(thread), Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1])];
    }),
  );
  return {
    cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
    mainWakeUps: wakeUps.get(pid) ?? 0,
    wakeUps: [...wakeUps.values()].reduce((sum, count) => sum + count, 0),
  };
}

function medianOf(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}

exitOnSignals();
process.once("exit", () => rmSync(folder, { recursive: true }));
await using stack = new AsyncDisposableStack();
const [seconds, rounds, many] = [Number(values.seconds), Number(values.rounds), Number(values.services)];

const subjects: Subject[] = [{ name: "bare Node", args: ["-e", BARE] }];
for (const [tree, main] of [
  ["src", "src/main.ts"],
  ["dist", "dist/main.js"],
] as const) {
  const add = (name: string, config: string): void => {
    const args = ["--disable-sigusr1", path.join(ROOT, main), "run", "-c", config];
    subjects.push({ name: `${tree}, ${name}`, args });
  };
  if (!values["no-engine"]) {
    add(`${FEW_SERVICES} containers`, await configuration(`${tree}-engine`, await containers(FEW_SERVICES, stack)));
  }
  add(`${FEW_SERVICES} processes`, await configuration(`${tree}-few`, await processes(FEW_SERVICES)));
  add(`${many} processes`, await configuration(`${tree}-many`, await processes(many)));
}

const starts = new Map<string, number[]>(subjects.map(({ name }) => [name, []]));
for (let round = 0; round < rounds; round += 1) {
  for (const subject of subjects) {
    const { child, ms } = await start(subject);
    starts.get(subject.name)?.push(ms);
    await stop(child);
  }
}

const running = new Map<string, ChildProcess>();
for (const subject of subjects) running.set(subject.name, (await start(subject)).child);
await delay(SETTLE_MS);
const before = [...running.values()].map(({ pid = 0 }) => usageOf(pid));
await delay(seconds * 1000);

const perMinute = (count: number): string => ((count / seconds) * 60).toFixed(1);
const rows = await Promise.all(
  [...running].map(async ([name, { pid = 0 }], index) => {
    const [now, then] = [usageOf(pid), before[index]!];
    const { rss, pss } = await memoryMiB(pid);
    const times = starts.get(name) ?? [];
    return {
      program: name,
      "ready ms (median, min)": `${medianOf(times).toFixed(0)}, ${Math.min(...times).toFixed(0)}`,
      "resident MiB": Number(rss.toFixed(1)),
      "proportional MiB": Number(pss.toFixed(1)),
      "wake-ups/min (main, all threads)": `${perMinute(now.mainWakeUps - then.mainWakeUps)}, ${perMinute(now.wakeUps - then.wakeUps)}`,
      [`CPU ms in ${seconds} s`]: now.cpuMs - then.cpuMs,
    };
  }),
);
console.table(rows);
for (const child of running.values()) await stop(child);
