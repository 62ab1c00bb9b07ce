/**
 * A hundred clients send twenty datagrams each, all at once, to a sleeping target that listens only 300 ms after it is
 * up: a container, then a process. Prints the lost datagrams and the remaining flows.
 */
import dgram from "node:dgram";
import { once } from "node:events";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { Container } from "./container.ts";
import { exitOnSignals } from "./program.ts";
import { quantile } from "./statistics.ts";
import { Wakeport } from "./wakeport.ts";

const CLIENTS = Number(process.argv[2] ?? 100);
const DATAGRAMS = Number(process.argv[3] ?? 20);
const DEADLINE_MS = 30_000;

/** A script for Node: an echo server for datagrams. */
const echo = (host: string, port: number): string => `
  const socket = require("dgram").createSocket("udp4");
  socket.on("message", (datagram, { port, address }) => socket.send(datagram, port, address));
  setTimeout(() => socket.bind(${port}, "${host}"), 300);`;

interface Visitor {
  readonly sent: readonly string[];
  readonly received: string[];
  readonly times: number[];
}

async function visitors(port: number): Promise<{ all: Visitor[]; send: () => void; close: () => void }> {
  const sockets: dgram.Socket[] = [];
  const all: Visitor[] = [];
  let began = 0;
  for (let index = 0; index < CLIENTS; index += 1) {
    const sent = Array.from({ length: DATAGRAMS }, (_, datagram) => `client ${index}, datagram ${datagram}`);
    const visitor: Visitor = { sent, received: [], times: [] };
    const socket = dgram.createSocket("udp4");
    socket.on("message", (datagram) => {
      visitor.received.push(datagram.toString());
      visitor.times.push(performance.now() - began);
    });
    socket.connect(port, "127.0.0.1");
    await once(socket, "connect");
    sockets.push(socket);
    all.push(visitor);
  }
  const send = (): void => {
    began = performance.now();
    for (const [index, { sent }] of all.entries()) for (const text of sent) sockets[index]?.send(text);
  };
  return { all, send, close: () => sockets.forEach((socket) => socket.close()) };
}

/** The samples of one metric, by their labels. */
async function metric(wakeport: Wakeport, name: string): Promise<Map<string, number>> {
  const answer = await fetch(`http://127.0.0.1:${wakeport.adminPort}/metrics`, { signal: AbortSignal.timeout(5_000) });
  const lines = (await answer.text()).split("\n").filter((line) => line.startsWith(`${name}{`));
  return new Map(lines.map((line) => [line.slice(name.length, line.lastIndexOf(" ")), Number(line.split(" ").at(-1))]));
}

/** Returns false if `holds` stays false. */
function becomesTrue(what: string, holds: () => boolean | Promise<boolean>): Promise<boolean> {
  return eventually(what, holds, DEADLINE_MS).then(
    () => true,
    () => false,
  );
}

async function measure(title: string, listenPort: number, port: number, target: string): Promise<boolean> {
  await using wakeport = await Wakeport.start(
    `  udp: { ports: ["127.0.0.1:${listenPort}:${port}/udp"], ${target}, idle_timeout: 500ms, udp: { flow_timeout: 2s } }\n`,
  );
  const { all, send, close } = await visitors(listenPort);
  send();
  const total = CLIENTS * DATAGRAMS;
  const answered = (): number => all.reduce((sum, { received }) => sum + received.length, 0);
  await becomesTrue("all datagrams are answered", () => answered() >= total);
  const inOrder = all.filter(({ sent, received }) => received.join() === sent.join()).length;
  const times = all.flatMap((visitor) => visitor.times);
  const spread = [0, 0.5, 1].map((share) => Math.round(quantile(times, share)));
  const flows = [...(await metric(wakeport, "wakeport_flows_active")).values()][0];
  const isEmpty = await becomesTrue(
    "no flow is left",
    async () => [...(await metric(wakeport, "wakeport_flows_active")).values()][0] === 0,
  );
  const sleeps = await becomesTrue("the target sleeps", () => wakeport.records("target.asleep").length === 1);
  close();
  const starts = wakeport.records("target.starting").length;
  console.log(
    `${title}: ${CLIENTS} clients × ${DATAGRAMS} datagrams, ${starts} start, ${total - answered()} lost, ` +
      `${inOrder} clients got all of theirs in order; answers after ${spread[0]} ms, median ${spread[1]} ms, last ` +
      `${spread[2]} ms; ${flows} flows, afterwards ${isEmpty ? "none" : "SOME LEFT"}; ${sleeps ? "asleep" : "STILL AWAKE"}`,
  );
  for (const [labels, count] of await metric(wakeport, "wakeport_datagrams_dropped_total")) {
    if (count > 0) console.log(`  dropped ${labels}: ${count}`);
  }
  return answered() === total && inOrder === CLIENTS && starts === 1 && isEmpty && sleeps;
}

exitOnSignals();
const listenPort = await freePort();
await using container = await Container.createNode(`wakeport-bench-udp-${listenPort}`, echo("0.0.0.0", 7777), [
  "--init",
]);
const held = await measure("container", listenPort, 7777, `container: ${container.name}`);
const upstream = await freePort();
const command = JSON.stringify([process.execPath, "-e", echo("127.0.0.1", upstream)]);
const ran = await measure(
  "process",
  await freePort(),
  upstream,
  `process: { command: ${command}, listen: "127.0.0.1:${upstream}" }`,
);
process.exitCode = held && ran ? 0 : 1;
