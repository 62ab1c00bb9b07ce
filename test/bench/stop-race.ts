/**
 * Clients that connect at a random moment of the idle stop, its grace included: to targets that close their listener
 * on SIGTERM and linger, and to targets that ignore SIGTERM. No client may be lost or stopped while it is served.
 */
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { freePort } from "../support/free-port.ts";
import { echoServer, type Visit, visit } from "./clients.ts";
import { Container } from "./container.ts";
import { exitOnSignals } from "./program.ts";
import { quantile } from "./statistics.ts";
import { Wakeport } from "./wakeport.ts";

const IDLE_MS = 200;
const GRACE_MS = 1_000;
/** Clients connect at any time from the end of the idle timeout until well after the kill. */
const WINDOW_MS = GRACE_MS + 500;
const DEADLINE_MS = 60_000;

const targets = {
  "closes its listener on SIGTERM": `process.on("SIGTERM", () => { server.close(); setTimeout(() => process.exit(0), 400); })`,
  "ignores SIGTERM": `process.on("SIGTERM", () => {})`,
};

/** Seeded, so that a printed seed replays the moments of a run (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function cycles(listenPort: number, count: number, next: () => number): Promise<Visit[]> {
  const visits = [await visit(listenPort, "first", DEADLINE_MS)];
  for (let cycle = 1; cycle <= count; cycle += 1) {
    await delay(IDLE_MS + next() * WINDOW_MS);
    visits.push(await visit(listenPort, `cycle ${cycle}`, DEADLINE_MS));
  }
  return visits;
}

exitOnSignals();
const { values } = parseArgs({
  options: {
    cycles: { type: "string", default: "500" },
    parallel: { type: "string", default: "5" },
    seed: { type: "string" },
  },
});
const perKind = Math.ceil(Number(values.cycles) / 2 / Number(values.parallel));
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const next = random(seed);

await using stack = new AsyncDisposableStack();
const listeners: { kind: string; listenPort: number }[] = [];
let services = "";
for (const [kind, more] of Object.entries(targets)) {
  for (let index = 0; index < Number(values.parallel); index += 1) {
    const listenPort = await freePort();
    const name = `wakeport-bench-race-${listenPort}`;
    stack.use(await Container.createNode(name, echoServer("backlog: 511", more)));
    services += `  race-${listenPort}: { ports: ["${listenPort}:7"], container: ${name}, idle_timeout: ${IDLE_MS}ms, stop_grace: ${GRACE_MS / 1000}s }\n`;
    listeners.push({ kind, listenPort });
  }
}
const wakeport = stack.use(await Wakeport.start(services));
const results = await Promise.all(
  listeners.map(async ({ kind, listenPort }) => ({ kind, visits: await cycles(listenPort, perKind, next) })),
);

let isFaultless = true;
for (const kind of Object.keys(targets)) {
  const visits = results.filter((result) => result.kind === kind).flatMap((result) => result.visits);
  const lost = visits.filter(({ ok }) => !ok);
  isFaultless &&= lost.length === 0;
  const p99 = Math.round(
    quantile(
      visits.map(({ ms }) => ms),
      0.99,
    ),
  );
  console.log(`target that ${kind}: ${visits.length} connections, ${lost.length} lost, p99 ${p99} ms, seed ${seed}`);
  for (const { error } of lost.slice(0, 5)) console.log(`  ${error}`);
}
// A target that was stopped during a connection does not end it cleanly.
const cut = wakeport
  .records("connection.closed")
  .filter(({ outcome, end }) => outcome !== "relayed" || end !== "clean");
const sleeps = wakeport.records("target.asleep").length;
const waited = wakeport.records("connection.closed").filter(({ start }) => start === "cold").length;
console.log(
  `${sleeps} stops, ${waited} connections came while the target slept or stopped, ${cut.length} not relayed clean`,
);
for (const record of cut.slice(0, 5)) console.log(`  ${JSON.stringify(record)}`);
process.exitCode = isFaultless && cut.length === 0 ? 0 : 1;
