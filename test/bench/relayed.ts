import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../support/free-port.ts";
import { cpuSecondsOfTree, residentBytesOfTree } from "./cpu.ts";
import { missingCompiler } from "./load.ts";
import { dialWhenOpen } from "./ports.ts";
import { Program } from "./program.ts";
import { type Relay, relays } from "./relays.ts";
import type { Contestant, Field, Sample } from "./subject.ts";

const START_MS = 15_000;
/** A relay closes connections, and a parent reaps children, after the client has ended. */
const SETTLE_MS = 50;

/** A running relay with a server of its own behind it: a port shared by all would run out of closed connections. */
export interface Relayed {
  /** Where clients connect. */
  readonly port: number;
  /** Undefined if clients connect to the server itself. */
  readonly costs: Costs | undefined;
}

/** What a relay has used so far, without its server. */
export interface Costs {
  cpuSeconds(): Promise<number>;
  residentBytes(): number;
}

/** The command that starts a server on a port of 127.0.0.1; the first word is a path. */
export type Serve = (port: number) => readonly string[];

/** Starts a relay and its server, and waits until a client is connected. `owned` ends both. */
export async function openRelay(relay: Relay, serve: Serve, owned: AsyncDisposableStack): Promise<Relayed> {
  const port = await freePort();
  const command = serve(port);
  if (!relay.startsUpstream) {
    const program = await Program.start(command);
    owned.defer(() => program.stop());
    await connectsTo(port, program);
  }
  const running = await relay.start({ port, command });
  owned.defer(() => running.stop());
  await connectsTo(running.port, running.program);
  return {
    port: running.port,
    costs: running.program === null ? undefined : costsOf(running.program.pid, command[0] ?? ""),
  };
}

async function connectsTo(port: number, program: Program | null): Promise<void> {
  const timeout = AbortSignal.timeout(START_MS);
  const signal = program === null ? timeout : AbortSignal.any([timeout, program.ended]);
  (await dialWhenOpen(port, signal)).destroy();
}

function costsOf(pid: number, server: string): Costs {
  return {
    async cpuSeconds() {
      await delay(SETTLE_MS);
      return cpuSecondsOfTree(pid, server);
    },
    residentBytes: () => residentBytesOfTree(pid, server),
  };
}

/** Splits relays into those that can run here and the reasons why the others cannot. */
export function installed(relays: readonly Relay[]): { present: readonly Relay[]; missing: readonly string[] } {
  const found = relays.map((relay) => ({ relay, lacks: relay.missing() }));
  return {
    present: found.flatMap(({ relay, lacks }) => (lacks === null ? [relay] : [])),
    missing: found.flatMap(({ relay, lacks }) => (lacks === null ? [] : [`${relay.name} (${lacks})`])),
  };
}

/** Starts all relays that can run here, each with a server in C of its own. */
export async function relayField(
  owned: AsyncDisposableStack,
  serve: Serve,
  measure: (relayed: Relayed) => Promise<Sample>,
): Promise<Field> {
  const compiler = missingCompiler();
  if (compiler !== undefined) return { contestants: [], missing: [`all: no ${compiler}`] };
  const { present, missing } = installed(relays);
  const contestants: Contestant[] = [];
  for (const relay of present) {
    const relayed = await openRelay(relay, serve, owned);
    contestants.push({ name: relay.name, measure: () => measure(relayed) });
  }
  return { contestants, missing };
}
