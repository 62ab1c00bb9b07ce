/** The memory of connections that are relayed and open, and send nothing. */
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { echoServer, hold, missingCompiler } from "../load.ts";
import { installed, openRelay } from "../relayed.ts";
import { type Relay, relays } from "../relays.ts";
import type { Field, Sample, Subject } from "../subject.ts";

const CONNECTIONS = 10_000;
/** Opened and closed before the measurement, so that what the first connections load does not count. */
const WARM_UP = 500;
const SETTLE_MS = 1_000;
/** Descriptors that a relay needs in addition to those of its connections. */
const RESERVE = 1_500;
const KIB = 1_024;
/** socat forks for each connection, and "direct" has no relay. */
const omitted = ["direct", "socat"];

export const quiet: Subject = {
  name: "quiet",
  title: "Memory of a quiet relayed connection",
  metrics: [
    { name: "kib", title: "resident KiB each", digits: 2 },
    { name: "connections", title: "connections", digits: 0 },
    { name: "before", title: "resident MiB before", digits: 0 },
  ],
  references: ["haproxy"],
  isIsolated: true,
  // The memory varies little.
  maxRounds: 2,
  async open(): Promise<Field> {
    const compiler = missingCompiler();
    if (compiler !== undefined) return { contestants: [], missing: [`all: no ${compiler}`] };
    const { present, missing } = installed(relays.filter(({ name }) => !omitted.includes(name)));
    return { contestants: present.map((relay) => ({ name: relay.name, measure: () => measure(relay) })), missing };
  },
};

/** Starts the relay for each round: memory that was used once stays with a process. */
async function measure(relay: Relay): Promise<Sample> {
  await using owned = new AsyncDisposableStack();
  const { port, costs } = await openRelay(relay, echoServer, owned);
  if (costs === undefined) return {};
  await (await hold(port, WARM_UP)).close();
  await delay(SETTLE_MS);
  const before = costs.residentBytes();
  const connections = Math.min(CONNECTIONS, Math.floor((openFiles() - RESERVE) / relay.descriptors));
  const held = await hold(port, connections);
  owned.defer(() => held.close());
  await delay(SETTLE_MS);
  const kib = (costs.residentBytes() - before) / connections / KIB;
  return { kib, connections, before: before / KIB / KIB };
}

/** The limit of open files, which the relays inherit. */
function openFiles(): number {
  return Number(/^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1] ?? 1_024);
}
