/**
 * A chain of five containers, each of which needs the next: from the connect to the first byte, beside the sum and the
 * longest of what five like them take alone, through wakeport as well, measured in the same run, in turns. Each is started
 * when its dependency is ready, so the sum is expected; the excess is caused by wakeport.
 */
import net from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../support/free-port.ts";
import { Container } from "./container.ts";
import { exitOnSignals } from "./program.ts";
import { median } from "./statistics.ts";
import { Wakeport } from "./wakeport.ts";

const ROUNDS = Number(process.argv[2] ?? 5);
const LENGTH = 5;
const ANSWER_MS = 30_000;
const SLEEP_MS = 20_000;
/** The allowed excess of a chain over the sum, as a share. */
const BAR = 0.1;
const greeter = `require("net").createServer((s) => { s.on("error", () => {}); s.end("hello\\n"); }).listen(7)`;

/** A container, and the port that wakes it. */
interface Link {
  readonly listenPort: number;
  readonly container: Container;
}

async function firstByte(port: number): Promise<number> {
  const began = performance.now();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = net.connect({ host: "127.0.0.1", port });
  const timer = setTimeout(() => reject(new Error(`no reply within ${ANSWER_MS / 1000} s`)), ANSWER_MS);
  socket.once("data", () => resolve());
  socket.once("error", reject);
  await promise.finally(() => {
    clearTimeout(timer);
    socket.destroy();
  });
  return performance.now() - began;
}

/** Waits until `count` sleeps were logged in all. */
async function slept(wakeport: Wakeport, count: number): Promise<void> {
  const limit = performance.now() + SLEEP_MS;
  while (wakeport.records("target.asleep").length < count) {
    if (performance.now() > limit) throw new Error("not all targets sleep");
    await delay(10);
  }
}

async function makeLinks(kind: string, owned: AsyncDisposableStack): Promise<Link[]> {
  const links: Link[] = [];
  for (let index = 0; index < LENGTH; index += 1) {
    const listenPort = await freePort();
    const container = await Container.createNode(`wakeport-bench-${kind}-${listenPort}`, greeter, ["--init"]);
    links.push({ listenPort, container: owned.use(container) });
  }
  return links;
}

/** YAML of one service. */
function service(name: string, { listenPort, container }: Link, needs?: string): string {
  const dependsOn = needs === undefined ? "" : `, depends_on: [${needs}]`;
  return `  ${name}: { ports: ["${listenPort}:7"], container: ${container.name}, idle_timeout: 50ms${dependsOn} }\n`;
}

exitOnSignals();
await using owned = new AsyncDisposableStack();
const chain = await makeLinks("chain", owned);
const alone = await makeLinks("alone", owned);
const services = [
  ...chain.map((link, index) => service(`chain-${index}`, link, index + 1 < LENGTH ? `chain-${index + 1}` : undefined)),
  ...alone.map((link, index) => service(`alone-${index}`, link)),
];
await using wakeport = await Wakeport.start(services.join(""));
const head = chain[0];
if (head === undefined) throw new Error("a chain has a first link");

const [wakes, sums, longest]: [number[], number[], number[]] = [[], [], []];
let sleeps = 0;
for (let round = 0; round < ROUNDS; round += 1) {
  const own: number[] = [];
  for (const { listenPort } of alone) {
    own.push(await firstByte(listenPort));
    sleeps += 1;
    await slept(wakeport, sleeps);
  }
  sums.push(own.reduce((sum, ms) => sum + ms));
  longest.push(Math.max(...own));
  wakes.push(await firstByte(head.listenPort));
  sleeps += LENGTH;
  await slept(wakeport, sleeps);
}

const [wake, sum] = [median(wakes), median(sums)];
const more = wake / sum - 1;
console.log(
  `a chain of ${LENGTH}, connect to first byte, median of ${ROUNDS}: ${wake.toFixed(0)} ms; alone they take ` +
    `${sum.toFixed(0)} ms in sum and ${median(longest).toFixed(0)} ms at the longest; beyond the sum: ` +
    `${(wake - sum).toFixed(0)} ms, ${(more * 100).toFixed(1)} % (bar: ${BAR * 100} %)`,
);
process.exitCode = more <= BAR ? 0 : 1;
