import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { suite, test } from "node:test";
import { ExitedError, StartTimeoutError } from "../../src/activation/errors.ts";
import { DeadlineError } from "../../src/errors.ts";
import { SlotError } from "../../src/proxy/admission/slots.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import { numbered, UdpClient, UdpServer } from "../support/net/udp.ts";
import { Stage } from "../support/udp/stage.ts";

checkLeaks();

/**
 * Starts an echo server in its own process. In this process it would read only between the work of the 100 flows, and its
 * receive buffer would overflow.
 */
async function echoProcess(port: number): Promise<Disposable> {
  const code = `const socket = require("node:dgram").createSocket("udp4");
socket.on("message", (data, { port, address }) => socket.send(data, port, address));
socket.bind(${port}, "127.0.0.1", () => console.log("bound"));`;
  const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  return { [Symbol.dispose]: () => child.kill("SIGKILL") };
}

suite("A flow whose target is up", () => {
  test("forwards and counts datagrams in both directions, empty ones included", async () => {
    using server = await UdpServer.open({ answer: (text) => `echo ${text}` });
    await using stage = await Stage.open({ upstream: server.port, isUp: true });
    using client = await stage.client();
    client.send("one", "");
    assert.deepEqual(await client.receives(2), ["echo one", "echo "]);
    assert.deepEqual(server.received, ["one", ""]);
    assert.deepEqual(stage.meter, { in: 3, out: 13 });
    assert.equal(stage.flows.count.in, 2);
    assert.equal(stage.flows.count.out, 2);
    assert.deepEqual(stage.dropped, {});
  });

  test("has its own socket to the target", async () => {
    using server = await UdpServer.open();
    await using stage = await Stage.open({ upstream: server.port, isUp: true });
    using one = await stage.client();
    using other = await stage.client();
    await one.echoed("one");
    await other.echoed("other");
    await one.echoed("again");
    assert.equal(stage.flows.size, 2);
    assert.equal(server.ports.size, 2);
    assert.deepEqual(one.received, ["one", "again"]);
    assert.deepEqual(other.received, ["other"]);
  });

  test("forwards answers only from the target", async () => {
    using server = await UdpServer.open();
    await using stage = await Stage.open({ upstream: server.port, isUp: true });
    using client = await stage.client();
    await client.echoed("one");
    const [port] = [...server.ports] as [number];
    using stranger = await UdpClient.open(port);
    stranger.send("not for you");
    await eventually("the datagram is refused", () => stranger.errors.includes("ECONNREFUSED"));
    await client.echoed("two");
    assert.deepEqual(client.received, ["one", "two"]);
  });

  test("ends after a silence, and leaves the table empty", async () => {
    using server = await UdpServer.open();
    await using stage = await Stage.open({ upstream: server.port, isUp: true, flowTimeoutMs: 60 });
    using client = await stage.client();
    await client.echoed("word");
    const [result] = await stage.ended(1);
    assert.deepEqual(result, { end: "idle", meter: { in: 4, out: 4 } });
    assert.deepEqual([stage.flows.size, stage.leases.size], [0, 0]);
    await client.echoed("a new flow");
    assert.equal(stage.acquired, 2);
  });

  test("stays open while one side sends", async () => {
    using server = await UdpServer.open();
    await using stage = await Stage.open({ upstream: server.port, isUp: true, flowTimeoutMs: 300 });
    using client = await stage.client();
    const until = performance.now() + 700;
    for (let word = 1; performance.now() < until; word += 1) await client.echoed(`word ${word}`);
    assert.equal(stage.results.length, 0);
    await stage.ended(1);
  });

  test("survives refusals, and continues when the target listens again", async () => {
    const port = await freePort();
    await using stage = await Stage.open({ upstream: port, isUp: true });
    using client = await stage.client();
    {
      using _first = await UdpServer.open({ port });
      await client.echoed("before");
    }
    client.send("lost");
    await eventually("the refusal is counted", () => (stage.dropped["refused"] ?? 0) > 0);
    client.send("lost as well");
    await eventually("another one", () => (stage.dropped["refused"] ?? 0) > 1);
    using second = await UdpServer.open({ port });
    await client.echoed("after");
    assert.deepEqual(second.received, ["after"]);
    assert.deepEqual([stage.flows.size, stage.results.length], [1, 0]);
  });

  test("ends with its target, and the next datagram acquires the target again", async () => {
    using server = await UdpServer.open();
    await using stage = await Stage.open({ upstream: server.port, isUp: true });
    using client = await stage.client();
    await client.echoed("one");
    stage.goDown(new ExitedError("container dns", { code: 1 }));
    const [result] = await stage.ended(1);
    assert.equal(result?.end, "target_gone");
    client.send("two");
    await eventually("the target is acquired again", () => stage.acquired === 2);
    stage.comeUp();
    await client.receives(2);
    assert.deepEqual(server.received, ["one", "two"]);
  });
});

