/** Clients that the data plane of the real program accepts and connects to a ready target. */
import assert from "node:assert/strict";
import { kill } from "node:process";
import { suite, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect, connecting, type Peer } from "../support/net/tcp.ts";
import { Bench, echoService, greeting } from "../support/program/reloading.ts";

/** Echoes, and sends nothing before. */
const silentEcho = `require("net").createServer({ allowHalfOpen: true }, (s) => { s.on("error", () => {}); s.pipe(s); })
.listen(Number(process.argv[1]), "127.0.0.1")`;

interface Ports {
  readonly listen: number;
  readonly target: number;
}

async function freePorts(): Promise<Ports> {
  return { listen: await freePort(), target: await freePort() };
}

function silentService({ listen, target }: Ports, more: string): string {
  const command = JSON.stringify([process.execPath, "-e", silentEcho, String(target)]);
  return `  web: { ports: ["127.0.0.1:${listen}"], process: { command: ${command}, listen: "127.0.0.1:${target}" }${more} }\n`;
}

/** Sends a word and waits for its echo. */
async function exchange(client: Peer, word: string): Promise<void> {
  const before = client.received;
  client.send(word);
  await client.receives(before + word.length);
}

/** Wakes the target, and waits until the data plane accepts clients. */
async function isOffloaded(bench: Bench, listen: number): Promise<void> {
  using first = await connect(listen);
  await exchange(first, "wake");
  await eventually("the data plane accepts", async () => (await bench.status()).data_plane?.listeners === 1);
}

function closed(bench: Bench): readonly Record<string, unknown>[] {
  return bench.program.log.filter(({ event }) => event === "connection.closed");
}

