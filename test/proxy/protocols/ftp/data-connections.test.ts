/** Data connections between real sockets. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ExitedError } from "../../../../src/activation/errors.ts";
import { Slots } from "../../../../src/proxy/admission/slots.ts";
import type { ControlConnection } from "../../../../src/proxy/data-ports.ts";
import { KIB, payload } from "../../../bench/payload.ts";
import { eventually } from "../../../support/eventually.ts";
import { checkLeaks } from "../../../support/leaks.ts";
import { connecting, PeerServer } from "../../../support/net/tcp.ts";
import { Call, connectingFrom } from "../../../support/proxy/ftp-call.ts";

checkLeaks();

/** Registration of a control connection at data ports that the test controls. */
function controlOf(
  listenPort: number | undefined,
): ControlConnection & { hasPorts: boolean; readonly expected: number[]; disposed: number } {
  const forget = (): void => {
    control.disposed += 1;
  };
  const control = {
    hasPorts: true,
    expected: [] as number[],
    disposed: 0,
    reserve: (targetPort: number) => {
      control.expected.push(targetPort);
      return listenPort === undefined ? undefined : { listener: listenPort, [Symbol.dispose]: forget };
    },
    [Symbol.dispose]: () => {},
  };
  return control;
}

suite("passive mode", () => {
  test("connects to the port of the reply at the server's address", async () => {
    await using call = await Call.open();
    await using data = await PeerServer.open();
    const reply = await call.exchange("PASV", `227 ok (203,0,113,9,${data.port >> 8},${data.port & 255})`);
    const [, high, low] = /^227 ok \(127,0,0,1,(\d+),(\d+)\)$/.exec(reply) ?? [];
    using client = connecting(Number(high) * 256 + Number(low));
    const server = await data.accepted();
    client.end(payload(300 * KIB));
    assert.equal(await server.ended(), "ended");
    assert.ok(server.data.equals(payload(300 * KIB)));
    server.end("thanks");
    assert.equal(await client.ended(), "ended");
    assert.equal(client.text, "thanks");
    assert.ok(call.meter.in >= 300 * KIB);
  });

  test("replaces the address with the public address", async () => {
    await using call = await Call.open({ publicAddress: { family: "ipv4", bytes: [198, 51, 100, 1] } });
    assert.match(await call.exchange("PASV", "227 ok (10,0,0,1,4,0)"), /^227 ok \(198,51,100,1,\d+,\d+\)$/);
  });

  test("accepts one connection, only from the client's address", async () => {
    await using call = await Call.open();
    await using data = await PeerServer.open();
    const port = await call.passive(data.port);
    using stranger = connectingFrom("127.0.0.2", port);
    assert.equal(await stranger.ended(), "ECONNRESET");
    using client = connecting(port);
    const server = await data.accepted();
    using second = connecting(port);
    assert.match(await second.ended(), /ECONNREFUSED|ECONNRESET/);
    client.end("x");
    await eventually("the byte is relayed", () => server.text === "x");
    assert.equal(data.peers.length, 1);
    server.end();
  });

  test("closes an unused listener when the next one opens, and after a minute", async (t) => {
    await using call = await Call.open();
    await using data = await PeerServer.open();
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const first = await call.passive(data.port);
    const second = await call.passive(data.port);
    using early = connecting(first);
    assert.equal(await early.ended(), "ECONNREFUSED");
    assert.equal(call.slots.taken, 1);
    t.mock.timers.tick(59_999);
    assert.equal(call.slots.taken, 1);
    t.mock.timers.tick(1);
    assert.equal(call.slots.taken, 0);
    using late = connecting(second);
    assert.equal(await late.ended(), "ECONNREFUSED");
  });

  test("resets the client if the server does not listen", async () => {
    await using call = await Call.open();
    const data = await PeerServer.open();
    const { port } = data;
    await data[Symbol.asyncDispose]();
    using client = connecting(await call.passive(port));
    assert.equal(await client.ended(), "ECONNRESET");
    await eventually("its slot is free", () => call.slots.taken === 0);
    assert.deepEqual(call.warnings, ["ftp.data_failed"]);
  });

  test("replies 425 without a free slot", async () => {
    await using full = await Call.open({ slots: new Slots({ limit: 0, what: "slots" }) });
    assert.equal(await full.exchange("EPSV", "229 ok (|||5000|)"), "425 Cannot open a data connection now.");
    assert.equal(await full.exchange("EPRT |1|127.0.0.1|5000|", "501 what"), "425 Cannot open a data connection now.");
  });

  test("relays a reset in both directions", async () => {
    await using call = await Call.open();
    await using data = await PeerServer.open();
    for (const side of ["client", "server"] as const) {
      using client = connecting(await call.passive(data.port));
      using server = await data.accepted();
      (side === "client" ? client : server).send("half");
      const other = side === "client" ? server : client;
      await eventually("it has arrived", () => other.text === "half");
      (side === "client" ? client : server).reset();
      assert.equal(await other.ended(), "ECONNRESET");
    }
  });
});

