/**
 * Random first bytes of clients, damaged, in pieces and truncated, for the real program, which parses HTTP heads,
 * ClientHellos, PROXY headers and FTP lines. Checks that it runs afterwards, its memory, and that each client that
 * was accepted is counted once. Arguments: how many of each (default 100,000), and a seed.
 */
import net from "node:net";
import { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import tls from "node:tls";
import fc from "fast-check";
import { proxyHeader } from "../../src/net/proxy-protocol.ts";
import { freePort } from "../support/free-port.ts";
import { cuts, damage } from "../support/proxy/fuzz.ts";
import { memoryMiB } from "./memory.ts";
import { exitOnSignals } from "./program.ts";
import { Wakeport } from "./wakeport.ts";

const CASES = Number(process.argv[2] ?? 100_000);
const SEED = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 31));
const AT_A_TIME = 64;
/** Several source addresses, because each has about 28,000 ports. */
const ADDRESSES = 200;
/** One in so many clients stays silent until it is closed. */
const SILENT_ONE_IN = 500;
/** The five seconds of wakeport's deadline, and a margin for a busy machine. */
const DEADLINE_MS = 15_000;
const SETTLE_MS = 15_000;

type Leaving = "end" | "reset" | "silence";

interface Case {
  readonly bytes: Buffer;
  readonly cuts: readonly number[];
  readonly leaving: Leaving;
}

interface Subject {
  readonly title: string;
  readonly words: fc.Arbitrary<Buffer>;
  /** YAML. */
  readonly services: (listenPort: number) => Promise<string>;
  /** Whether silent clients must be closed. */
  readonly hasDeadline: boolean;
}

async function helloOf(servername: string): Promise<Buffer> {
  const sent = Promise.withResolvers<Buffer>();
  const socket = new Duplex({ read: () => {}, write: (chunk: Buffer) => sent.resolve(chunk) });
  const client = tls.connect({ socket, servername }).on("error", () => {});
  const hello = await sent.promise;
  client.destroy();
  return hello;
}

const hosts = ["app.test", "web.test", "other.test"];
const hellos = await Promise.all(hosts.map(helloOf));
const requests = hosts.map((host) =>
  Buffer.from(`GET /a?b HTTP/1.1\r\nHost: ${host}\r\nAccept: */*\r\n\r\nand a body`),
);
const addresses = { peer: { address: "203.0.113.9", port: 4_711 }, local: { address: "198.51.100.1", port: 21 } };
const headers = (["v1", "v2"] as const).map((version) =>
  Buffer.concat([proxyHeader(version, addresses), requests[0]!]),
);
const lines =
  "USER a\r\nPASV\r\nEPSV\r\nPORT 127,0,0,1,200,1\r\nEPRT |1|127.0.0.1|2000|\r\nAUTH TLS\r\nNOOP\r\nQUIT\r\n";
const channel = fc.shuffledSubarray(lines.split(/(?<=\n)/), { minLength: 1 }).map((some) => Buffer.from(some.join("")));

const named = (kind: "host" | "sni", listenPort: number): string =>
  hosts
    .slice(0, 2)
    .map((name, index) => `  s${index}: { ports: ["127.0.0.1:${listenPort}"], ${kind}: ${name}, builtin: discard }\n`)
    .join("");
/** Sends a greeting, and the same reply to every line. */
const server = `require("net").createServer((s) => s.on("error", () => {})
  .on("data", (all) => all.filter((byte) => byte === 10).forEach(() => s.write("200 so be it\\r\\n")))
  .write("220 hello\\r\\n")).listen(Number(process.argv[1]), "127.0.0.1")`;

async function ftp(listenPort: number): Promise<string> {
  const port = await freePort();
  const command = JSON.stringify([process.execPath, "-e", server, String(port)]);
  return `  ftp: { ports: ["127.0.0.1:${listenPort}"], protocol: ftp, process: { command: ${command}, listen: "127.0.0.1:${port}" } }\n`;
}

const subjects: readonly Subject[] = [
  {
    title: "heads of HTTP",
    words: fc.constantFrom(...requests),
    services: async (listenPort) => named("host", listenPort),
    hasDeadline: true,
  },
  {
    title: "ClientHellos of TLS",
    words: fc.constantFrom(...hellos),
    services: async (listenPort) => named("sni", listenPort),
    hasDeadline: true,
  },
  {
    title: "PROXY headers",
    words: fc.constantFrom(...headers),
    services: async (listenPort) =>
      `  p: { ports: ["127.0.0.1:${listenPort}"], proxy_protocol: { receive: [127.0.0.0/8] }, builtin: discard }\n`,
    hasDeadline: true,
  },
  { title: "lines of FTP", words: channel, services: ftp, hasDeadline: false },
];

