/** A forward, between real sockets. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Forward } from "../../../src/proxy/handlers/forward.ts";
import { eventually } from "../../support/eventually.ts";
import { freePort } from "../../support/free-port.ts";
import { countDialling, deafPort, PeerServer } from "../../support/net/tcp.ts";
import { DirectFront } from "../../support/proxy/listener.ts";

suite("a forward", () => {
  test("relays both ways, and a half-close as a half-close", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await DirectFront.open(
      new Forward({ host: "localhost", port: server.port, timeoutMs: 5_000 }),
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

  test("refuses a client with a reset where nothing listens", async () => {
    await using listenPort = await DirectFront.open(
      new Forward({ host: "127.0.0.1", port: await freePort(), timeoutMs: 5_000 }),
    );
    using client = listenPort.connect();
    assert.equal(await client.ended(), "ECONNRESET");
    const [report] = await listenPort.reported(1);
    assert.equal(report?.outcome, "dial_failed");
    assert.match(report?.error?.message ?? "", /ECONNREFUSED/);
  });

  test("gives up when the other side does not answer in time", async () => {
    await using deaf = await deafPort();
    await using listenPort = await DirectFront.open(new Forward({ host: "127.0.0.1", port: deaf.port, timeoutMs: 50 }));
    using client = listenPort.connect();
    assert.equal(await client.ended(), "ECONNRESET");
    const [report] = await listenPort.reported(1);
    assert.equal(report?.outcome, "dial_failed");
    assert.match(report?.error?.message ?? "", /did not accept within 0.05 s/);
  });

  test("lets go of the dial when the client leaves", async () => {
    await using deaf = await deafPort();
    await using listenPort = await DirectFront.open(
      new Forward({ host: "127.0.0.1", port: deaf.port, timeoutMs: 60_000 }),
    );
    const others = countDialling(deaf.port);
    using client = listenPort.connect();
    await eventually("it is being dialled", () => countDialling(deaf.port) > others);
    client.reset();
    assert.equal((await listenPort.reported(1))[0]?.outcome, "client_gone");
    await eventually("nobody dials any more", () => countDialling(deaf.port) === others);
  });
});