suite("an offloaded listener", () => {
  test("relays, reports each connection, and is taken back before the sleep", async () => {
    const ports = await freePorts();
    await using bench = await Bench.start(silentService(ports, ", idle_timeout: 500ms"));
    await isOffloaded(bench, ports.listen);
    using client = await connect(ports.listen);
    await exchange(client, "hello");
    await eventually("an open connection", async () => (await bench.status()).services[0]?.connections === 1);
    // The open connection outlasts the idle timeout.
    await delay(1_000);
    await exchange(client, "still there");
    assert.ok(bench.program.log.every(({ event }) => event !== "target.asleep"));
    const port = client.socket.localPort;
    client.end();
    assert.equal(await client.ended(), "ended");
    await bench.program.logged("target.asleep");
    const report = closed(bench).find(({ client: address }) => address === `127.0.0.1:${port}`);
    assert.deepEqual(
      [report?.["outcome"], report?.["start"], report?.["end"], report?.["bytes_in"], report?.["bytes_out"]],
      ["relayed", "warm", "clean", 16, 16],
    );
    assert.equal((await bench.status()).data_plane?.listeners, 0);
    assert.equal(await bench.metric('wakeport_connections_total{service="web",outcome="relayed"}'), "2");
    assert.equal(await bench.metric('wakeport_transferred_bytes_total{service="web",direction="in"}'), "20");
  });

  test("serves 2,000 connections at random moments around sleeps, and loses none", async () => {
    const ports = await freePorts();
    await using bench = await Bench.start(silentService(ports, ", idle_timeout: 100ms"));
    await isOffloaded(bench, ports.listen);
    const lost: unknown[] = [];
    const count = (event: string): number => bench.program.log.filter((record) => record.event === event).length;
    const next = async (event: string): Promise<void> => {
      const before = count(event);
      await eventually(event, () => count(event) > before);
    };
    const one = async (): Promise<void> => {
      await delay(Math.random() * 250);
      using client = await connect(ports.listen);
      const endsEarly = Math.random() < 0.5;
      if (endsEarly) client.end("request");
      else await exchange(client, "request");
      await client.receives(7);
      if (client.text !== "request") throw new Error(`${client.text} instead of an echo`);
      if (!endsEarly) client.end();
      const fate = await client.ended();
      if (fate !== "ended") throw new Error(fate);
    };
    for (let round = 0; round < 40; round += 1) {
      // Rounds begin when the target is down, and at a random moment around the end of the idle timeout.
      if (round % 2 === 0) await next("target.asleep");
      else await delay(60 + Math.random() * 80);
      for (const result of await Promise.allSettled(Array.from({ length: 50 }, one))) {
        if (result.status === "rejected") lost.push(result.reason);
      }
    }
    assert.deepEqual(lost, []);
    await eventually("all are reported", () => closed(bench).length >= 2_000);
    const warm = closed(bench).filter(({ start }) => start === "warm").length;
    assert.ok(
      count("target.asleep") >= 10 && warm >= 200,
      `${count("target.asleep")} sleeps, ${warm} warm connections`,
    );
    assert.ok(closed(bench).every(({ outcome }) => outcome === "relayed"));
  });

  test("serves silent clients by the next run of a target that died, and ends the others", async () => {
    const ports = await freePorts();
    await using bench = await Bench.start(echoService("web", ports.listen, ports.target, "one", ", idle_timeout: 1h"));
    using first = await connect(ports.listen);
    const pid = Number((await greeting(first)).split(" ")[0]);
    await eventually("the data plane accepts", async () => (await bench.status()).data_plane?.listeners === 1);
    using talking = await connect(ports.listen);
    await greeting(talking);
    kill(pid, "SIGSTOP");
    // The kernel accepts for the stopped program, which sends nothing.
    using silent = await connect(ports.listen);
    await eventually("three connections", async () => (await bench.status()).services[0]?.connections === 3);
    kill(pid, "SIGKILL");
    const [next] = (await greeting(silent)).split(" ");
    assert.notEqual(Number(next), pid);
    assert.notEqual(await talking.ended(), "open");
    await exchange(silent, "works");
  });

  test("obeys an access rule that a reload adds, and keeps open connections", async () => {
    const ports = await freePorts();
    await using bench = await Bench.start(silentService(ports, ", idle_timeout: 1h"));
    await isOffloaded(bench, ports.listen);
    using open = await connect(ports.listen);
    await exchange(open, "before");
    await bench.reload(silentService(ports, ', idle_timeout: 1h, access: { deny: ["127.0.0.1"] }'));
    await eventually("Node accepts", async () => (await bench.status()).data_plane?.listeners === 0);
    using denied = connecting(ports.listen);
    assert.notEqual(await denied.ended(), "open");
    await eventually("a denial", () => closed(bench).some(({ outcome }) => outcome === "denied_address"));
    await exchange(open, "after");
    await bench.reload(silentService(ports, ", idle_timeout: 1h"));
    await eventually("the data plane accepts", async () => (await bench.status()).data_plane?.listeners === 1);
    using allowed = await connect(ports.listen);
    await exchange(allowed, "again");
  });

  test("counts its connections for a limit that a reload adds", async () => {
    const ports = await freePorts();
    await using bench = await Bench.start(silentService(ports, ", idle_timeout: 1h"));
    await isOffloaded(bench, ports.listen);
    using open = await connect(ports.listen);
    await exchange(open, "before");
    await bench.reload(silentService(ports, ", idle_timeout: 1h, limits: { connections: 1 }, on_deny: reset"));
    await eventually("Node accepts", async () => (await bench.status()).data_plane?.listeners === 0);
    using denied = connecting(ports.listen);
    assert.equal(await denied.ended(), "ECONNRESET");
    await exchange(open, "after");
  });

  test("drains at a shutdown, and resets its connections at the deadline", async () => {
    const ports = await freePorts();
    await using bench = await Bench.start(`${silentService(ports, ", idle_timeout: 1h")}shutdown: { drain: 500ms }`);
    await isOffloaded(bench, ports.listen);
    using one = await connect(ports.listen);
    using other = await connect(ports.listen);
    await exchange(one, "one");
    await exchange(other, "other");
    bench.program.child.kill("SIGTERM");
    await bench.program.logged("shutdown.begin");
    await exchange(one, "during the drain");
    one.end();
    assert.equal(await one.ended(), "ended");
    assert.equal((await bench.program.finished()).code, 0);
    assert.equal(await other.ended(), "ECONNRESET");
    const ends = closed(bench).map(({ end }) => end);
    assert.deepEqual(ends.toSorted(), ["clean", "clean", "drained"]);
  });

  test("is never lent with relay: node", async () => {
    const ports = await freePorts();
    await using bench = await Bench.start(silentService(ports, ", idle_timeout: 1h, relay: node"));
    using first = await connect(ports.listen);
    await exchange(first, "wake");
    using second = await connect(ports.listen);
    await exchange(second, "again");
    assert.equal((await bench.status()).data_plane?.listeners, 0);
  });
});