suite("A flow whose target sleeps", () => {
  test("buffers datagrams and delivers all in order", async () => {
    using server = await UdpServer.open();
    await using stage = await Stage.open({ upstream: server.port });
    using client = await stage.client();
    const texts = numbered("word", 200);
    client.send(...texts.slice(0, 100));
    await stage.received(100);
    assert.deepEqual(server.received, []);
    stage.comeUp();
    client.send(...texts.slice(100));
    assert.deepEqual(await client.receives(200), texts);
    assert.deepEqual(server.received, texts);
    assert.deepEqual(stage.dropped, {});
  });

  test("drops the newest datagrams when its buffer is full", async () => {
    using server = await UdpServer.open();
    const bytes = 1000;
    const room = 5;
    await using stage = await Stage.open({ upstream: server.port, heldBytes: room * (bytes + 256) });
    using client = await stage.client();
    const texts = numbered("word", 8).map((text) => text.padEnd(bytes, "."));
    client.send(...texts);
    await stage.received(8);
    assert.deepEqual(stage.dropped, { held: 3 });
    stage.comeUp();
    assert.deepEqual(await client.receives(room), texts.slice(0, room));
    await client.echoed("after");
  });

  test("waits until the port of the target is bound, and delivers each datagram once, in order", async () => {
    const port = await freePort();
    await using stage = await Stage.open({ upstream: port });
    using client = await stage.client();
    const texts = numbered("word", 50);
    client.send(...texts);
    await stage.received(50);
    stage.comeUp();
    await eventually("the first datagram is refused", () => stage.verified > 0);
    assert.equal(stage.opened, 0);
    using server = await UdpServer.open({ port });
    assert.deepEqual(await client.receives(50), texts);
    assert.deepEqual(server.received, texts);
    assert.deepEqual(stage.dropped, {});
  });

  test("delivers to a target that never answers", async () => {
    using server = await UdpServer.open({ answer: () => undefined });
    await using stage = await Stage.open({ upstream: server.port });
    using client = await stage.client();
    const texts = numbered("log", 200);
    client.send(...texts);
    await stage.received(200);
    stage.comeUp();
    await eventually("all arrive", () => server.received.length === 200);
    assert.deepEqual(server.received, texts);
  });

  test("fails if the target refuses until the deadline", async () => {
    await using stage = await Stage.open({ upstream: await freePort(), isUp: true, refusedMs: 80 });
    using client = await stage.client();
    client.send("one", "two");
    const [result] = await stage.ended(1);
    assert.ok(result?.error instanceof DeadlineError);
    assert.match(result.error.message, /accepts no datagrams on port \d+/);
    assert.deepEqual(stage.dropped, { not_started: 2 });
    assert.equal(stage.leases.size, 0);
  });

  test("drops its datagrams, and those of the next second, if the target does not start", async () => {
    await using stage = await Stage.open({ upstream: await freePort() });
    using client = await stage.client();
    client.send("one", "two");
    await stage.received(2);
    stage.fail(new Error("no such container"));
    const [result] = await stage.ended(1);
    assert.match(String(result?.error), /no such container/);
    client.send("three");
    await stage.received(3);
    assert.deepEqual(stage.dropped, { not_started: 3 });
    assert.equal(stage.acquired, 1);
    await eventually("the flow is removed", () => stage.flows.size === 0);
    client.send("four");
    await stage.ended(2);
  });

  test("keeps its buffer if the target goes down before it accepts the first datagram", async () => {
    const port = await freePort();
    await using stage = await Stage.open({ upstream: port, isUp: true });
    using client = await stage.client();
    client.send("one", "two");
    await eventually("the target is acquired", () => stage.leases.size === 1);
    stage.goDown(new ExitedError("container dns", {}));
    await eventually("it acquires the target again", () => stage.acquired === 2);
    using server = await UdpServer.open({ port });
    stage.comeUp();
    await client.receives(2);
    assert.deepEqual(server.received, ["one", "two"]);
  });

  test("has one deadline for all activations", async () => {
    await using stage = await Stage.open({ upstream: await freePort(), isUp: true, refusedMs: 300 });
    using client = await stage.client();
    client.send("one");
    await eventually("the target is acquired", () => stage.leases.size === 1);
    stage.goDown(new ExitedError("container dns", {}));
    const [result] = await stage.ended(1);
    assert.ok(result?.error instanceof StartTimeoutError);
    assert.equal(stage.acquired, 2);
  });

  test("loses no datagram of a hundred clients", async () => {
    const port = await freePort();
    await using stage = await Stage.open({ upstream: port, flows: 100 });
    const clients = await Promise.all(Array.from({ length: 100 }, () => stage.client()));
    try {
      for (const [index, client] of clients.entries()) client.send(...numbered(`client ${index}`, 20));
      await stage.received(2_000);
      stage.comeUp();
      using _server = await echoProcess(port);
      for (const [index, client] of clients.entries()) {
        assert.deepEqual(await client.receives(20), numbered(`client ${index}`, 20));
      }
      assert.deepEqual(stage.dropped, {});
    } finally {
      for (const client of clients) client[Symbol.dispose]();
    }
  });
});

