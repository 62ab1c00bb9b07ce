/** Forwards between real sockets. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { nodeRelayer } from "../../../src/net/relay.ts";
import { Forward } from "../../../src/proxy/handlers/forward.ts";
import { eventually } from "../../support/eventually.ts";
import { freePort } from "../../support/free-port.ts";
import { countDialling, deafPort, PeerServer } from "../../support/net/tcp.ts";
import { DirectFront } from "../../support/proxy/listener.ts";

suite("a forward", () => {
  test("relays both directions and half-closes", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await DirectFront.open(
      new Forward({ host: "localhost", port: server.port, timeoutMs: 5_000, relayer: nodeRelayer }),
    );
    using client = listenPort.connect();
    client.end("question");
    const upstream = await server.accepted();
    assert.equal(await upstream.ended(), "ended");
    assert.equal(upstream.text, "question");
    upstream.end("answer");
    assert.equal(await client.ended(), "ended");
    assert.equal(client.text, "answer");
    const [report] = await listenPort.reported(1);
    assert.deepEqual([report?.outcome, report?.end, report?.start], ["relayed", "clean", "warm"]);
    assert.deepEqual([report?.bytesIn, report?.bytesOut], [8, 6]);
  });

  test("resets the client if nothing listens", async () => {
    await using listenPort = await DirectFront.open(
      new Forward({ host: "127.0.0.1", port: await freePort(), timeoutMs: 5_000, relayer: nodeRelayer }),
    );
    using client = listenPort.connect();
    assert.equal(await client.ended(), "ECONNRESET");
    const [report] = await listenPort.reported(1);
    assert.equal(report?.outcome, "dial_failed");
    assert.match(report?.error?.message ?? "", /ECONNREFUSED/);
  });

  test("fails if the dial takes too long", async () => {
    await using deaf = await deafPort();
    await using listenPort = await DirectFront.open(
      new Forward({ host: "127.0.0.1", port: deaf.port, timeoutMs: 50, relayer: nodeRelayer }),
    );
    using client = listenPort.connect();
    assert.equal(await client.ended(), "ECONNRESET");
    const [report] = await listenPort.reported(1);
    assert.equal(report?.outcome, "dial_failed");
    assert.match(report?.error?.message ?? "", /did not accept within 0.05 s/);
  });

  test("aborts the dial if the client disconnects", async () => {
    await using deaf = await deafPort();
    await using listenPort = await DirectFront.open(
      new Forward({ host: "127.0.0.1", port: deaf.port, timeoutMs: 60_000, relayer: nodeRelayer }),
    );
    const others = countDialling(deaf.port);
    using client = listenPort.connect();
    await eventually("the dial has begun", () => countDialling(deaf.port) > others);
    client.reset();
    assert.equal((await listenPort.reported(1))[0]?.outcome, "client_gone");
    await eventually("the dial was aborted", () => countDialling(deaf.port) === others);
  });
});
