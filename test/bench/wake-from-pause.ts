/** From connect to first byte of a paused target, compared with the engine's unpause call alone, in turns. */
import net from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import Dockerode from "dockerode";
import { freePort } from "../support/free-port.ts";
import { Container } from "./container.ts";
import { exitOnSignals } from "./program.ts";
import { median, quantile } from "./statistics.ts";
import { Wakeport } from "./wakeport.ts";

const ROUNDS = Number(process.argv[2] ?? 20);
const BAR_MS = 10;
const SLEEP_MS = 20_000;
const greeter = `require("net").createServer((s) => { s.on("error", () => {}); s.end("hello\\n"); }).listen(7)`;

async function firstByte(port: number): Promise<number> {
  const began = performance.now();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = net.connect({ port, host: "127.0.0.1" });
  socket.once("data", () => resolve());
  socket.once("error", reject);
  await promise.finally(() => socket.destroy());
  return performance.now() - began;
}

async function unpause(container: Dockerode.Container): Promise<number> {
  await container.pause();
  const began = performance.now();
  await container.unpause();
  return performance.now() - began;
}

async function isPaused(container: Dockerode.Container): Promise<boolean> {
  return (await container.inspect()).State.Paused;
}

async function paused(container: Dockerode.Container): Promise<void> {
  const limit = performance.now() + SLEEP_MS;
  while (!(await isPaused(container))) {
    if (performance.now() > limit) throw new Error("the target is not paused");
    await delay(10);
  }
  // The work after a sleep must not count in the next wake.
  await delay(100);
}

exitOnSignals();
const docker = new Dockerode();
const listenPort = await freePort();
const name = `wakeport-bench-pause-${listenPort}`;
await using _container = await Container.createNode(name, greeter, ["--init"]);
await using twin = await Container.createNode(`${name}-bare`, greeter, ["--init"]);
await twin.start();
await using _wakeport = await Wakeport.start(
  `  pause: { ports: ["${listenPort}:7"], container: ${name}, idle_timeout: 100ms, sleep: pause }\n`,
);
await firstByte(listenPort);
const [ours, least]: [number[], number[]] = [[], []];
for (let round = 0; round < ROUNDS; round += 1) {
  await paused(docker.getContainer(name));
  least.push(await unpause(docker.getContainer(twin.name)));
  ours.push(await firstByte(listenPort));
}
const more = median(ours) - median(least);
console.log(
  `wake from pause, connect to first byte, median of ${ROUNDS}: ${median(ours).toFixed(1)} ms ` +
    `(worst ${quantile(ours, 1).toFixed(1)} ms), unpause alone ${median(least).toFixed(1)} ms, ` +
    `more by ${more.toFixed(1)} ms (bar: ${BAR_MS} ms)`,
);
process.exitCode = more <= BAR_MS ? 0 : 1;