suite("active mode", () => {
  test("connects the server to the client, and accepts no other connection", async () => {
    await using call = await Call.open();
    await using data = await PeerServer.open();
    const port = await call.active(data.port);
    assert.notEqual(port, data.port);
    using stranger = connectingFrom("127.0.0.2", port);
    assert.equal(await stranger.ended(), "ECONNRESET");
    using server = connecting(port);
    server.end("listing");
    const client = await data.accepted();
    assert.equal(await client.ended(), "ended");
    assert.equal(client.text, "listing");
    client.end();
    assert.equal(await server.ended(), "ended");
    assert.equal(call.meter.out, "220 hello\r\n200 ok\r\nlisting".length);
  });

  test("rejects connections to the address of a proxy", async () => {
    await using call = await Call.open({ peer: { address: "198.51.100.7", port: 4_444 } });
    for (const own of ["127.0.0.1", "198.51.100.7"]) {
      const reply = await call.exchange(`EPRT |1|${own}|2000|`, "500 what");
      assert.equal(reply, "502 EPRT cannot be used here: use EPSV or PASV.", own);
    }
    assert.equal(call.server.text, "EPRT\r\nEPRT\r\n");
    assert.equal(call.slots.taken, 0);
  });

  test("resets the server if the client does not listen", async () => {
    await using call = await Call.open();
    const data = await PeerServer.open();
    const { port } = data;
    await data[Symbol.asyncDispose]();
    using server = connecting(await call.active(port));
    assert.equal(await server.ended(), "ECONNRESET");
    assert.deepEqual(call.warnings, ["ftp.data_failed"]);
  });

  test("refuses the server if the client refuses, and reports it once", async () => {
    await using call = await Call.open();
    const data = await PeerServer.open();
    const { port } = data;
    await data[Symbol.asyncDispose]();
    for (const verb of ["LIST", "STOR a"]) {
      const near = await call.active(port);
      const before = call.server.received;
      call.client.send(`${verb}\r\nNOOP\r\n`);
      await call.server.receives(before + verb.length + 8);
      using server = connecting(near);
      assert.equal(await server.ended(), "ECONNREFUSED");
      assert.equal(call.slots.taken, 0);
    }
    assert.deepEqual(call.warnings, ["ftp.data_failed"]);
  });

  test("connects to the client once, before the transfer command is forwarded", async () => {
    await using call = await Call.open();
    await using data = await PeerServer.open();
    const near = await call.active(data.port);
    assert.equal(data.peers.length, 0);
    assert.equal(await call.exchange("RETR a", "150 here"), "150 here");
    const client = await data.accepted();
    using server = connecting(near);
    server.end("content");
    assert.equal(await client.ended(), "ended");
    assert.equal(client.text, "content");
    client.end();
    assert.equal(await server.ended(), "ended");
    assert.equal(data.peers.length, 1);
  });

  test("resets the client's connection if the server rejects the transfer, and connects again for the next one", async () => {
    await using call = await Call.open();
    await using data = await PeerServer.open();
    const near = await call.active(data.port);
    await call.exchange("RETR a", "550 no such file");
    assert.equal(await (await data.accepted()).ended(), "ECONNRESET");
    await call.exchange("RETR b", "150 here");
    const client = await data.accepted();
    using server = connecting(near);
    server.end("b");
    assert.equal(await client.ended(), "ended");
    assert.equal(client.text, "b");
  });

  test("resets the server if the client has reset its connection before", async () => {
    await using call = await Call.open();
    await using data = await PeerServer.open();
    const near = await call.active(data.port);
    await call.exchange("STOR a", "150 here");
    const client = await data.accepted();
    client.reset();
    await client.closes();
    using server = connecting(near);
    assert.equal(await server.ended(), "ECONNRESET");
  });

  test("closes the client's connection at the next PORT if the server never connected", async () => {
    await using call = await Call.open();
    await using data = await PeerServer.open();
    await call.active(data.port);
    await call.exchange("RETR a", "226 done");
    const client = await data.accepted();
    assert.equal(client.fate, "open");
    await call.exchange("EPRT |1|127.0.0.1|5000|", "200 ok");
    assert.equal(await client.ended(), "ECONNRESET");
  });

  test("closes the listener if the server rejects the address", async () => {
    await using call = await Call.open();
    await call.exchange("EPRT |1|127.0.0.1|5000|", "500 no");
    assert.equal(call.slots.taken, 0);
  });
});