suite("FlowTable", () => {
  test("limits the number of flows, and counts the dropped datagrams", async () => {
    using server = await UdpServer.open();
    await using stage = await Stage.open({ upstream: server.port, flows: 10 });
    const clients = await Promise.all(Array.from({ length: 50 }, () => stage.client()));
    try {
      for (const client of clients) client.send("word");
      await stage.received(50);
      assert.equal(stage.flows.size, 10);
      assert.deepEqual(stage.dropped, { flows: 40 });
      stage.comeUp();
      await eventually("the ten flows are served", () => server.received.length === 10);
    } finally {
      for (const client of clients) client[Symbol.dispose]();
    }
  });

  test("evicts a flow that was silent for a second, and no active flow", async () => {
    using server = await UdpServer.open();
    await using stage = await Stage.open({ upstream: server.port, flows: 2, isUp: true });
    using speaker = await stage.client();
    using silent = await stage.client();
    using newcomer = await stage.client();
    for (const client of [silent, speaker]) {
      await client.echoed("one word");
      await client.echoed("another");
    }
    newcomer.send("too early");
    await stage.received(5);
    assert.deepEqual(stage.dropped, { flows: 1 });
    for (let word = 1; newcomer.received.length === 0; word += 1) {
      await speaker.echoed(`word ${word}`);
      newcomer.send("now");
    }
    assert.deepEqual(
      stage.results.map(({ end }) => end),
      ["displaced"],
    );
    await speaker.echoed("still here");
    assert.equal(stage.acquired, 3);
  });

  test("evicts flows whose only datagram was answered first", async () => {
    using server = await UdpServer.open({ answer: (text) => (text === "no answer" ? undefined : text) });
    await using stage = await Stage.open({ upstream: server.port, flows: 4, isUp: true });
    using waitingClient = await stage.client();
    waitingClient.send("no answer");
    using speaker = await stage.client();
    await speaker.echoed("word");
    await speaker.echoed("another");
    for (let question = 0; question < 50; question += 1) {
      using client = await stage.client();
      await client.echoed(`question ${question}`);
    }
    assert.deepEqual(stage.dropped, {});
    assert.ok(stage.results.every(({ end }) => end === "displaced"));
    assert.deepEqual([stage.flows.size, stage.results.length], [4, 48]);
    await speaker.echoed("still here");
    assert.equal(stage.acquired, 52);
  });

  test("evicts an active flow of a source with many flows for a source with fewer", async () => {
    await using stage = await Stage.open({ upstream: 1, flows: 4 });
    const clients = await Promise.all(Array.from({ length: 6 }, () => stage.client()));
    using other = await stage.client("127.0.0.1", "127.0.0.2");
    try {
      for (const client of clients) client.send("word");
      await stage.received(6);
      assert.deepEqual(stage.dropped, { flows: 2 });
      other.send("word");
      const [result] = await stage.ended(1);
      assert.ok(result?.error instanceof SlotError);
      assert.deepEqual([stage.flows.size, stage.acquired], [4, 5]);
      assert.deepEqual(stage.dropped, { flows: 2, not_started: 1 });
    } finally {
      for (const client of clients) client[Symbol.dispose]();
    }
  });

  test("acquires no target for a denied client", async () => {
    await using stage = await Stage.open({ upstream: await freePort(), admit: () => false });
    using client = await stage.client();
    client.send("one", "two");
    await stage.received(2);
    assert.deepEqual(stage.dropped, { denied: 2 });
    assert.deepEqual([stage.acquired, stage.flows.size], [0, 0]);
  });

  test("drain() ends flows after a second of silence, and denies new clients", async () => {
    using server = await UdpServer.open();
    await using stage = await Stage.open({ upstream: server.port, isUp: true });
    using client = await stage.client();
    using late = await stage.client();
    await client.echoed("one");
    const began = performance.now();
    const drained = stage.drain();
    await client.echoed("a last datagram");
    late.send("too late");
    await eventually("the late datagram is dropped", () => stage.dropped["closing"] === 1);
    await drained;
    assert.ok(performance.now() - began > 900);
    assert.equal(stage.flows.size, 0);
  });

  test("close() ends flows at once", async () => {
    using server = await UdpServer.open();
    await using stage = await Stage.open({ upstream: server.port, isUp: true });
    using client = await stage.client();
    await client.echoed("one");
    await stage.flows.close();
    assert.deepEqual(
      stage.results.map(({ end }) => end),
      ["drained"],
    );
    assert.equal(stage.leases.size, 0);
  });
});
