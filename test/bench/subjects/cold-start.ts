/**
 * Cold start of a container, connect to first byte, beside the least that it could cost: the engine's own start call,
 * then a dial loop every millisecond.
 */
import net from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import Dockerode from "dockerode";
import { freePort } from "../../support/free-port.ts";
import { type Checkout, checkouts } from "../checkouts.ts";
import { Container } from "../container.ts";
import type { Contestant, Field, Subject } from "../subject.ts";
import { asleep, missingEngine } from "../targets.ts";
import { Wakeport } from "../wakeport.ts";

const PORT = 7;
const greeter = `require("net").createServer((s) => { s.on("error", () => {}); s.end("hello\\n"); }).listen(${PORT})`;

export const coldStart: Subject = {
  name: "cold-start",
  title: "Cold start of a container, connect to first byte; direct: start call and dial loop",
  metrics: [
    { name: "ms", title: "ms", digits: 1 },
    { name: "addedMs", title: "ms above direct", digits: 1 },
  ],
  references: [],
  isIsolated: false,
  repeat: 7,
  derive: (sample, direct) => ({ addedMs: (sample["ms"] ?? 0) - (direct["ms"] ?? 0) }),
  async open(owned): Promise<Field> {
    const missing = await missingEngine();
    if (missing !== undefined) return { contestants: [], missing: [`all: no ${missing}`] };
    const contestants = [await direct(owned)];
    for (const checkout of checkouts) contestants.push(await throughWakeport(checkout, owned));
    return { contestants, missing: [] };
  },
};

async function direct(owned: AsyncDisposableStack): Promise<Contestant> {
  const docker = new Dockerode();
  const container = owned.use(
    await Container.createNode(`wakeport-bench-cold-${await freePort()}`, greeter, ["--init"]),
  );
  const measure = async () => {
    const began = performance.now();
    await docker.getContainer(container.name).start();
    const { NetworkSettings } = await docker.getContainer(container.name).inspect();
    await firstByteInLoop(NetworkSettings.Networks["bridge"]?.IPAddress ?? "");
    const ms = performance.now() - began;
    await container.stop();
    return { ms };
  };
  return { name: "direct", measure };
}

async function throughWakeport(checkout: Checkout, owned: AsyncDisposableStack): Promise<Contestant> {
  const port = await freePort();
  const { name } = owned.use(await Container.createNode(`wakeport-bench-cold-${port}`, greeter, ["--init"]));
  const yaml = `  cold: { ports: ["127.0.0.1:${port}:${PORT}"], container: ${name}, idle_timeout: 100ms }\n`;
  const wakeport = owned.use(await Wakeport.start(yaml, { checkout }));
  let starts = 0;
  const measure = async () => {
    const began = performance.now();
    await firstByte("127.0.0.1", port);
    const ms = performance.now() - began;
    starts += 1;
    await asleep(wakeport, starts);
    return { ms };
  };
  return { name: checkout.name, measure };
}

async function firstByteInLoop(host: string): Promise<void> {
  for (;;) {
    try {
      return await firstByte(host, PORT);
    } catch {
      await delay(1);
    }
  }
}

async function firstByte(host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = net.connect({ host, port });
  socket.once("data", () => resolve());
  socket.once("error", reject);
  socket.once("close", () => reject(new Error("closed without a byte")));
  await promise.finally(() => socket.destroy());
}
