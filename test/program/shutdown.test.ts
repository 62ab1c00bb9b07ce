/** The end of the real program, by SIGTERM: who is served may finish, nobody else gets in, and it does end. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { connect, freePort, PeerServer } from "../support/net/tcp.ts";
import { until } from "../support/program/program.ts";
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
    await until(() => upstream.peers[0]?.text === "hello", "the upstream");
    bench.program.child.kill("SIGTERM");
    await bench.program.logged("shutdown.begin");
    client.send(" again");
    await until(() => upstream.peers[0]?.text === "hello again", "the rest");
    upstream.peers[0]?.end("bye");
    client.end();
    await until(() => client.text === "bye", "the answer");
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
    await until(() => upstream.peers[0]?.text === "hello", "the upstream");
    bench.program.child.kill("SIGTERM");
    assert.equal((await bench.program.finished()).code, 0);
    await until(() => client.fate === "ECONNRESET", "the end");
  });

  test("gives the place of a program that it ended to nobody who waits for one", async () => {
    const listenPort = await freePort();
    const limits = "limits: { connections: 1, on_limit: queue }";
    const service = `  a: { ports: ["127.0.0.1:${listenPort}"], inetd: { command: [/bin/cat] }, ${limits} }\n`;
    await using bench = await Bench.start(`${service}shutdown: { drain: 100ms }`);
    using first = await connect(listenPort);
    first.send("one");
    await until(() => first.text === "one", "an echo");
    using second = await connect(listenPort);
    second.send("two");
    await until(async () => (await bench.metric('wakeport_connections_waiting{service="a"}')) === "1", "one who waits");
    bench.program.child.kill("SIGTERM");
    assert.equal((await bench.program.finished()).code, 0);
    assert.equal(second.text, "");
  });
});
