/** Bytes for clients whose target does not start, between real sockets. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { TargetError } from "../../../src/errors.ts";
import { mysql } from "../../../src/proxy/protocols/mysql.ts";
import { errorResponse, postgres, readFirst } from "../../../src/proxy/protocols/postgres.ts";
import type { Protocol } from "../../../src/proxy/protocols/protocol.ts";
import { raw } from "../../../src/proxy/protocols/raw.ts";
import { redis } from "../../../src/proxy/protocols/redis.ts";
import { smtp } from "../../../src/proxy/protocols/smtp.ts";
import { randomRuns } from "../../support/activation/random.ts";
import { eventually } from "../../support/eventually.ts";
import { freePort } from "../../support/free-port.ts";
import { checkLeaks } from "../../support/leaks.ts";
import { type Peer, PeerServer } from "../../support/net/tcp.ts";
import { TestListener } from "../../support/proxy/listener.ts";

checkLeaks();

const PATH = "/var/lib/secret";

async function failing(protocol: Protocol): Promise<TestListener> {
  return await TestListener.open({ upstream: await freePort(), protocol });
}

/** Lets the start fail after the client has sent `early`. */
async function failed(listenPort: TestListener, early: string | Buffer = ""): Promise<Peer> {
  const client = await listenPort.client();
  if (early.length > 0) {
    client.send(early);
    await eventually("the bytes have arrived", () => listenPort.accepted[0]?.bytesRead === early.length);
  }
  await listenPort.starting();
  listenPort.target.failStart(new TargetError("failed", `cannot execute ${PATH}`));
  return client;
}

/** Returns the text that the client received, which contains no internal details. */
async function textOf(client: Peer): Promise<string> {
  assert.equal(await client.ended(), "ended");
  assert.ok(!client.data.includes(PATH));
  return client.data.toString("latin1");
}

const int32 = (...numbers: number[]): Buffer => {
  const bytes = Buffer.alloc(4 * numbers.length);
  for (const [index, number] of numbers.entries()) bytes.writeUInt32BE(number, 4 * index);
  return bytes;
};
const SSL_REQUEST = int32(8, 80_877_103);
const GSSENC_REQUEST = int32(8, 80_877_104);
const CANCEL_REQUEST = int32(16, 80_877_102, 1, 2);
const parameters = Buffer.from("user\0me\0\0");
const STARTUP = Buffer.concat([int32(8 + parameters.length, 196_608), parameters]);
const NOT_UP = "SFATAL\0VFATAL\0C57P03\0Mweb is not available, try again later\0\0";

