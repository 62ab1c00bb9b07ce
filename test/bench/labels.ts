/** Memory for 100 labelled containers, and the time from their creation until wakeport listens for them. */
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../support/free-port.ts";
import { Container } from "./container.ts";
import { memoryMiB } from "./memory.ts";
import { exitOnSignals } from "./program.ts";
import { Wakeport } from "./wakeport.ts";

const COUNT = Number(process.argv[2] ?? 100);
const LISTEN_MS = 10_000;

/** Returns true if the kernel has a listener on the port. A connection would wake the container. */
async function isListening(port: number): Promise<boolean> {
  const tables = await Promise.all(["/proc/net/tcp", "/proc/net/tcp6"].map((file) => readFile(file, "utf8")));
  const listening = new RegExp(`:${port.toString(16).toUpperCase().padStart(4, "0")} [0-9A-F:]+ 0A `);
  return tables.some((table) => listening.test(table));
}

/** Returns the milliseconds until the port is bound. */
async function untilListening(port: number): Promise<number> {
  const began = performance.now();
  while (performance.now() - began < LISTEN_MS) {
    if (await isListening(port)) return performance.now() - began;
    await delay(1);
  }
  throw new Error(`no listener on port ${port}`);
}

exitOnSignals();
await using stack = new AsyncDisposableStack();
const wakeport = stack.use(await Wakeport.start("", { sections: "docker: { discover: all }\n" }));
const before = await memoryMiB(wakeport.pid);
const times: number[] = [];
for (let index = 0; index < COUNT; index += 1) {
  const port = await freePort();
  const labels = ["wakeport.enable=true", `wakeport.ports=127.0.0.1:${port}:7`, "wakeport.idle_timeout=1s"];
  const options = labels.flatMap((label) => ["--label", label]);
  stack.use(await Container.createNode(`wakeport-bench-label-${port}`, "setInterval(() => {}, 1000)", options));
  times.push(await untilListening(port));
}
await delay(5_000);
const after = await memoryMiB(wakeport.pid);
const sorted = times.toSorted((a, b) => a - b);
const at = (part: number): string => (sorted[Math.floor(part * (sorted.length - 1))] ?? 0).toFixed(1);
console.log(
  `${COUNT} labelled containers: from the end of docker create to listening ${at(0.5)} ms (median), ${at(1)} ms (worst); ` +
    `${before.rss.toFixed(0)} MiB resident before, ${after.rss.toFixed(0)} MiB with all`,
);