function* cases({ words, hasDeadline }: Subject): Generator<Case> {
  const harm = fc.oneof({ weight: 3, arbitrary: damage }, { weight: 1, arbitrary: fc.constant((all: Buffer) => all) });
  const leaving = fc.constantFrom<Leaving>("end", "reset");
  const one = fc.tuple(words, harm, cuts, leaving);
  for (const [index, [hello, change, at, left]] of fc.sample(one, { numRuns: CASES, seed: SEED }).entries()) {
    const isSilent = hasDeadline && index % SILENT_ONE_IN === 0;
    const bytes = change(hello);
    // A small part, so that bytes are missing.
    if (isSilent) yield { bytes: bytes.subarray(0, bytes.length >> 3), cuts: at, leaving: "silence" };
    else yield { bytes, cuts: at, leaving: left };
  }
}

/** @returns whether the connection ended in time */
async function send({ bytes, cuts: at, leaving }: Case, index: number, port: number): Promise<boolean> {
  const localAddress = `127.0.1.${1 + (index % ADDRESSES)}`;
  const socket = net.connect({
    port,
    host: "127.0.0.1",
    localAddress,
    noDelay: true,
    allowHalfOpen: leaving !== "end",
  });
  const closed = new Promise((resolve) => socket.once("close", resolve));
  const timer = setTimeout(() => socket.destroy(new Error("late")), DEADLINE_MS);
  let isLate = false;
  socket.on("error", (error) => {
    isLate ||= error.message === "late";
  });
  if (leaving === "silence") socket.once("end", () => socket.end());
  socket.resume();
  const lengths = [...at.map((share) => Math.floor(share * bytes.length)).sort((a, b) => a - b), bytes.length];
  for (const [place, length] of lengths.entries()) {
    if (!socket.destroyed) socket.write(bytes.subarray(lengths[place - 1] ?? 0, length));
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (leaving === "end") socket.end();
  else if (leaving === "reset") socket.resetAndDestroy();
  await closed;
  clearTimeout(timer);
  return !isLate;
}

/** The sum of a metric over all of its labels. */
async function sum(wakeport: Wakeport, name: string): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${wakeport.adminPort}/metrics`, { signal: AbortSignal.timeout(5_000) });
  const samples = (await answer.text()).split("\n").filter((line) => line.startsWith(`${name}{`));
  return samples.reduce((total, line) => total + Number(line.split(" ").at(-1)), 0);
}

async function measure(subject: Subject): Promise<boolean> {
  const listenPort = await freePort();
  await using wakeport = await Wakeport.start(await subject.services(listenPort));
  const before = (await memoryMiB(wakeport.pid)).rss;
  let [most, hung, index] = [before, 0, 0];
  const watching = setInterval(async () => {
    most = Math.max(most, (await memoryMiB(wakeport.pid).catch(() => ({ rss: 0 }))).rss);
  }, 500);
  const all = cases(subject);
  const visitor = async (): Promise<void> => {
    for (const one of all) {
      index += 1;
      if (await send(one, index, listenPort)) continue;
      hung += 1;
      console.log(`  not ended in time: ${JSON.stringify({ ...one, bytes: one.bytes.toString("latin1") })}`);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, visitor));
  clearInterval(watching);
  const counted = async (): Promise<number> =>
    (await sum(wakeport, "wakeport_connections_total")) + (await sum(wakeport, "wakeport_unrouted_total"));
  const limit = performance.now() + SETTLE_MS;
  while ((await counted()) < CASES && performance.now() < limit) await delay(100);
  const [total, active] = [await counted(), await sum(wakeport, "wakeport_connections_active")];
  console.log(
    `${subject.title}: ${CASES} cases (seed ${SEED}), ${total} counted, ${active} left open, ${hung} not ended in time; ` +
      `${before.toFixed(0)} MiB before, ${most.toFixed(0)} MiB at most`,
  );
  return total === CASES && active === 0 && hung === 0;
}

exitOnSignals();
let isGood = true;
for (const subject of subjects) isGood = (await measure(subject)) && isGood;
process.exitCode = isGood ? 0 : 1;