suite("a client whose target does not start", () => {
  const replies: readonly (readonly [string, Protocol, string])[] = [
    ["smtp", smtp({ kind: "auto" }), "421 4.3.2 web is not available, try again later\r\n"],
    ["smtp, held in silence", smtp({ kind: "silent" }), "421 4.3.2 web is not available, try again later\r\n"],
    ["mysql", mysql, "\x28\0\0\0\xff\x1d\x04web is not available, try again later"],
  ];
  for (const [name, protocol, expected] of replies) {
    test(`gets an error instead of the greeting: ${name}`, async () => {
      await using listenPort = await failing(protocol);
      // Also a client that sends before the greeting.
      using client = await failed(listenPort, "EHLO spam\r\nMAIL FROM:<a@b>\r\n");
      assert.equal(await textOf(client), expected);
    });
  }

  test("gets an error instead of a reply: redis", async () => {
    await using listenPort = await failing(redis);
    using client = await failed(listenPort, "AUTH secret\r\nGET a\r\n");
    assert.equal(await textOf(client), "-ERR web is not available, try again later\r\n");
  });

  test("gets no bytes if it has sent none: redis", async () => {
    await using listenPort = await failing(redis);
    using client = await failed(listenPort);
    assert.equal(await textOf(client), "");
  });

  test("is reset if it uses TLS: redis", async () => {
    await using listenPort = await failing(redis);
    using client = await failed(listenPort, Buffer.from([0x16, 0x03, 0x01, 0, 5]));
    assert.equal(await client.ended(), "ECONNRESET");
    assert.equal(client.received, 0);
  });

  const startups: Readonly<Record<string, readonly [asked: number, ...Buffer[]]>> = {
    plain: [0, STARTUP],
    "after TLS was denied": [1, SSL_REQUEST, STARTUP],
    "after both kinds of encryption were": [2, GSSENC_REQUEST, SSL_REQUEST, STARTUP],
  };
  for (const [name, [asked, ...messages]] of Object.entries(startups)) {
    test(`gets an error after its startup message: postgres, ${name}`, async () => {
      await using listenPort = await failing(postgres);
      using client = await failed(listenPort, messages[0]);
      for (const [index, message] of messages.slice(1).entries()) {
        await eventually("the encryption is denied", () => client.text === "N".repeat(index + 1));
        client.send(message);
      }
      const text = await textOf(client);
      assert.equal(text.slice(0, asked + 5), `${"N".repeat(asked)}E\0\0\0${String.fromCharCode(NOT_UP.length + 4)}`);
      assert.equal(text.slice(asked + 5), NOT_UP);
    });
  }

  const others: Readonly<Record<string, readonly [answer: string, Buffer]>> = {
    "a cancel request": ["", CANCEL_REQUEST],
    "no bytes": ["", Buffer.alloc(0)],
    "half a startup message and silence": ["", STARTUP.subarray(0, 7)],
    "another protocol": ["", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
    "the protocol of PostgreSQL 7.3": ["", int32(296, 131_072)],
    "TLS at once": ["", Buffer.from("16030100f4010000f00303", "hex")],
    "only requests for encryption": ["NNN", Buffer.concat([SSL_REQUEST, GSSENC_REQUEST, SSL_REQUEST, SSL_REQUEST])],
  };
  for (const [name, [answer, message]] of Object.entries(others)) {
    test(`is closed in time: postgres, ${name}`, async () => {
      await using listenPort = await failing(postgres);
      using client = await failed(listenPort, message);
      assert.equal(await textOf(client), answer);
    });
  }

  test("is closed if it resets the connection first", async () => {
    await using listenPort = await failing(postgres);
    const client = await failed(listenPort, SSL_REQUEST);
    await eventually("the encryption is denied", () => client.text === "N");
    client.reset();
    assert.equal((await listenPort.reported(1))[0]?.outcome, "start_failed");
    await eventually("its end was noticed", () => listenPort.accepted[0]?.destroyed === true);
  });
});

suite("a client whose target starts", () => {
  for (const [name, protocol, early] of [
    ["raw", raw, ""],
    ["mysql", mysql, ""],
    ["redis", redis, "*1\r\n$4\r\nPING\r\n"],
    ["postgres", postgres, SSL_REQUEST],
  ] as const) {
    test(`gets no bytes before those of the target: ${name}`, async () => {
      await using server = await PeerServer.open({ onPeer: (peer) => peer.send("word") });
      await using listenPort = await TestListener.open({ upstream: server.port, protocol });
      using client = await listenPort.client();
      if (early.length > 0) client.send(early);
      await listenPort.starting();
      assert.equal(client.received, 0);
      listenPort.target.finishStart();
      const upstream = await server.accepted();
      await upstream.receives(early.length);
      assert.ok(upstream.data.equals(Buffer.from(early)));
      await client.receives(4);
      assert.equal(client.text, "word");
      upstream.end();
      client.end();
      assert.equal((await listenPort.reported(1))[0]?.outcome, "relayed");
    });
  }
});

suite("the first message of PostgreSQL", () => {
  test("is recognized by its header", () => {
    assert.equal(readFirst(SSL_REQUEST.subarray(0, 7)), undefined);
    assert.equal(readFirst(Buffer.concat([SSL_REQUEST, STARTUP])), "encryption");
    assert.equal(readFirst(int32(9, 80_877_103)), "other");
    assert.equal(readFirst(STARTUP.subarray(0, 8)), "startup");
    assert.equal(readFirst(int32(20, 196_610)), "startup", "3.2");
    assert.equal(readFirst(CANCEL_REQUEST), "other");
  });

  test("has a kind as soon as its header is complete", (t) => {
    const code = fc.oneof(fc.constantFrom(196_608, 80_877_102, 80_877_103, 80_877_104), fc.nat({ max: 2 ** 32 - 1 }));
    const message = fc.tuple(fc.nat({ max: 20_000 }), code, fc.uint8Array({ maxLength: 4 }));
    fc.assert(
      fc.property(message, ([length, number, more]) => {
        const bytes = Buffer.concat([int32(length, number), more]);
        assert.equal(readFirst(bytes.subarray(0, 7)), undefined);
        assert.equal(readFirst(bytes), readFirst(bytes.subarray(0, 8)));
        const isKnown = number === 80_877_103 || number === 80_877_104 || number >>> 16 === 3;
        assert.ok(isKnown || readFirst(bytes) === "other");
      }),
      randomRuns(t, 2_000),
    );
  });

  test("gets an error with the right length", () => {
    const answer = errorResponse("57P03", "é");
    assert.equal(answer.readUInt32BE(1), answer.length - 1);
    assert.deepEqual(answer.subarray(-2), Buffer.from([0, 0]));
  });
});
