/** What forwards the bytes of the real program: its data plane, or Node's streams. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { suite, test } from "node:test";
import { MIB, payload } from "../bench/payload.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect, type Peer, PeerServer } from "../support/net/tcp.ts";
import { Bench, echoService, greeting } from "../support/program/reloading.ts";

const WITHOUT_KOFFI = {
  NODE_OPTIONS: `--import=${new URL("../fixtures/without-koffi.mjs", import.meta.url).href}`,
};

/** A forward to `upstream` and its port. */
async function forward(upstream: PeerServer, more = ""): Promise<{ readonly port: number; readonly yaml: string }> {
  const port = await freePort();
  return { port, yaml: `  a: { ports: ["127.0.0.1:${port}"], forward: "127.0.0.1:${upstream.port}"${more} }\n` };
}

async function isUp(bench: Bench): Promise<void> {
  await eventually("the data plane is up", async () => (await bench.status()).data_plane?.state === "up");
}

/** Connects a client through wakeport, with the other end at the server. */
async function through(port: number, server: PeerServer): Promise<{ readonly client: Peer; readonly upstream: Peer }> {
  const client = await connect(port);
  client.send("x");
  const upstream = await server.accepted();
  await upstream.receives(1);
  return { client, upstream };
}

suite("wakeport run with relay: splice", () => {
  test("relays in the data plane, and reports bytes continuously", async () => {
    await using server = await PeerServer.open();
    const { port, yaml } = await forward(server, ", relay: splice");
    await using bench = await Bench.start(yaml);
    await isUp(bench);
    const { client, upstream } = await through(port, server);
    await eventually("one connection", async () => (await bench.status()).data_plane?.connections === 1);
    upstream.send(payload(3 * MIB));
    await client.receives(3 * MIB);
    const bytes = 'wakeport_transferred_bytes_total{service="a",direction="out"}';
    assert.equal(await bench.metric(bytes), String(3 * MIB));
    upstream.end();
    client.end();
    const closed = await bench.program.logged("connection.closed");
    assert.deepEqual(
      [closed["outcome"], closed["end"], closed["bytes_in"], closed["bytes_out"]],
      ["relayed", "clean", 1, 3 * MIB],
    );
    assert.ok(client.data.equals(payload(3 * MIB)));
    assert.equal((await bench.status()).data_plane?.connections, 0);
  });

  test("resets its connections at the drain deadline", async () => {
    await using server = await PeerServer.open();
    const { port, yaml } = await forward(server, ", relay: splice");
    await using bench = await Bench.start(`${yaml}shutdown: { drain: 100ms }`);
    await isUp(bench);
    const { client, upstream } = await through(port, server);
    bench.program.child.kill("SIGTERM");
    assert.equal((await bench.program.finished()).code, 0);
    assert.deepEqual([await client.ended(), await upstream.ended()], ["ECONNRESET", "ECONNRESET"]);
    assert.equal((await bench.program.logged("connection.closed"))["end"], "drained");
  });

  test("exits at once at the second signal", async () => {
    await using server = await PeerServer.open();
    const { port, yaml } = await forward(server, ", relay: splice");
    await using bench = await Bench.start(`${yaml}shutdown: { drain: 10m }`);
    await isUp(bench);
    const { client, upstream } = await through(port, server);
    bench.program.child.kill("SIGTERM");
    await bench.program.logged("shutdown.begin");
    bench.program.child.kill("SIGTERM");
    assert.equal((await bench.program.finished()).code, 1);
    assert.deepEqual([await client.ended(), await upstream.ended()], ["ECONNRESET", "ECONNRESET"]);
  });

  test("relays to a process that it starts, and keeps connections at a reload", async () => {
    const [port, upstream] = [await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", port, upstream, "one", ", relay: splice"));
    await isUp(bench);
    using client = await connect(port);
    await greeting(client);
    client.send("before");
    await eventually("an echo", () => client.text.endsWith("before"));
    assert.equal((await bench.status()).data_plane?.connections, 1);
    await bench.reload(echoService("a", port, upstream, "one", ", relay: node"));
    client.send(" after");
    await eventually("an echo", () => client.text.endsWith("before after"));
    using other = await connect(port);
    await greeting(other);
    assert.equal((await bench.status()).data_plane?.connections, 1);
  });
});

suite("wakeport run with relay: auto", () => {
  test("starts the data plane for the first client only", async () => {
    await using server = await PeerServer.open();
    const { port, yaml } = await forward(server);
    await using bench = await Bench.start(yaml);
    assert.deepEqual((await bench.status()).data_plane, { state: "idle", connections: 0, listeners: 0 });
    assert.doesNotMatch(readFileSync(`/proc/${bench.program.child.pid}/maps`, "latin1"), /koffi/);
    const first = await through(port, server);
    await isUp(bench);
    // Node keeps the connections that it relays.
    first.client.end();
    first.upstream.end("bye");
    assert.equal(await first.client.ended(), "ended");
    assert.equal(first.client.text, "bye");
    await through(port, server);
    await eventually("one connection", async () => (await bench.status()).data_plane?.connections === 1);
  });
});

suite("wakeport run with relay: node", () => {
  test("never starts the data plane", async () => {
    await using server = await PeerServer.open();
    const { port, yaml } = await forward(server, ", relay: node");
    await using bench = await Bench.start(yaml);
    const { client, upstream } = await through(port, server);
    upstream.end("bye");
    assert.equal(await client.ended(), "ended");
    assert.deepEqual((await bench.status()).data_plane, { state: "idle", connections: 0, listeners: 0 });
  });
});

suite("wakeport run on a system without koffi", () => {
  for (const relay of ["auto", "splice"]) {
    test(`relays by Node with relay: ${relay}, and names the reason once`, async () => {
      await using server = await PeerServer.open();
      const { port, yaml } = await forward(server, `, relay: ${relay}`);
      await using bench = await Bench.start(yaml, WITHOUT_KOFFI);
      for (let count = 1; count <= 2; count += 1) {
        const { client, upstream } = await through(port, server);
        upstream.end(payload(MIB));
        assert.equal(await client.ended(), "ended");
        assert.ok(client.data.equals(payload(MIB)));
        client.end();
        await bench.program.logged("connection.closed", count);
        await bench.program.logged("relay.unavailable");
      }
      assert.equal(bench.program.log.filter(({ event }) => event === "relay.unavailable").length, 1);
      assert.deepEqual((await bench.status()).data_plane, {
        state: "unavailable",
        connections: 0,
        listeners: 0,
        problem: "koffi cannot be loaded: koffi is not installed",
      });
    });
  }
});
