/** ClientHellos of real clients: in pieces, in many records, and damaged. */
import assert from "node:assert/strict";
import { before, suite, test } from "node:test";
import tls from "node:tls";
import fc from "fast-check";
import { ClientHelloError, ClientHelloReader } from "../../../src/proxy/routing/client-hello.ts";
import { eventually } from "../../support/eventually.ts";
import { checkLeaks } from "../../support/leaks.ts";
import { PeerServer } from "../../support/net/tcp.ts";
import { cuts, damage, numRuns, readInPieces } from "../../support/proxy/fuzz.ts";

checkLeaks();

/** Returns the ClientHello of Node's TLS client. */
async function helloOf(options: tls.ConnectionOptions): Promise<Buffer> {
  await using server = await PeerServer.open();
  const client = tls.connect({ port: server.port, host: "127.0.0.1", rejectUnauthorized: false, ...options });
  client.on("error", () => {});
  const peer = await server.accepted();
  await eventually("a record", () => peer.received > 5 && peer.received >= 5 + peer.data.readUInt16BE(3));
  client.destroy();
  return peer.data;
}

/** Returns the same message in records of these sizes; the last size is repeated. */
function scattered(hello: Buffer, sizes: readonly number[]): Buffer {
  const message = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; ) {
    const size = sizes[Math.min(records.length, sizes.length - 1)] ?? message.length;
    const fragment = message.subarray(at, at + size);
    records.push(Buffer.concat([Buffer.from([22, 3, 1, fragment.length >> 8, fragment.length & 255]), fragment]));
    at += size;
  }
  return Buffer.concat(records);
}

/** Returns a minimal message with these extensions. */
function made(
  extensions: readonly (readonly [type: number, content: readonly number[]])[],
  spare: number[] = [],
): Buffer {
  const two = (count: number): number[] => [count >> 8, count & 255];
  const list = extensions.flatMap(([type, content]) => [...two(type), ...two(content.length), ...content]);
  const body = [3, 3, ...new Array<number>(32).fill(7), 0, 0, 2, 0x13, 1, 1, 0, ...two(list.length), ...list, ...spare];
  const message = [1, 0, ...two(body.length), ...body];
  return Buffer.from([22, 3, 1, ...two(message.length), ...message]);
}

function serverName(...names: readonly (readonly number[])[]): readonly [number, readonly number[]] {
  const list = names.flatMap((name) => [0, name.length >> 8, name.length & 255, ...name]);
  return [0, [list.length >> 8, list.length & 255, ...list]];
}

function newReader(): (bytes: Buffer) => unknown {
  const reader = new ClientHelloReader();
  return (bytes) => reader.read(bytes);
}

const ascii = (text: string): number[] => [...Buffer.from(text, "latin1")];

