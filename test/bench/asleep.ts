/** Memory and CPU time of an idle wakeport with ten sleeping containers, over one minute. */
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../support/free-port.ts";
import { Container } from "./container.ts";
import { memoryMiB } from "./memory.ts";
import { exitOnSignals } from "./program.ts";
import { Wakeport } from "./wakeport.ts";

const SECONDS = Number(process.argv[2] ?? 60);
const SERVICES = 10;
const TICKS_PER_SECOND = 100;

/** User and system time so far, in milliseconds. */
async function cpuMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND;
}

exitOnSignals();
await using stack = new AsyncDisposableStack();
let services = "";
for (let index = 0; index < SERVICES; index += 1) {
  const listenPort = await freePort();
  const name = `wakeport-bench-asleep-${listenPort}`;
  stack.use(await Container.createNode(name, "setInterval(() => {}, 1000)"));
  services += `  s${index}: { ports: ["${listenPort}:7"], container: ${name} }\n`;
}
const { pid } = stack.use(await Wakeport.start(services));
await delay(5_000);
const before = await cpuMs(pid);
await delay(SECONDS * 1000);
const used = (await cpuMs(pid)) - before;
const { rss, pss } = await memoryMiB(pid);
console.log(
  `${SERVICES} sleeping services for ${SECONDS} s: ${used} ms of CPU (${((used / SECONDS / 1000) * 100).toFixed(2)} %), ` +
    `${rss.toFixed(0)} MiB resident (${pss.toFixed(0)} MiB proportional)`,
);
