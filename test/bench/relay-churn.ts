/**
 * Drives a TCP relay with many short connections of every kind at once:
 *
 *   node test/bench/relay-churn.ts [--seconds 60] [--relay wakeport] [--seed N]
 *
 * Clients talk to an echo server through the relay and know every byte that must come back. Prints one line of counts
 * and exits with 1 if any connection went wrong or is left open. A seed replays the same plans of the same clients.
 * RSS is that of the relay's first process, so it is not meaningful for relays that fork.
 */
import { randomInt } from "node:crypto";
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { KIB, MIB, payload } from "./payload.ts";
import { dial } from "./ports.ts";
import { exitOnSignals } from "./program.ts";
import { type Random, randomFrom } from "./random.ts";
import { type Relay, relayNamed } from "./relays.ts";
import { type Leftovers, Testbed } from "./testbed.ts";

type Manner = "half-close" | "close after echo" | "reset";

interface Plan {
  readonly manner: Manner;
  readonly message: Buffer;
  /** Echoed bytes after which a client of kind "reset" resets. */
  readonly resetAfter: number;
}

export const FAULTS = ["corrupt", "short", "unclean", "hung"] as const;
export type Fault = (typeof FAULTS)[number];

interface Exchange {
  readonly echoed: number;
  readonly fault: Fault | null;
}

const CLIENTS = 200;
const MAX_MESSAGE = 600 * KIB;
const HALF_CLOSE_SHARE = 0.6;
const CLOSE_AFTER_ECHO_SHARE = 0.2;
const EXCHANGE_TIMEOUT_MS = 20_000;
/** Hundreds of resets may wait at the end, on a busy machine for seconds. */
const CLOSE_GRACE_MS = 10_000;

class Tally {
  readonly faults: Record<Fault, number> = { corrupt: 0, short: 0, unclean: 0, hung: 0 };
  connections = 0;
  bytes = 0;

  add({ echoed, fault }: Exchange): void {
    this.connections += 1;
    this.bytes += echoed;
    if (fault !== null) this.faults[fault] += 1;
  }
}

/** Messages are slices of one random buffer, which reveals bytes of other connections. */
function planFrom(random: Random, noise: Buffer): Plan {
  const size = 1 + Math.floor(random() * MAX_MESSAGE);
  const start = Math.floor(random() * (noise.length - size));
  const message = noise.subarray(start, start + size);
  return { manner: mannerFrom(random()), message, resetAfter: Math.floor(random() * size) };
}

function mannerFrom(share: number): Manner {
  if (share < HALF_CLOSE_SHARE) return "half-close";
  if (share < HALF_CLOSE_SHARE + CLOSE_AFTER_ECHO_SHARE) return "close after echo";
  return "reset";
}

function exchange(port: number, { manner, message, resetAfter }: Plan): Promise<Exchange> {
  const { promise, resolve } = Promise.withResolvers<Exchange>();
  const socket = dial(port);
  const seen = { echoed: 0, isExact: true, hasReset: false, isHung: false, fin: false, failed: false };

  socket.on("data", (chunk: Buffer) => {
    seen.isExact &&= chunk.equals(message.subarray(seen.echoed, seen.echoed + chunk.length));
    seen.echoed += chunk.length;
    if (manner === "close after echo" && seen.echoed >= message.length) socket.end();
    if (manner === "reset" && seen.echoed >= resetAfter) {
      seen.hasReset = true;
      socket.resetAndDestroy();
    }
  });
  socket.on("end", () => {
    seen.fin = true;
    socket.end();
  });
  socket.on("error", () => {
    seen.failed = true;
  });
  const alarm = setTimeout(() => {
    seen.isHung = true;
    socket.destroy();
  }, EXCHANGE_TIMEOUT_MS);
  socket.on("close", () => {
    clearTimeout(alarm);
    resolve({ echoed: seen.echoed, fault: faultOf() });
  });

  function faultOf(): Fault | null {
    if (!seen.isExact) return "corrupt";
    if (seen.isHung) return "hung";
    if (seen.hasReset) return null;
    if (seen.echoed < message.length) return "short";
    return seen.fin && !seen.failed ? null : "unclean";
  }

  socket.write("echo\n");
  socket.write(message);
  if (manner === "half-close") socket.end();
  return promise;
}

async function runClient(testbed: Testbed, random: Random, noise: Buffer, until: number, tally: Tally): Promise<void> {
  while (performance.now() < until) tally.add(await exchange(testbed.port, planFrom(random, noise)));
}

async function churn(testbed: Testbed, seconds: number, seed: number): Promise<Tally> {
  const tally = new Tally();
  const noise = payload(4 * MIB, seed);
  const until = performance.now() + seconds * 1_000;
  const clients = Array.from({ length: CLIENTS }, (_, index) => randomFrom(seed * CLIENTS + index));
  await Promise.all(clients.map((random) => runClient(testbed, random, noise, until, tally)));
  return tally;
}

async function residentMiB(pid: number | null): Promise<string> {
  if (pid === null) return "-";
  const status = await readFile(`/proc/${pid}/status`, "latin1");
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  return kib === undefined ? "-" : (Number(kib) / 1_024).toFixed(0);
}

export interface Churn {
  readonly connections: number;
  readonly bytes: number;
  readonly faults: Readonly<Record<Fault, number>>;
  readonly left: Leftovers;
  /** MiB, before and after; "-" without a relay. */
  readonly resident: readonly [string, string];
}

/** Sends the connections of a seed through a relay for some seconds. */
export async function churnOf(relay: Relay, seconds: number, seed: number): Promise<Churn> {
  await using testbed = await Testbed.open(relay);
  const before = await residentMiB(testbed.relayPid);
  const { connections, bytes, faults } = await churn(testbed, seconds, seed);
  const left = await testbed.leftovers(0, CLOSE_GRACE_MS);
  return { connections, bytes, faults, left, resident: [before, await residentMiB(testbed.relayPid)] };
}

function isFaultless({ faults, left }: Churn): boolean {
  return FAULTS.every((fault) => faults[fault] === 0) && left.atServer + left.atRelay === 0;
}

function summaryOf({ connections, bytes, faults, left, resident }: Churn, seconds: number): string {
  return [
    `${connections} connections in ${seconds} s (${Math.round(connections / seconds)}/s)`,
    `${(bytes / MIB).toFixed(0)} MiB echoed`,
    ...FAULTS.map((fault) => `${fault} ${faults[fault]}`),
    `left open ${left.atServer} at server and ${left.atRelay} at relay`,
    `RSS ${resident.join(" to ")} MiB`,
  ].join(", ");
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0 && value < 2 ** 31) return value;
  throw new Error(`Cannot use --${option} ${text}: expected a whole number above 0`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "60" },
      relay: { type: "string", default: "wakeport" },
      seed: { type: "string", default: String(randomInt(1, 1_000_000)) },
    },
  });
  exitOnSignals();
  const relay = relayNamed(values.relay);
  const [seconds, seed] = [positive("seconds", values.seconds), positive("seed", values.seed)];
  const missing = relay.missing();
  if (missing !== null) throw new Error(`Relay "${relay.name}" is not installed (${missing})`);

  console.log(`seed ${seed}`);
  const churned = await churnOf(relay, seconds, seed);
  console.log(`${relay.name}: ${summaryOf(churned, seconds)}, seed ${seed}`);
  process.exitCode = isFaultless(churned) ? 0 : 1;
}

if (import.meta.main) await main();
