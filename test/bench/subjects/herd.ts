/**
 * A thousand clients that connect at once to a sleeping container, also to one whose listen backlog is 10. The row
 * "direct" connects to the same server without wakeport, while it runs. With a backlog of 10 that takes a minute.
 */
import { freePort } from "../../support/free-port.ts";
import { type Checkout, checkouts } from "../checkouts.ts";
import { echoServer } from "../clients.ts";
import { Container } from "../container.ts";
import { connects, missingCompiler } from "../load.ts";
import { dialWhenOpen } from "../ports.ts";
import type { Contestant, Field, Sample, Subject } from "../subject.ts";
import { asleep, missingEngine } from "../targets.ts";
import { Wakeport } from "../wakeport.ts";

const CLIENTS = 1_000;
const PORT = 7;
const START_MS = 15_000;
/** Node's default, and one that overflows. */
const [USUAL, SHORT] = [511, 10];

export const herd: Subject = {
  name: "herd",
  title: `${CLIENTS} clients at once, at a sleeping container`,
  metrics: [
    { name: "starts", title: "starts", digits: 0 },
    { name: "afterReadyMs", title: "last echo, ms after ready", digits: 0 },
    { name: "medianMs", title: "median, ms after connect", digits: 0 },
    { name: "lastMs", title: "last, ms after connect", digits: 0 },
  ],
  references: [],
  isIsolated: false,
  // A round takes half a minute.
  maxRounds: 2,
  async open(owned): Promise<Field> {
    const compiler = missingCompiler();
    const missing = compiler === undefined ? await missingEngine() : compiler;
    if (missing !== undefined) return { contestants: [], missing: [`all: no ${missing}`] };
    const contestants = [await direct(USUAL, owned)];
    for (const backlog of [USUAL, SHORT]) {
      for (const checkout of checkouts) contestants.push(await throughWakeport(checkout, backlog, owned));
    }
    return { contestants, missing: [] };
  },
};

async function createEcho(backlog: number, owned: AsyncDisposableStack): Promise<Container> {
  const name = `wakeport-bench-herd-${await freePort()}`;
  return owned.use(await Container.createNode(name, echoServer(`backlog: ${backlog}`), ["--init"]));
}

async function direct(backlog: number, owned: AsyncDisposableStack): Promise<Contestant> {
  const container = await createEcho(backlog, owned);
  const measure = async (): Promise<Sample> => {
    await container.start();
    const host = await container.address();
    (await dialWhenOpen(PORT, AbortSignal.timeout(START_MS), host)).destroy();
    const { p50Us, maxUs } = await connects(PORT, CLIENTS, 0, host);
    await container.stop();
    return { medianMs: p50Us / 1e3, lastMs: maxUs / 1e3 };
  };
  return { name: `direct, awake, backlog ${backlog}`, measure };
}

async function throughWakeport(checkout: Checkout, backlog: number, owned: AsyncDisposableStack): Promise<Contestant> {
  const { name } = await createEcho(backlog, owned);
  const port = await freePort();
  const yaml = `  herd: { ports: ["127.0.0.1:${port}:${PORT}"], container: ${name}, idle_timeout: 100ms, stop_grace: 1s }\n`;
  const wakeport = owned.use(await Wakeport.start(yaml, { checkout }));
  let sleeps = 0;
  const measure = async (): Promise<Sample> => {
    const before = wakeport.records("target.starting").length;
    const { p50Us, maxUs, endedMs } = await connects(port, CLIENTS, 0);
    const ready = Date.parse(String(wakeport.records("target.ready").at(-1)?.["time"]));
    sleeps += 1;
    await asleep(wakeport, sleeps);
    const starts = wakeport.records("target.starting").length - before;
    return { starts, afterReadyMs: endedMs - ready, medianMs: p50Us / 1e3, lastMs: maxUs / 1e3 };
  };
  return { name: `${checkout.name}, backlog ${backlog}`, measure };
}
