/**
 * Cold start of a container, connect to first byte, beside the least that it could cost: the engine's own start call,
 * then a dial loop every millisecond. The addresses are fixed, so the control needs no inspection. All requests to the
 * engine pass through one proxy, which counts the inspections of each wake.
 *
 * The engine's own time differs by some 50 ms from start to start. So what remains of each wake is measured as well: from
 * the connect until the proxy receives the start call, and from the listen of the program, which sends the time of it,
 * until the first byte.
 */
import net from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import Dockerode from "dockerode";
import { CountingProxy } from "../../support/engine/counting-proxy.ts";
import { freePort } from "../../support/free-port.ts";
import { type Checkout, checkouts } from "../checkouts.ts";
import { Container } from "../container.ts";
import type { Contestant, Field, Subject } from "../subject.ts";
import { asleep, missingEngine } from "../targets.ts";
import { Wakeport } from "../wakeport.ts";

const PORT = 7;
/** Before each start: the kernel removes the network namespace of the last container after its stop, and delays a start. */
const SETTLE_MS = 500;
/** Sends when it listened: nanoseconds of the clock of process.hrtime(), which all processes of the machine share. */
const greeter = `let at; require("net").createServer((s) => { s.on("error", () => {}); s.end(String(at)); }).listen(${PORT}, () => { at = process.hrtime.bigint(); })`;

export const coldStart: Subject = {
  name: "cold-start",
  title: "Cold start of a container, connect to first byte; direct: start call and dial loop",
  metrics: [
    { name: "ms", title: "ms", digits: 1 },
    { name: "addedMs", title: "ms above direct", digits: 1, isTailShown: true },
    { name: "ownMs", title: "ms without the start and the program", digits: 1 },
    { name: "ownAddedMs", title: "the same above direct", digits: 1, isTailShown: true },
    { name: "inspections", title: "inspections until the first byte", digits: 0 },
  ],
  references: [],
  isIsolated: false,
  repeat: 7,
  derive: (sample, direct) => ({
    addedMs: (sample["ms"] ?? 0) - (direct["ms"] ?? 0),
    ownAddedMs: (sample["ownMs"] ?? 0) - (direct["ownMs"] ?? 0),
  }),
  async open(owned): Promise<Field> {
    const missing = await missingEngine();
    if (missing !== undefined) return { contestants: [], missing: [`all: no ${missing}`] };
    const proxy = owned.use(await CountingProxy.open());
    const network = owned.use(await Subnet.create(new Dockerode()));
    const contestants = [await direct({ owned, proxy, network })];
    for (const checkout of checkouts) contestants.push(await throughWakeport(checkout, { owned, proxy, network }));
    return { contestants, missing: [] };
  },
};

interface Parts {
  readonly owned: AsyncDisposableStack;
  readonly proxy: CountingProxy;
  readonly network: Subnet;
}

/** A network whose addresses are chosen here. */
class Subnet implements AsyncDisposable {
  readonly name: string;
  readonly #network: Dockerode.Network;
  readonly #base: string;
  #hosts = 10;

  private constructor(name: string, network: Dockerode.Network, base: string) {
    this.name = name;
    this.#network = network;
    this.#base = base;
  }

  static async create(docker: Dockerode): Promise<Subnet> {
    const Name = `wakeport-bench-cold-${await freePort()}`;
    const base = `10.${100 + Math.floor(Math.random() * 100)}.${Math.floor(Math.random() * 250)}`;
    const IPAM = { Driver: "default", Config: [{ Subnet: `${base}.0/24` }] };
    const network = await docker.createNetwork({ Name, Labels: { "wakeport-test": "bench" }, IPAM });
    return new Subnet(Name, network, base);
  }

  /** Returns another address, and the options of a container that has it. */
  next(): { readonly address: string; readonly options: readonly string[] } {
    this.#hosts += 1;
    const address = `${this.#base}.${this.#hosts}`;
    return { address, options: ["--init", "--network", this.name, "--ip", address] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#network.remove();
  }
}

async function direct({ owned, proxy, network }: Parts): Promise<Contestant> {
  const docker = new Dockerode({ socketPath: proxy.socketPath });
  const { address, options } = network.next();
  const name = `wakeport-bench-cold-${await freePort()}`;
  const container = owned.use(await Container.createNode(name, greeter, options));
  const measure = async () => {
    await delay(SETTLE_MS);
    const began = now();
    await docker.getContainer(container.name).start();
    const listened = await greetingInLoop(address);
    const sample = sampleOf(began, listened, proxy);
    await container.stop();
    return sample;
  };
  return { name: "direct", measure };
}

async function throughWakeport(checkout: Checkout, { owned, proxy, network }: Parts): Promise<Contestant> {
  const port = await freePort();
  const { options } = network.next();
  const { name } = owned.use(await Container.createNode(`wakeport-bench-cold-${port}`, greeter, options));
  const yaml = `  cold: { ports: ["127.0.0.1:${port}:${PORT}"], container: ${name}, idle_timeout: 100ms }\n`;
  const sections = `docker: { host: "${proxy.host}" }\n`;
  const wakeport = owned.use(await Wakeport.start(yaml, { checkout, sections }));
  let starts = 0;
  const measure = async () => {
    await delay(SETTLE_MS);
    const before = proxy.requests.length;
    const began = now();
    const listened = await greeting("127.0.0.1", port);
    const sample = sampleOf(began, listened, proxy);
    const inspections = proxy.requests.slice(before).filter((one) => one === `GET /containers/${name}/json`).length;
    starts += 1;
    await asleep(wakeport, starts);
    return { ...sample, inspections };
  };
  return { name: checkout.name, measure };
}

/** Milliseconds of the clock of process.hrtime(). */
function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** @param began the connect @param listened the listen of the program @param proxy has just forwarded the start call */
function sampleOf(began: number, listened: number, { requests, times }: CountingProxy): { ms: number; ownMs: number } {
  const ended = now();
  const started = times[requests.findLastIndex((one) => one.endsWith("/start"))] ?? Number.NaN;
  return { ms: ended - began, ownMs: started - began + ended - listened };
}

async function greetingInLoop(host: string): Promise<number> {
  for (;;) {
    try {
      return await greeting(host, PORT);
    } catch {
      await delay(1);
    }
  }
}

/** Returns when the program listened, in milliseconds. */
async function greeting(host: string, port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const socket = net.connect({ host, port });
  socket.once("data", (bytes) => resolve(Number(bytes.toString()) / 1e6));
  socket.once("error", reject);
  socket.once("close", () => reject(new Error("closed without a byte")));
  return await promise.finally(() => socket.destroy());
}
