/**
 * wakeport while all its targets sleep, beside a bare Node: from src/ and from dist/, with ten containers, with ten
 * processes, and with a thousand. One copy of each program stays idle; another one is started in each round.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../../support/free-port.ts";
import { checkouts } from "../checkouts.ts";
import { Container } from "../container.ts";
import { cpuSecondsOfTree } from "../cpu.ts";
import { temporaryFolder } from "../folder.ts";
import { memoryMiB } from "../memory.ts";
import type { Contestant, Field, Sample, Subject } from "../subject.ts";
import { missingEngine } from "../targets.ts";

const FEW = 10;
const MANY = 1_000;
const START_MS = 30_000;
/** After the start of the idle copies. */
const SETTLE_MS = 10_000;
/** Wake-ups are counted over at least this time, because the engine is checked once in 90 s. */
const WINDOW_MS = 90_000;
/** As in bin/wakeport and the image. */
const FLAGS = ["--disable-sigusr1", "--max-semi-space-size=4", "--expose-gc"];
/** From a listener to the port of its target, on which nothing listens. */
const TARGET_OFFSET = 30_000;
const MINUTE_MS = 60_000;
const BARE = 'require("net").createServer().listen(0, "127.0.0.1", () => console.log("ready"))';

export const asleep: Subject = {
  name: "asleep",
  title: "wakeport while all targets sleep",
  metrics: [
    { name: "readyMs", title: "exec to ready, ms", digits: 0 },
    { name: "rssMiB", title: "resident MiB", digits: 1 },
    { name: "pssMiB", title: "proportional MiB", digits: 1 },
    { name: "mainWakeUps", title: "wake-ups/min, main thread", digits: 1 },
    { name: "wakeUps", title: "all threads", digits: 1 },
    { name: "cpuMs", title: "CPU ms/min", digits: 1 },
  ],
  references: [],
  // The engine has a socket in the file system, and the containers stay stopped.
  isIsolated: true,
  repeat: 3,
  async open(owned): Promise<Field> {
    const folder = temporaryFolder(owned);
    const lacks = await missingEngine();
    const hasEngine = lacks === undefined;
    const missing = hasEngine ? [] : [`rows of containers: no ${lacks}`];
    const contestants = [await idle("bare Node", async () => ["-e", BARE], owned)];
    for (const { main, name } of mains()) {
      if (!existsSync(main)) {
        missing.push(`${name}: run npm run build`);
        continue;
      }
      const add = async (title: string, servicesOf: () => Promise<readonly string[]>): Promise<void> => {
        const argsOf = async () => [...FLAGS, main, "run", "-c", await configuration(folder, await servicesOf())];
        contestants.push(await idle(`${name}, ${title}`, argsOf, owned));
      };
      if (hasEngine) await add(`${FEW} containers`, () => containers(FEW, owned));
      await add(`${FEW} processes`, () => processes(FEW));
      await add(`${MANY} processes`, () => processes(MANY));
    }
    await delay(SETTLE_MS);
    const watched = contestants.map(({ watch }) => watch());
    await delay(WINDOW_MS);
    return { contestants: watched, missing };
  },
};

/** The programs of each checkout. */
function mains(): readonly { name: string; main: string }[] {
  return checkouts.flatMap(({ name, folder }) =>
    ["src/main.ts", "dist/main.js"].map((file) => ({
      name: `${name}, ${path.dirname(file)}`,
      main: path.join(folder, file),
    })),
  );
}

/**
 * Starts a copy that stays idle.
 *
 * @param argsOf the arguments of Node for a new copy, with ports of its own
 * @returns what begins the observation of it
 */
async function idle(
  name: string,
  argsOf: () => Promise<readonly string[]>,
  owned: AsyncDisposableStack,
): Promise<{ watch: () => Contestant }> {
  const first = await started(name, await argsOf());
  owned.defer(() => stop(first.child));
  const other = await argsOf();
  const watch = (): Contestant => {
    const { pid = 0 } = first.child;
    const [began, before] = [performance.now(), usageOf(pid)];
    const measure = async (): Promise<Sample> => {
      const { child, ms } = await started(name, other);
      await stop(child);
      const { rss, pss } = await memoryMiB(pid);
      const rates = ratesOf(before, usageOf(pid), performance.now() - began);
      return { readyMs: ms, rssMiB: rss, pssMiB: pss, ...rates };
    };
    return { name, measure };
  };
  return { watch };
}

interface Usage {
  readonly cpuSeconds: number;
  /** Voluntary context switches of the main thread, and of all threads. */
  readonly mainWakeUps: number;
  readonly wakeUps: number;
}

function usageOf(pid: number): Usage {
  const counts = new Map(
    readdirSync(`/proc/${pid}/task`).map((thread) => {
      const status = readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
      return [Number(thread), Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1])];
    }),
  );
  const wakeUps = [...counts.values()].reduce((sum, count) => sum + count, 0);
  return { cpuSeconds: cpuSecondsOfTree(pid, ""), mainWakeUps: counts.get(pid) ?? 0, wakeUps };
}

/** What a program used in some milliseconds, for each minute. */
function ratesOf(before: Usage, after: Usage, ms: number): Sample {
  const perMinute = (amount: number): number => (amount / ms) * MINUTE_MS;
  return {
    mainWakeUps: perMinute(after.mainWakeUps - before.mainWakeUps),
    wakeUps: perMinute(after.wakeUps - before.wakeUps),
    cpuMs: perMinute(after.cpuSeconds - before.cpuSeconds) * 1_000,
  };
}

/** Starts a program. @returns it with the milliseconds from exec to its first line of output, which means ready */
async function started(name: string, args: readonly string[]): Promise<{ child: ChildProcess; ms: number }> {
  const began = performance.now();
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
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

/** Writes a configuration with these services, each a line below `services:`. @returns its path */
async function configuration(folder: string, services: readonly string[]): Promise<string> {
  const admin = await freePort();
  const file = path.join(folder, `${admin}.yaml`);
  const lines = [`admin: { listen: "127.0.0.1:${admin}" }`, "log: { format: json }", "services:"];
  writeFileSync(file, [...lines, ...services.map((line) => `  ${line}`), ""].join("\n"));
  return file;
}

async function processes(count: number): Promise<string[]> {
  const services: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const port = await freePort();
    const command = `{ command: [/bin/false], listen: "127.0.0.1:${port + TARGET_OFFSET}" }`;
    services.push(`s${index}: { ports: ["127.0.0.1:${port}"], process: ${command} }`);
  }
  return services;
}

async function containers(count: number, owned: AsyncDisposableStack): Promise<string[]> {
  const services: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const port = await freePort();
    const name = `wakeport-bench-asleep-${port}`;
    owned.use(await Container.createNode(name, "setInterval(() => {}, 1000)"));
    services.push(`s${index}: { ports: ["127.0.0.1:${port}:7"], container: ${name} }`);
  }
  return services;
}
