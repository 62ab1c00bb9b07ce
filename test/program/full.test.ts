/** `wakeport run` with few descriptors, while silent clients take all available slots. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connecting, type Peer } from "../support/net/tcp.ts";
import { UdpClient } from "../support/net/udp.ts";
import { Program } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const OPEN_FILES = 400;
const MANY = 300;
const echo = `require("net").createServer((s) => { s.on("error", () => {}); s.pipe(s); }).listen(Number(process.argv[1]), "127.0.0.1")`;
const sink = `require("dgram").createSocket("udp4").bind(Number(process.argv[1]), "127.0.0.1")`;

interface Bench extends AsyncDisposable {
  readonly program: Program;
  readonly web: number;
  readonly lazy: number;
  readonly log: number;
}

/** Three services: `web` serves other clients, `lazy` waits for a first byte, `log` receives datagrams and does not reply. */
async function start(): Promise<Bench> {
  await using stack = new AsyncDisposableStack();
  const [web, webUp, lazy, lazyUp, admin] = await Promise.all(Array.from({ length: 5 }, () => freePort()));
  const [log, logUp] = [await freePort(), await freePort()];
  const target = (program: string, port: number | undefined): string =>
    `process: { command: ${JSON.stringify([process.execPath, "-e", program, String(port)])}, listen: "127.0.0.1:${port}" }`;
  const yaml = `admin: { listen: "127.0.0.1:${admin}" }
services:
  web: { ports: ["127.0.0.1:${web}"], ${target(echo, webUp)} }
  lazy: { ports: ["127.0.0.1:${lazy}"], ${target(echo, lazyUp)}, wake_on: first_byte }
  log: { ports: ["127.0.0.1:${log}/udp"], ${target(sink, logUp)}, udp: { flow_timeout: 10m } }
`;
  const file = stack.use(await temporaryFile("wakeport.yaml", yaml));
  const program = stack.use(new Program(["run", "-c", file.path], {}, OPEN_FILES));
  await program.logged("started");
  const owned = stack.move();
  return { program, web: web!, lazy: lazy!, log, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function isServed(port: number, from?: string): Promise<void> {
  using client = connecting(port, "127.0.0.1", from);
  client.send("hello");
  await client.receives(5);
  assert.equal(client.text, "hello");
}

/** The number of rejected clients of a service. */
function refused({ program }: Bench, service: string): number {
  return program.log.filter((line) => line["service"] === service && line["outcome"] === "denied_limit").length;
}

suite("wakeport run with all slots taken", () => {
  test("silent clients of a wake_on: first_byte service block neither its own clients nor those of other services", async () => {
    await using bench = await start();
    await using silent = await manyClients(bench.lazy);
    await eventually("a silent client is evicted", () => refused(bench, "lazy") > 0);
    await isServed(bench.web);
    await isServed(bench.web, "127.0.0.2");
    await isServed(bench.lazy);
    assert.ok(silent.peers.some(({ fate }) => fate === "open"));
    assert.equal(refused(bench, "web"), 0);
  });

  test("idle clients of one source do not block other sources", async () => {
    await using bench = await start();
    await isServed(bench.web);
    await using idle = await manyClients(bench.web);
    await eventually("a client is rejected", () => refused(bench, "web") > 0);
    await isServed(bench.web, "127.0.0.2");
    await isServed(bench.lazy, "127.0.0.2");
    assert.ok(idle.peers.some(({ fate }) => fate === "open"));
  });

  test("silent UDP senders block neither each other nor clients of other services", async () => {
    await using bench = await start();
    const senders = await Promise.all(Array.from({ length: MANY }, () => UdpClient.open(bench.log)));
    try {
      for (const sender of senders) sender.send("a line");
      await eventually("a sender is rejected", () => refused(bench, "log") > 0);
      await isServed(bench.web);
      await isServed(bench.lazy);
      // Flows that were silent for a second are evicted by new flows of the same service.
      const displaced = (): number => bench.program.log.filter((line) => line["end"] === "displaced").length;
      await eventually("a silent flow is evicted", async () => {
        using late = await UdpClient.open(bench.log);
        late.send("a line");
        return displaced() > 0;
      });
      assert.equal(refused(bench, "web") + refused(bench, "lazy"), 0);
    } finally {
      for (const sender of senders) sender[Symbol.dispose]();
    }
  });
});

async function manyClients(port: number): Promise<AsyncDisposable & { readonly peers: readonly Peer[] }> {
  const peers = Array.from({ length: MANY }, () => connecting(port));
  await eventually("connections", () => peers.every(({ socket }) => !socket.connecting));
  return {
    peers,
    [Symbol.asyncDispose]: async () => {
      for (const peer of peers) peer.reset();
    },
  };
}
