/** The end of the real program, by SIGTERM: who is served may finish, nobody else gets in, and it does end. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect, PeerServer } from "../support/net/tcp.ts";
import { Bench } from "../support/program/reloading.ts";

suite("wakeport run, told to end", () => {
  test("lets a client finish that it only passes on", async () => {
    await using upstream = await PeerServer.open();
    const listenPort = await freePort();
    await using bench = await Bench.start(
      `  a: { ports: ["127.0.0.1:${listenPort}"], forward: "127.0.0.1:${upstream.port}" }\n`,
    );
    using client = await connect(listenPort);
    client.send("hello");
    await eventually("the upstream", () => upstream.peers[0]?.text === "hello");
    bench.program.child.kill("SIGTERM");
    await bench.program.logged("shutdown.begin");
    client.send(" again");
    await eventually("the rest", () => upstream.peers[0]?.text === "hello again");
    upstream.peers[0]?.end("bye");
    client.end();
    await eventually("the answer", () => client.text === "bye");
    assert.equal((await bench.program.finished()).code, 0);
    assert.equal(client.fate, "ended");
  });

  test("cuts it when its time is over", async () => {
    await using upstream = await PeerServer.open();
    const listenPort = await freePort();
    const service = `  a: { ports: ["127.0.0.1:${listenPort}"], forward: "127.0.0.1:${upstream.port}" }\n`;
    await using bench = await Bench.start(`${service}shutdown: { drain: 100ms }`);
    using client = await connect(listenPort);
    client.send("hello");
    await eventually("the upstream", () => upstream.peers[0]?.text === "hello");
    bench.program.child.kill("SIGTERM");
    assert.equal((await bench.program.finished()).code, 0);
    await eventually("the end", () => client.fate === "ECONNRESET");
  });

  test("gives the place of a program that it ended to nobody who waits for one", async () => {
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
      "one who waits",
      async () => (await bench.metric('wakeport_connections_waiting{service="a"}')) === "1",
    );
    bench.program.child.kill("SIGTERM");
    assert.equal((await bench.program.finished()).code, 0);
    assert.equal(second.text, "");
  });
});
