/** Clients that have to say something before anything is done for them. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ClosedError } from "../../src/activation/errors.ts";
import { checkLeaks } from "../support/leaks.ts";
import { eventually, PeerServer } from "../support/net/tcp.ts";
import { Front } from "../support/proxy/listener.ts";

checkLeaks();

const silenceMs = 30_000;

suite("a service that is woken by the first byte", () => {
  test("sleeps under clients that say nothing, and is not held by them", async () => {
    await using server = await PeerServer.open();
    await using front = await Front.open({ upstream: server.port, silenceMs });
    const clients = await front.clients(20);
    await eventually("they wait", () => front.traffic.waiting.taken === 20);
    assert.equal(front.slots.taken, 20);
    assert.deepEqual([front.activator.view.held, front.activator.view.waiting], [0, 0]);
    for (const [index, client] of clients.entries()) {
      if (index % 2 === 0) client.reset();
      else client.end();
    }
    for (const { outcome } of await front.reported(20)) assert.equal(outcome, "client_gone");
    assert.equal(front.target.starts.length, 0);
    assert.equal(front.traffic.waiting.taken, 0);
    for (const client of clients) client.reset();
  });

  test("lets who has been silent for longest go when there is no room for who may speak", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send("hello\n") });
    await using front = await Front.open({ upstream: server.port, silenceMs, waiting: 3 });
    const [first, ...others] = await front.clients(3);
    await eventually("they wait", () => front.traffic.waiting.taken === 3);
    using client = await front.client();
    client.send("x");
    const [report] = await front.reported(1);
    assert.deepEqual([report?.outcome, report?.reason], ["denied_limit", "waiting_limit"]);
    assert.equal(await first?.ends(), "ECONNRESET");
    await front.start();
    await eventually("it is served", () => client.text === "hello\n");
    for (const other of others) {
      assert.equal(other.fate, "open");
      other.send("x");
      await eventually("so are the others when they speak", () => other.text === "hello\n");
    }
    for (const peer of [client, ...others]) peer.reset();
    await front.reported(4);
    assert.equal(front.traffic.waiting.taken, 0);
  });

  test("lets as many of the silent go as a lower limit asks for, when the next one comes", async () => {
    let limit = 4;
    await using front = await Front.open({ upstream: 1, silenceMs, waiting: () => limit });
    const clients = await front.clients(4);
    await eventually("they wait", () => front.traffic.waiting.taken === 4);
    limit = 2;
    clients.push(await front.client());
    await front.reported(3);
    assert.equal(front.traffic.waiting.taken, 2);
    for (const client of clients) client.reset();
    await front.reported(5);
    assert.equal(front.traffic.waiting.taken, 0);
  });

  test("refuses a newcomer when all who wait have spoken", async () => {
    await using front = await Front.open({ upstream: 1, silenceMs, waiting: 2 });
    const speakers = await front.clients(2);
    for (const speaker of speakers) speaker.send("x");
    await front.starting();
    await eventually("both are heard", () => front.activator.view.waiting === 2);
    using client = await front.client();
    client.send("x");
    assert.equal(await client.ends(), "ECONNRESET");
    for (const speaker of speakers) {
      assert.equal(speaker.fate, "open");
      speaker.reset();
    }
    await front.reported(3);
  });

  test("is woken by one that speaks, which loses nothing of what it said", async () => {
    await using server = await PeerServer.open();
    await using front = await Front.open({ upstream: server.port, silenceMs });
    using silent = await front.client();
    using client = await front.client();
    client.send("G");
    await front.start();
    client.end("ET /\n");
    const served = await server.accepted();
    await eventually("all of it arrives", () => served.text === "GET /\n");
    served.end("200\n");
    assert.equal(await client.ends(), "ended");
    assert.equal(client.text, "200\n");
    assert.equal(silent.fate, "open");
    assert.equal((await front.reported(1))[0]?.outcome, "relayed");
  });

  test("serves one that has said all and ended before anybody looked", async () => {
    await using server = await PeerServer.open();
    await using front = await Front.open({ upstream: server.port, silenceMs });
    using client = await front.client();
    client.end("bye\n");
    await front.start();
    const served = await server.accepted();
    assert.equal(await served.ends(), "ended");
    assert.equal(served.text, "bye\n");
    served.end();
    assert.equal((await front.reported(1))[0]?.end, "clean");
  });

  test("does not dial for who says nothing, although the target is up", async () => {
    await using server = await PeerServer.open();
    await using front = await Front.open({ upstream: server.port, silenceMs });
    using client = await front.client();
    client.send("x");
    await front.start();
    using silent = await front.client();
    await eventually("it waits", () => front.traffic.waiting.taken === 1);
    (await server.accepted()).end();
    client.end();
    await front.reported(1);
    assert.equal(front.activator.view.held, 0);
    assert.ok(front.activator.view.idleDeadline !== undefined, "it falls asleep");
    silent.reset();
    assert.equal((await front.reported(2))[1]?.outcome, "client_gone");
  });

  test("lets go of who is silent for too long, and says so", async () => {
    await using server = await PeerServer.open();
    await using front = await Front.open({ upstream: server.port, silenceMs: 20 });
    using client = await front.client();
    const [report] = await front.reported(1);
    assert.deepEqual(
      [report?.outcome, report?.error?.message],
      ["client_gone", "the client said nothing within 0.02 s"],
    );
    await client.closes();
  });

  test("says of one that half-closes what it is about", async () => {
    await using server = await PeerServer.open();
    await using front = await Front.open({ upstream: server.port, silenceMs });
    using client = await front.client();
    client.end();
    const [report] = await front.reported(1);
    assert.deepEqual([report?.outcome, report?.error?.message], ["client_gone", "the client ended without a word"]);
  });

  test("refuses who waits in silence when the service ends", async () => {
    await using server = await PeerServer.open();
    await using front = await Front.open({ upstream: server.port, silenceMs });
    using client = await front.client();
    await eventually("it waits", () => front.traffic.waiting.taken === 1);
    front.connections[0]?.refuse(new ClosedError("wakeport ends"));
    assert.equal((await front.reported(1))[0]?.error?.message, "wakeport ends");
    assert.equal(await client.ends(), "ECONNRESET");
  });

  test("has room for so many in silence as may wait", async () => {
    await using server = await PeerServer.open();
    await using front = await Front.open({ upstream: server.port, silenceMs, waiting: 2 });
    const clients = await front.clients(3);
    const [report] = await front.reported(1);
    assert.equal(report?.reason, "waiting_limit");
    for (const client of clients) client.reset();
    await front.reported(3);
  });
});