suite("the end of the control connection", () => {
  test("waits for running transfers and closes unused listeners", async () => {
    await using call = await Call.open();
    await using data = await PeerServer.open();
    using client = connecting(await call.passive(data.port));
    const server = await data.accepted();
    const unused = await call.passive(data.port);
    call.client.end();
    call.server.end();
    await eventually("the control connection is over", () => call.client.fate === "ended");
    await eventually("the listener is closed", () => call.slots.taken === 1);
    using late = connecting(unused);
    assert.equal(await late.ended(), "ECONNREFUSED");
    assert.equal(call.end, undefined);
    server.end(payload(100 * KIB));
    client.end();
    assert.equal(await client.ended(), "ended");
    assert.equal(client.received, 100 * KIB);
    assert.equal(await call.ended(), "clean");
    assert.equal(call.slots.taken, 0);
  });

  test("resets transfers after forwarding what was sent", async () => {
    for (const reason of [new ExitedError("ftp", { code: 1 }), new Error("drained")]) {
      await using call = await Call.open();
      await using data = await PeerServer.open();
      using client = connecting(await call.passive(data.port));
      const server = await data.accepted();
      server.send("last bytes");
      await eventually("the bytes have arrived", () => client.text === "last bytes");
      call.lost.abort(reason);
      if (reason instanceof ExitedError) server.reset();
      assert.equal(await client.ended(), "ECONNRESET");
      call.client.reset();
      call.server.reset();
      await call.ended();
    }
  });
});

suite("with data ports", () => {
  test("replies with a data port, and opens no listener", async () => {
    const control = controlOf(30_004);
    await using call = await Call.open({ control });
    assert.match(await call.exchange("PASV", "227 ok (10,0,0,1,4,0)"), /^227 ok \(127,0,0,1,117,52\)$/);
    assert.equal(await call.exchange("EPSV", "229 ok (|||1025|)"), "229 ok (|||30004|)");
    assert.deepEqual(control.expected, [1024, 1025]);
    assert.equal(control.disposed, 1);
    assert.equal(call.slots.taken, 0);
    call.client.reset();
    await call.ended();
    assert.equal(control.disposed, 2);
  });

  test("replies 425 if none is free", async () => {
    await using call = await Call.open({ control: controlOf(undefined) });
    assert.equal(await call.exchange("PASV", "227 ok (10,0,0,1,4,0)"), "425 Cannot open a data connection now.");
  });

  test("uses free ports after a reload that removed the data ports", async () => {
    const control = controlOf(30_000);
    await using call = await Call.open({ control });
    assert.equal(await call.passive(1_024), 30_000);
    control.hasPorts = false;
    await using data = await PeerServer.open();
    using client = connecting(await call.passive(data.port));
    client.end("whole");
    assert.equal(await (await data.accepted()).ended(), "ended");
    assert.deepEqual(control.expected, [1_024]);
  });

  test("logs no warning about AUTH TLS", async () => {
    await using call = await Call.open({ control: controlOf(30_000) });
    await call.exchange("AUTH TLS", "234 go on");
    assert.deepEqual(call.warnings, []);
  });
});

suite("AUTH", () => {
  test("forwards all later bytes unchanged, including those behind it", async () => {
    await using call = await Call.open();
    call.client.send("AUTH TLS\r\n\x16\x03\x01hello, no line");
    await eventually("the server received the command", () => call.server.text === "AUTH TLS\r\n");
    call.server.send("234 go on\r\n\x16\x03\x03227 (1,2,3,4,5,6)");
    await eventually("the server has all", () => call.server.text.endsWith("\r\n\x16\x03\x01hello, no line"));
    await eventually("the client has all", () => call.client.text.endsWith("go on\r\n\x16\x03\x03227 (1,2,3,4,5,6)"));
    assert.deepEqual(call.warnings, ["ftp.encrypted"]);
  });

  test("sends the reply to a client that half-closed after it", async () => {
    await using call = await Call.open();
    call.client.end("AUTH TLS\r\nQUIT\r\n");
    await eventually("the server received the command", () => call.server.text === "AUTH TLS\r\n");
    call.server.send("500 no\r\n");
    assert.equal(await call.server.ended(), "ended");
    assert.equal(call.server.text, "AUTH TLS\r\nQUIT\r\n");
    call.server.end("221 bye\r\n");
    assert.equal(await call.client.ended(), "ended");
    assert.equal(call.client.text, "220 hello\r\n500 no\r\n221 bye\r\n");
    assert.equal(await call.ended(), "clean");
  });

  test("ends with a server that resets the connection", async () => {
    await using call = await Call.open();
    call.client.send("AUTH TLS\r\nNOOP\r\n");
    await eventually("the server received the command", () => call.server.text === "AUTH TLS\r\n");
    call.server.reset();
    assert.equal(await call.client.ended(), "ECONNRESET");
    assert.equal(await call.ended(), "upstream_reset");
  });
});

test("an endless line needs bounded memory", async () => {
  await using call = await Call.open();
  call.server.pause();
  call.client.flood(Buffer.alloc(64 * KIB, "x"));
  let before = -1;
  await eventually("the client is held back", async () => {
    const stands = call.meter.in === before && before > 0;
    before = call.meter.in;
    await new Promise((turn) => setTimeout(turn, 100));
    return stands;
  });
  const sent = call.meter.in;
  assert.ok(sent < 64 * 1024 * KIB, `${sent} bytes were received`);
});