suite("ClientHelloReader.read()", () => {
  const hellos = new Map<string, Buffer>();
  const wanted: Readonly<Record<string, readonly [tls.ConnectionOptions, name: string | undefined]>> = {
    "TLS 1.3": [{ servername: "app.test" }, "app.test"],
    "TLS 1.2": [{ servername: "app.test", maxVersion: "TLSv1.2" }, "app.test"],
    "a name in capitals": [{ servername: "App.TEST" }, "app.test"],
    "ALPN protocols": [{ servername: "www.app.test", ALPNProtocols: ["h2", "http/1.1"] }, "www.app.test"],
    "no name": [{}, undefined],
  };
  before(async () => {
    for (const [what, [options]] of Object.entries(wanted)) hellos.set(what, await helloOf(options));
  });

  for (const [what, [, name]] of Object.entries(wanted)) {
    test(`reads ${what}, byte by byte, in one record and in hundreds, and ignores later bytes`, () => {
      const hello = hellos.get(what) ?? Buffer.alloc(0);
      const found = name === undefined ? {} : { serverName: name };
      for (const bytes of [hello, scattered(hello, [1]), scattered(hello, [3, 1, 200, 2])]) {
        for (let length = 0; length < bytes.length; length += 1) {
          assert.equal(new ClientHelloReader().read(bytes.subarray(0, length)), undefined);
        }
        assert.deepEqual(new ClientHelloReader().read(bytes), found);
        // The next record may have another type.
        assert.deepEqual(new ClientHelloReader().read(Buffer.concat([bytes, Buffer.from([20, 3, 3, 0, 1, 1])])), found);
        assert.deepEqual(new ClientHelloReader().read(Buffer.concat([bytes, Buffer.from([23, 9])])), found);
      }
    });
  }

  test("reads a ClientHello of 16 KiB, and one without extensions", () => {
    const long = made([serverName(ascii("app.test")), [21, new Array<number>(16_000).fill(0)]]);
    assert.deepEqual(new ClientHelloReader().read(long), { serverName: "app.test" });
    const body = [3, 1, ...new Array<number>(32).fill(7), 0, 0, 2, 0, 0x2f, 1, 0];
    assert.deepEqual(
      new ClientHelloReader().read(Buffer.from([22, 3, 0, 0, body.length + 4, 1, 0, 0, body.length, ...body])),
      {},
    );
  });

  test("reads each record once, and joins all once, in any pieces", (t) => {
    const long = made([serverName(ascii("app.test")), [21, new Array<number>(2_000).fill(0)]]);
    const scarce = scattered(long, [1]);
    const records = scarce.length / 6;
    const together = t.mock.method(Buffer, "concat").mock;
    const lengths = t.mock.method(Buffer.prototype, "readUInt16BE").mock;
    const reader = new ClientHelloReader();
    for (let length = 1; length < scarce.length; length += 1) {
      assert.equal(reader.read(scarce.subarray(0, length)), undefined);
    }
    assert.deepEqual(reader.read(scarce), { serverName: "app.test" });
    assert.equal(together.callCount(), 1);
    // Each record is read at its header, at its byte, and at the join.
    assert.ok(lengths.callCount() <= 3 * records, `${lengths.callCount()} looks at ${records} records`);
  });

  const rejected: Readonly<Record<string, readonly [bytes: Buffer, isTls?: boolean]>> = {
    HTTP: [Buffer.from("GET / HTTP/1.1\r\n"), false],
    "a hello of SSL 2": [Buffer.from([0x80, 0x2e, 1, 3, 1]), false],
    "another major version": [Buffer.from([22, 4, 0]), false],
    "another record": [Buffer.from([23, 3, 3, 0, 5]), false],
    "an empty record": [Buffer.from([22, 3, 1, 0, 0])],
    "a record that is too long": [Buffer.from([22, 3, 1, 0x40, 1])],
    "another message": [Buffer.from([22, 3, 1, 0, 5, 2])],
    "another record in its middle": [Buffer.concat([made([]).subarray(0, 0), Buffer.from([22, 3, 1, 0, 1, 1, 21, 3])])],
    "a name with NUL": [made([serverName(ascii("app.test\0.evil"))])],
    "a name that is not ASCII": [made([serverName([0xfc, 0x2e, 0x61])])],
    "an empty name": [made([serverName([])])],
    "an empty list of names": [made([[0, [0, 0]]])],
    "a name extension without content": [made([[0, []]])],
    "two names": [made([serverName(ascii("a.test"), ascii("b.test"))])],
    "the name twice": [made([serverName(ascii("a.test")), serverName(ascii("b.test"))])],
    "a name of another type": [made([[0, [0, 4, 1, 0, 1, 97]]])],
    "a name of 64 KiB": [made([[0, [0, 4, 0, 0xff, 0xff, 97]]])],
    "bytes behind the extensions": [made([], [1])],
  };
  for (const [what, [bytes, isTls = true]] of Object.entries(rejected)) {
    test(`rejects ${what}`, () => {
      assert.throws(
        () => new ClientHelloReader().read(bytes),
        (error) => error instanceof ClientHelloError && error.isTls === isTls,
      );
    });
  }

  test("at random: returns the same name for any pieces and records", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 600 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(wanted)), sizes, cuts, (what, record, places) => {
        const bytes = scattered(hellos.get(what) ?? Buffer.alloc(0), record);
        const name = wanted[what]?.[1];
        const reading = readInPieces(newReader, bytes, places, ClientHelloError);
        assert.deepEqual(reading, { value: name === undefined ? {} : { serverName: name } });
      }),
      { numRuns },
    );
  });

  test("at random: rejects damaged ones or returns a valid name, in any pieces", () => {
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(wanted)), damage, cuts, (what, harm, places) => {
        const bytes = harm(hellos.get(what) ?? Buffer.alloc(0));
        const reading = readInPieces(newReader, bytes, places, ClientHelloError);
        if (reading === undefined || "error" in reading) return;
        assert.match((reading.value as { serverName?: string }).serverName ?? "", /^[a-z0-9._-]{0,253}$/);
      }),
      { numRuns },
    );
  });
});
