/**
 * Cold start of a container, connect to first byte, beside the least it could cost: the engine's own start call, then
 * a dial loop every millisecond. In turns, in one run.
 */
import net from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import Dockerode from "dockerode";
import { freePort } from "../support/free-port.ts";
import { Container } from "./container.ts";
import { exitOnSignals } from "./program.ts";
import { median } from "./statistics.ts";
import { Wakeport } from "./wakeport.ts";

const ROUNDS = Number(process.argv[2] ?? 20);
const BAR_MS = 15;
const SLEEP_MS = 20_000;
const greeter = `require("net").createServer((s) => { s.on("error", () => {}); s.end("hello\\n"); }).listen(7)`;

async function firstByte(host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = net.connect({ host, port });
  socket.once("data", () => resolve());
  socket.once("error", reject);
  await promise.finally(() => socket.destroy());
}

async function bare(container: Container, docker: Dockerode): Promise<number> {
  const began = performance.now();
  await docker.getContainer(container.name).start();
  const address = await addressOf(container, docker);
  for (;;) {
    try {
      await firstByte(address, 7);
      return performance.now() - began;
    } catch {
      await delay(1);
    }
  }
}

async function addressOf({ name }: Container, docker: Dockerode): Promise<string> {
  const { NetworkSettings } = await docker.getContainer(name).inspect();
  return NetworkSettings.Networks["bridge"]?.IPAddress ?? "";
}

async function throughWakeport(listenPort: number): Promise<number> {
  const began = performance.now();
  await firstByte("127.0.0.1", listenPort);
  return performance.now() - began;
}

async function asleep(wakeport: Wakeport, count: number): Promise<void> {
  const limit = performance.now() + SLEEP_MS;
  while (wakeport.records("target.asleep").length < count) {
    if (performance.now() > limit) throw new Error("the target does not sleep");
    await delay(10);
  }
}

exitOnSignals();
const docker = new Dockerode();
const listenPort = await freePort();
const name = `wakeport-bench-cold-${listenPort}`;
await using _container = await Container.createNode(name, greeter, ["--init"]);
await using twin = await Container.createNode(`${name}-bare`, greeter, ["--init"]);
await using wakeport = await Wakeport.start(
  `  cold: { ports: ["${listenPort}:7"], container: ${name}, idle_timeout: 100ms }\n`,
);
const [ours, least]: [number[], number[]] = [[], []];
for (let round = 1; round <= ROUNDS; round += 1) {
  least.push(await bare(twin, docker));
  await twin.stop();
  ours.push(await throughWakeport(listenPort));
  await asleep(wakeport, round);
}
const more = median(ours) - median(least);
console.log(
  `connect to first byte, median of ${ROUNDS}: wakeport ${median(ours).toFixed(1)} ms, ` +
    `start call and dial loop ${median(least).toFixed(1)} ms, more by ${more.toFixed(1)} ms (bar: ${BAR_MS} ms)`,
);
process.exitCode = more <= BAR_MS ? 0 : 1;
