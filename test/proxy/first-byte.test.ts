/** Clients that must send a byte before their target is activated. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ClosedError } from "../../src/activation/errors.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { PeerServer } from "../support/net/tcp.ts";
import { TestListener } from "../support/proxy/listener.ts";

checkLeaks();

const silenceMs = 30_000;

suite("A service with wake_on: first_byte", () => {
  test("stays asleep while clients send nothing", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port, silenceMs });
    const clients = await listenPort.clients(20);
    await eventually("all wait", () => listenPort.traffic.waiting.taken === 20);
    assert.equal(listenPort.slots.taken, 20);
    assert.deepEqual([listenPort.activator.view.held, listenPort.activator.view.waiting], [0, 0]);
    for (const [index, client] of clients.entries()) {
      if (index % 2 === 0) client.reset();
      else client.end();
    }
    for (const { outcome } of await listenPort.reported(20)) assert.equal(outcome, "client_gone");
    assert.equal(listenPort.target.starts.length, 0);
    assert.equal(listenPort.traffic.waiting.taken, 0);
    for (const client of clients) client.reset();
  });

  test("evicts the oldest silent client if no waiting slot is free", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send("hello\n") });
    await using listenPort = await TestListener.open({ upstream: server.port, silenceMs, waiting: 3 });
    const [first, ...others] = await listenPort.clients(3);
    await eventually("all wait", () => listenPort.traffic.waiting.taken === 3);
    using client = await listenPort.client();
    client.send("x");
    const [report] = await listenPort.reported(1);
    assert.deepEqual([report?.outcome, report?.reason], ["denied_limit", "waiting_limit"]);
    assert.equal(await first?.ended(), "ECONNRESET");
    await listenPort.start();
    await eventually("the client is served", () => client.text === "hello\n");
    for (const other of others) {
      assert.equal(other.fate, "open");
      other.send("x");
      await eventually("the others are served after their first byte", () => other.text === "hello\n");
    }
    for (const peer of [client, ...others]) peer.reset();
    await listenPort.reported(4);
    assert.equal(listenPort.traffic.waiting.taken, 0);
  });

  test("evicts as many silent clients as a lowered limit requires, at the next accept", async () => {
    let limit = 4;
    await using listenPort = await TestListener.open({ upstream: 1, silenceMs, waiting: () => limit });
    const clients = await listenPort.clients(4);
    await eventually("all wait", () => listenPort.traffic.waiting.taken === 4);
    limit = 2;
    clients.push(await listenPort.client());
    await listenPort.reported(3);
    assert.equal(listenPort.traffic.waiting.taken, 2);
    for (const client of clients) client.reset();
    await listenPort.reported(5);
    assert.equal(listenPort.traffic.waiting.taken, 0);
  });

  test("rejects a new client if all waiting clients have sent a byte", async () => {
    await using listenPort = await TestListener.open({ upstream: 1, silenceMs, waiting: 2 });
    const speakers = await listenPort.clients(2);
    for (const speaker of speakers) speaker.send("x");
    await listenPort.starting();
    await eventually("both bytes are received", () => listenPort.activator.view.waiting === 2);
    using client = await listenPort.client();
    client.send("x");
    assert.equal(await client.ended(), "ECONNRESET");
    for (const speaker of speakers) {
      assert.equal(speaker.fate, "open");
      speaker.reset();
    }
    await listenPort.reported(3);
  });

  test("is activated by the first byte, and receives all bytes", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port, silenceMs });
    using silent = await listenPort.client();
    using client = await listenPort.client();
    client.send("G");
    await listenPort.start();
    client.end("ET /\n");
    const served = await server.accepted();
    await eventually("all bytes arrive", () => served.text === "GET /\n");
    served.end("200\n");
    assert.equal(await client.ended(), "ended");
    assert.equal(client.text, "200\n");
    assert.equal(silent.fate, "open");
    assert.equal((await listenPort.reported(1))[0]?.outcome, "relayed");
  });

  test("serves a client that sent its data and half-closed before the accept", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port, silenceMs });
    using client = await listenPort.client();
    client.end("bye\n");
    await listenPort.start();
    const served = await server.accepted();
    assert.equal(await served.ended(), "ended");
    assert.equal(served.text, "bye\n");
    served.end();
    assert.equal((await listenPort.reported(1))[0]?.end, "clean");
  });

  test("does not dial for a silent client, although the target is up", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port, silenceMs });
    using client = await listenPort.client();
    client.send("x");
    await listenPort.start();
    using silent = await listenPort.client();
    await eventually("the client waits", () => listenPort.traffic.waiting.taken === 1);
    (await server.accepted()).end();
    client.end();
    await listenPort.reported(1);
    assert.equal(listenPort.activator.view.held, 0);
    assert.ok(listenPort.activator.view.idleDeadline !== undefined, "the target falls asleep");
    silent.reset();
    assert.equal((await listenPort.reported(2))[1]?.outcome, "client_gone");
  });

  test("closes and reports a client that is silent for too long", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port, silenceMs: 20 });
    using client = await listenPort.client();
    const [report] = await listenPort.reported(1);
    assert.deepEqual(
      [report?.outcome, report?.error?.message],
      ["client_gone", "the client sent nothing within 0.02 s"],
    );
    await client.closes();
  });

  test("reports a client that half-closes without a byte", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port, silenceMs });
    using client = await listenPort.client();
    client.end();
    const [report] = await listenPort.reported(1);
    assert.deepEqual(
      [report?.outcome, report?.error?.message],
      ["client_gone", "the client closed without sending a byte"],
    );
  });

  test("rejects silent clients when the service ends", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port, silenceMs });
    using client = await listenPort.client();
    await eventually("the client waits", () => listenPort.traffic.waiting.taken === 1);
    listenPort.connections[0]?.rejectIfWaiting(new ClosedError("wakeport is shutting down"));
    assert.equal((await listenPort.reported(1))[0]?.error?.message, "wakeport is shutting down");
    assert.equal(await client.ended(), "ECONNRESET");
  });

  test("holds as many silent clients as waiting slots", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port, silenceMs, waiting: 2 });
    const clients = await listenPort.clients(3);
    const [report] = await listenPort.reported(1);
    assert.equal(report?.reason, "waiting_limit");
    for (const client of clients) client.reset();
    await listenPort.reported(3);
  });
});
