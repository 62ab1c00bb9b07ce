/**
 * Plays random schedules through wakeport: each side sends a random number of bytes in random pieces, reads at its own
 * speed, and ends by FIN, by a reset, or by both:
 *
 *   node test/bench/relay-schedules.ts [--count 1000] [--clients 24] [--seed N] [splice] [node] [RELAY...]
 *
 * Each byte is checked, and that the other side sees the end as it would without a relay. Exits with 1 if a schedule
 * went wrong or a socket is left open. `direct` has no relay: it proves the harness, and other relays that it finds
 * errors. A seed replays the same plans.
 */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import net from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { StatusReport } from "../../src/admin/api.ts";
import { freePort } from "../support/free-port.ts";
import { KIB, MIB, payload } from "./payload.ts";
import { dialWhenOpen } from "./ports.ts";
import { randomFrom } from "./random.ts";
import { relayNamed } from "./relays.ts";
import { planFrom, play, problemsOf, type Schedule } from "./schedule.ts";
import { Wakeport } from "./wakeport.ts";

/** Several source addresses, because each has a limited number of ports. */
const SOURCES = 8;
const CLOSE_MS = 5_000;

interface Subject extends AsyncDisposable {
  readonly port: number;
  /** Undefined without a relay. */
  readonly pid: number | undefined;
}

async function open(name: string, upstream: number): Promise<Subject> {
  if (name !== "splice" && name !== "node") {
    const { port, program, stop } = await relayNamed(name).start({ port: upstream, command: [] });
    const probe = await dialWhenOpen(port, AbortSignal.timeout(CLOSE_MS));
    await once(probe.end().resume(), "close");
    return { port, pid: program?.pid, [Symbol.asyncDispose]: stop };
  }
  const port = await freePort();
  const wakeport = await Wakeport.start(
    `  a: { ports: ["127.0.0.1:${port}"], forward: "127.0.0.1:${upstream}", relay: ${name} }`,
  );
  while (name === "splice" && !(await isUp(wakeport))) await delay(20);
  return { port, pid: wakeport.pid, [Symbol.asyncDispose]: () => wakeport[Symbol.asyncDispose]() };
}

async function isUp({ adminPort }: Wakeport): Promise<boolean> {
  const response = await fetch(`http://127.0.0.1:${adminPort}/api/v1/services`);
  return ((await response.json()) as StatusReport).data_plane?.state === "up";
}

/** Connects through the relay. One connection is opened at a time, so the next accepted one is its other end. */
class Connector {
  readonly #server: net.Server;
  readonly #port: () => number;
  #last: Promise<unknown> = Promise.resolve();

  constructor(server: net.Server, port: () => number) {
    this.#server = server;
    this.#port = port;
  }

  connect(index: number): Promise<readonly [net.Socket, net.Socket]> {
    const opened = this.#last.then(async () => {
      const accepted = once(this.#server, "connection") as Promise<[net.Socket]>;
      const localAddress = `127.0.0.${2 + (index % SOURCES)}`;
      const options = { port: this.#port(), host: "127.0.0.1", localAddress, allowHalfOpen: true, noDelay: true };
      const client = net.connect(options);
      client.on("error", () => {});
      await once(client, "connect");
      const [server] = await accepted;
      return [client, server] as const;
    });
    this.#last = opened.catch(() => {});
    return opened;
  }
}

function socketsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith("socket:");
    } catch {
      return false;
    }
  }).length;
}

/** Returns the number of sockets that a process has open above `before`, after a time for closing. */
async function leaked(pid: number, before: number): Promise<number> {
  const deadline = performance.now() + CLOSE_MS;
  while (socketsOf(pid) > before && performance.now() < deadline) await delay(50);
  return Math.max(0, socketsOf(pid) - before);
}

export interface ScheduleOptions {
  readonly count: number;
  /** Connections at a time. */
  readonly clients: number;
  readonly seed: number;
}

export interface Played {
  /** A line for each schedule that went wrong. */
  readonly problems: readonly string[];
  /** Sockets of the relay that stayed open. */
  readonly left: number;
}

/** Plays schedules through a relay: `splice` or `node` of wakeport, or a name of relays.ts. */
export async function playThrough(name: string, options: ScheduleOptions): Promise<Played> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true });
  // The connection of a probe.
  server.once("connection", (socket) => socket.end().resume());
  server.listen({ port: 0, host: "127.0.0.1", backlog: 512 });
  await once(server, "listening");
  await using subject = await open(name, (server.address() as net.AddressInfo).port);
  server.removeAllListeners("connection");
  const before = subject.pid === undefined ? 0 : socketsOf(subject.pid);
  const connector = new Connector(server, () => subject.port);
  const bytes = payload(4 * MIB, options.seed);
  const problems: string[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    for (let index = next++; index < options.count; index = next++) {
      const plan = planFrom(randomFrom(options.seed * 100_003 + index));
      const [client, upstream] = await connector.connect(index);
      const schedule: Schedule = { plan, client, upstream, bytes };
      const found = problemsOf(plan, await play(schedule));
      if (found.length > 0) problems.push(`  schedule ${index}: ${found.join("; ")}; ${JSON.stringify(plan)}`);
    }
  };
  await Promise.all(Array.from({ length: options.clients }, work));
  const left = subject.pid === undefined ? 0 : await leaked(subject.pid, before);
  server.close();
  return { problems, left };
}

async function measure(name: string, options: ScheduleOptions): Promise<boolean> {
  const began = performance.now();
  const { problems, left } = await playThrough(name, options);
  const seconds = ((performance.now() - began) / 1_000).toFixed(0);
  console.log(`${name}: ${options.count} schedules in ${seconds} s, ${problems.length} bad, ${left} sockets left open`);
  for (const problem of problems.slice(0, 12)) console.log(problem);
  return problems.length === 0 && left === 0;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: {
      count: { type: "string", default: "1000" },
      clients: { type: "string", default: "24" },
      seed: { type: "string", default: String(randomInt(1, 100_000)) },
    },
    allowPositionals: true,
  });
  const options = { count: Number(values.count), clients: Number(values.clients), seed: Number(values.seed) };
  console.log(`seed ${options.seed}, sizes up to ${(3 * MIB) / KIB} KiB`);
  for (const name of positionals.length === 0 ? ["direct", "splice", "node"] : positionals) {
    if (!(await measure(name, options))) process.exitCode = 1;
  }
}

if (import.meta.main) await main();
