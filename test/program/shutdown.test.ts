/** SIGTERM to the real program: open connections may finish, new clients are refused, and shutdown ends. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect, PeerServer } from "../support/net/tcp.ts";
import { Bench } from "../support/program/reloading.ts";

suite("wakeport run after SIGTERM", () => {
  test("lets a forwarded connection finish", async () => {
    await using upstream = await PeerServer.open();
    const listenPort = await freePort();
    await using bench = await Bench.start(
      `  a: { ports: ["127.0.0.1:${listenPort}"], forward: "127.0.0.1:${upstream.port}" }\n`,
    );
    using client = await connect(listenPort);
    client.send("hello");
    await eventually("the upstream receives the bytes", () => upstream.peers[0]?.text === "hello");
    bench.program.child.kill("SIGTERM");
    await bench.program.logged("shutdown.begin");
    client.send(" again");
    await eventually("the upstream receives the rest", () => upstream.peers[0]?.text === "hello again");
    upstream.peers[0]?.end("bye");
    client.end();
    await eventually("the client receives the reply", () => client.text === "bye");
    assert.equal((await bench.program.finished()).code, 0);
    assert.equal(client.fate, "ended");
  });

  test("resets a forwarded connection at the drain deadline", async () => {
    await using upstream = await PeerServer.open();
    const listenPort = await freePort();
    const service = `  a: { ports: ["127.0.0.1:${listenPort}"], forward: "127.0.0.1:${upstream.port}" }\n`;
    await using bench = await Bench.start(`${service}shutdown: { drain: 100ms }`);
    using client = await connect(listenPort);
    client.send("hello");
    await eventually("the upstream receives the bytes", () => upstream.peers[0]?.text === "hello");
    bench.program.child.kill("SIGTERM");
    assert.equal((await bench.program.finished()).code, 0);
    await eventually("the client is reset", () => client.fate === "ECONNRESET");
  });

  test("starts no program for waiting clients when it ends a program", async () => {
    const listenPort = await freePort();
    const limits = "limits: { connections: 1, on_limit: queue }";
    const service = `  a: { ports: ["127.0.0.1:${listenPort}"], inetd: { command: [/bin/cat] }, ${limits} }\n`;
    await using bench = await Bench.start(`${service}shutdown: { drain: 100ms }`);
    using first = await connect(listenPort);
    first.send("one");
    await eventually("an echo", () => first.text === "one");
    using second = await connect(listenPort);
    second.send("two");
    await eventually(
      "one client is waiting",
      async () => (await bench.metric('wakeport_connections_waiting{service="a"}')) === "1",
    );
    bench.program.child.kill("SIGTERM");
    assert.equal((await bench.program.finished()).code, 0);
    assert.equal(second.text, "");
  });
});
