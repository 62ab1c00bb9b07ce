/** The builtins over real sockets. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Builtin, daytime, lines, time } from "../../../src/proxy/handlers/builtin.ts";
import { eventually } from "../../support/eventually.ts";
import { connecting, PeerServer } from "../../support/net/tcp.ts";
import { DirectFront } from "../../support/proxy/listener.ts";

suite("a builtin", () => {
  test("echo sends back the received bytes until the client ends", async () => {
    await using listenPort = await DirectFront.open(new Builtin("echo"));
    using peer = listenPort.connect();
    const words = Buffer.alloc(300_000, "echo");
    peer.end(words);
    assert.equal(await peer.ended(), "ended");
    assert.ok(peer.data.equals(words));
    const [report] = await listenPort.reported(1);
    const { outcome, end, bytesIn, bytesOut } = report ?? assert.fail();
    assert.deepEqual(
      { outcome, end, bytesIn, bytesOut },
      { outcome: "served", end: "clean", bytesIn: 300_000, bytesOut: 300_000 },
    );
    assert.deepEqual(listenPort.traffic.meter, { in: 300_000, out: 300_000 });
  });

  test("discard reads all bytes and sends none", async () => {
    await using listenPort = await DirectFront.open(new Builtin("discard"));
    using peer = listenPort.connect();
    peer.end(Buffer.alloc(300_000));
    assert.equal(await peer.ended(), "ended");
    assert.equal(peer.received, 0);
    assert.equal((await listenPort.reported(1))[0]?.bytesIn, 300_000);
  });

  for (const name of ["echo", "discard", "chargen"] as const) {
    test(`${name} ends with a client that ended while it waited`, async () => {
      await using server = await PeerServer.open();
      using peer = connecting(server.port);
      peer.end();
      const { socket } = await server.accepted();
      await eventually("its end was read", () => socket.readableEnded);
      const served = new Builtin(name).serve({ socket, meters: [], opened: () => {} });
      assert.equal(await peer.ended(), "ended");
      assert.equal(peer.received, 0);
      assert.equal((await served).outcome, "served");
    });
  }

  test("daytime sends the time and ends, even if the client sends bytes", async () => {
    await using listenPort = await DirectFront.open(new Builtin("daytime"));
    using peer = listenPort.connect();
    peer.send("what time is it?");
    assert.equal(await peer.ended(), "ended");
    assert.match(peer.text, /^\d\d [A-Z]{3} \d{4} \d\d:\d\d:\d\d \S+\r\n$/);
    peer.end();
    assert.equal((await listenPort.reported(1))[0]?.outcome, "served");
  });

  test("time sends four bytes", async () => {
    await using listenPort = await DirectFront.open(new Builtin("time"));
    using peer = listenPort.connect();
    assert.equal(await peer.ended(), "ended");
    const seconds = peer.data.readUInt32BE() - 2_208_988_800;
    assert.equal(peer.received, 4);
    assert.ok(Math.abs(seconds - Date.now() / 1000) < 60, String(seconds));
  });

  test("chargen sends lines until the client closes", async () => {
    await using listenPort = await DirectFront.open(new Builtin("chargen"));
    using peer = listenPort.connect();
    await peer.receives(1_000_000);
    const [first, second] = peer.text.split("\r\n");
    assert.deepEqual([first?.length, first?.[0], second?.length, second?.[0]], [72, " ", 72, "!"]);
    peer.reset();
    assert.equal((await listenPort.reported(1))[0]?.end, "client_reset");
  });

  test("reports a client reset", async () => {
    await using listenPort = await DirectFront.open(new Builtin("echo"));
    using peer = listenPort.connect();
    peer.send("word");
    await peer.receives(4);
    assert.equal(listenPort.traffic.active, 1);
    peer.reset();
    assert.equal((await listenPort.reported(1))[0]?.end, "client_reset");
    assert.equal(listenPort.traffic.active, 0);
  });

  test("formats times by RFC 867 and RFC 868", () => {
    assert.match(daytime(new Date(Date.UTC(2026, 10, 22, 7, 2, 9))), /^2[12] NOV 2026 \d\d:\d\d:09 \S+$/);
    assert.deepEqual(time(new Date(0)), Buffer.from([0x83, 0xaa, 0x7e, 0x80]));
    // 6:28:16 UTC on 7 February 2036.
    assert.deepEqual(time(new Date(Date.UTC(2036, 1, 7, 6, 28, 16))), Buffer.alloc(4));
  });

  test("chargen's lines wrap after the last printable character", () => {
    const firsts = lines()
      .take(96)
      .map((line) => line[0])
      .toArray();
    assert.deepEqual([firsts[0], firsts[94], firsts[95]], [" ", "~", " "]);
  });
});
