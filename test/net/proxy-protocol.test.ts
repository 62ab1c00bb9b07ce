/** Headers of the PROXY protocol, valid and invalid. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import type { SocketAddresses } from "../../src/net/addresses.ts";
import { readIp } from "../../src/net/ip.ts";
import { MAX_PROXY_HEADER, ProxyHeaderError, proxyHeader, readProxyHeader } from "../../src/net/proxy-protocol.ts";
import { cuts, damage, numRuns, readInPieces } from "../support/proxy/fuzz.ts";

const signature = "\r\n\r\n\0\r\nQUIT\n";

function v1(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

/** Returns a header of version 2. @param length default: the length of the block */
function v2(command: number, kind: number, block: readonly number[] = [], length: number = block.length): Buffer {
  const head = Buffer.from([command, kind, length >> 8, length & 255]);
  return Buffer.concat([Buffer.from(signature, "latin1"), head, Buffer.from(block)]);
}

function addresses(peer: string, peerPort: number, local: string, localPort: number): SocketAddresses {
  return { peer: { address: peer, port: peerPort }, local: { address: local, port: localPort } };
}

const inet = [10, 1, 2, 3, 192, 168, 0, 1, 0xc0, 0x01, 0x01, 0xbb];
const inet6 = [
  ...[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
  ...[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
  ...[0xc0, 0x01, 0x01, 0xbb],
];
const unix = new Array<number>(216).fill(47);

suite("readProxyHeader()", () => {
  const read: Readonly<Record<string, readonly [bytes: Buffer, ends: SocketAddresses | undefined]>> = {
    "version 1, IPv4": [
      v1("PROXY TCP4 10.1.2.3 192.168.0.1 49153 443\r\n"),
      addresses("10.1.2.3", 49_153, "192.168.0.1", 443),
    ],
    "version 1, IPv6": [v1("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n"), addresses("2001:db8::1", 1, "::1", 65_535)],
    "version 1, the longest": [
      v1(`PROXY UNKNOWN ${"ffff:".repeat(7)}ffff ${"ffff:".repeat(7)}ffff 65535 65535\r\n`),
      undefined,
    ],
    "version 1, port 0": [v1("PROXY TCP4 1.1.1.1 2.2.2.2 0 0\r\n"), addresses("1.1.1.1", 0, "2.2.2.2", 0)],
    "version 1, UNKNOWN": [v1("PROXY UNKNOWN\r\n"), undefined],
    "version 1, UNKNOWN with whatever follows": [v1("PROXY UNKNOWN a b\x00c\r\n"), undefined],
    "version 2, IPv4": [v2(0x21, 0x11, inet), addresses("10.1.2.3", 49_153, "192.168.0.1", 443)],
    "version 2, IPv6": [v2(0x21, 0x21, inet6), addresses("2001:db8::1", 49_153, "2001:db8::2", 443)],
    "version 2, more after the addresses": [
      v2(0x21, 0x11, [...inet, 0x04, 0, 2, 1, 2, 0xe0, 0, 0]),
      addresses("10.1.2.3", 49_153, "192.168.0.1", 443),
    ],
    "version 2, LOCAL": [v2(0x20, 0), undefined],
    "version 2, LOCAL with addresses of any kind": [v2(0x20, 0xff, [1, 2, 3]), undefined],
    "version 2, AF_UNSPEC": [v2(0x21, 0), undefined],
    "version 2, AF_UNSPEC with more": [v2(0x21, 0, [0x04, 0, 1, 0]), undefined],
    "version 2, AF_UNIX": [v2(0x21, 0x31, unix), undefined],
  };
  for (const [what, [bytes, value]] of Object.entries(read)) {
    test(`reads ${what}, byte by byte, and ignores later bytes`, () => {
      for (let length = 0; length < bytes.length; length += 1) {
        assert.equal(readProxyHeader(bytes.subarray(0, length)), undefined);
      }
      const found = { value, used: bytes.length };
      assert.deepEqual(readProxyHeader(bytes), found);
      assert.deepEqual(readProxyHeader(Buffer.concat([bytes, Buffer.from("PROXY TCP4")])), found);
    });
  }

  const rejected: Readonly<Record<string, Buffer>> = {
    HTTP: v1("GET / HTTP/1.1\r\n"),
    "a similar first word": v1("PROXI"),
    "lower case": v1("proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n"),
    "version 1 without an end": v1(`PROXY UNKNOWN ${"a".repeat(93)}`),
    "version 1 with LF alone": v1("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n"),
    "an unknown family": v1("PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n"),
    "no family": v1("PROXY \r\n"),
    "two blanks": v1("PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n"),
    "a blank at the end": v1("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n"),
    "a port too few": v1("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n"),
    "a number in an address that is too large": v1("PROXY TCP4 999.1.1.1 2.2.2.2 1 2\r\n"),
    "a leading zero in an address": v1("PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n"),
    "an address of the other family": v1("PROXY TCP4 ::1 2.2.2.2 1 2\r\n"),
    "an IPv4 address as IPv6": v1("PROXY TCP6 1.1.1.1 ::1 1 2\r\n"),
    "a zone": v1("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"),
    "a port that is too large": v1("PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n"),
    "a leading zero in a port": v1("PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n"),
    "a port with a sign": v1("PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n"),
    "a name": v1("PROXY TCP4 localhost 2.2.2.2 1 2\r\n"),
    "a signature with a wrong last byte": Buffer.concat([Buffer.from(signature.slice(0, 11)), Buffer.from([0x0b])]),
    "version 1 in the form of 2": v2(0x11, 0x11, inet),
    "version 3": v2(0x31, 0x11, inet),
    "an unknown command": v2(0x22, 0x11, inet),
    "a datagram over IPv4": v2(0x21, 0x12, inet),
    "a datagram over UNIX": v2(0x21, 0x32, unix),
    "no transport": v2(0x21, 0x10, inet),
    "a transport that does not exist": v2(0x21, 0x13, inet),
    "a family that does not exist": v2(0x21, 0x41, inet),
    "fewer bytes than addresses of IPv4 have": v2(0x21, 0x11, inet.slice(1)),
    "fewer bytes than addresses of IPv6 have": v2(0x21, 0x21, inet6.slice(1)),
    "fewer bytes than addresses of UNIX have": v2(0x21, 0x31, unix.slice(1)),
    "a length of 65535": v2(0x21, 0x11, inet, 65_535),
    "LOCAL with a length of 65535": v2(0x20, 0, [], 65_535),
    "one byte more than the limit": v2(0x21, 0x11, inet, MAX_PROXY_HEADER - 15),
    "half a TLV after the addresses": v2(0x21, 0x11, [...inet, 4, 0]),
    "a TLV longer than the rest": v2(0x21, 0x11, [...inet, 4, 0, 3, 1, 2]),
  };
  for (const [what, bytes] of Object.entries(rejected)) {
    test(`rejects ${what}`, () => assert.throws(() => readProxyHeader(bytes), ProxyHeaderError));
  }

  test("rejects at the first invalid byte", () => {
    assert.throws(() => readProxyHeader(v1("G")), ProxyHeaderError);
    assert.throws(() => readProxyHeader(v1("PROXYX")), ProxyHeaderError);
    assert.throws(() => readProxyHeader(v1("\r\n\r\n\x01")), ProxyHeaderError);
  });
});

suite("proxyHeader()", () => {
  const written: Readonly<Record<string, readonly [SocketAddresses | undefined, v1: string]>> = {
    IPv4: [addresses("10.1.2.3", 5, "10.0.0.1", 80), "PROXY TCP4 10.1.2.3 10.0.0.1 5 80\r\n"],
    IPv6: [addresses("2001:db8::1", 5, "::1", 80), "PROXY TCP6 2001:db8::1 ::1 5 80\r\n"],
    "IPv4 on a listener of both": [
      addresses("::ffff:10.1.2.3", 5, "::ffff:10.0.0.1", 80),
      "PROXY TCP4 10.1.2.3 10.0.0.1 5 80\r\n",
    ],
    "an address with a zone": [addresses("fe80::2%eth0", 5, "fe80::1%eth0", 80), "PROXY TCP6 fe80::2 fe80::1 5 80\r\n"],
    "one of each": [addresses("10.1.2.3", 5, "2001:db8::1", 80), "PROXY TCP6 ::ffff:10.1.2.3 2001:db8::1 5 80\r\n"],
    "a client that has left": [addresses("", 0, "", 0), "PROXY UNKNOWN\r\n"],
    nobody: [undefined, "PROXY UNKNOWN\r\n"],
  };
  for (const [what, [given, text]] of Object.entries(written)) {
    test(`writes the same addresses in both versions: ${what}`, () => {
      assert.equal(proxyHeader("v1", given).toString(), text);
      const first = readProxyHeader(proxyHeader("v1", given));
      const second = proxyHeader("v2", given);
      assert.deepEqual(readProxyHeader(second), { value: first?.value, used: second.length });
    });
  }

  test("writes version 2 exactly as specified", () => {
    assert.deepEqual(proxyHeader("v2", addresses("10.1.2.3", 0xc001, "192.168.0.1", 443)), v2(0x21, 0x11, inet));
    assert.deepEqual(proxyHeader("v2", addresses("2001:db8::1", 0xc001, "2001:db8::2", 443)), v2(0x21, 0x21, inet6));
    assert.deepEqual(proxyHeader("v2"), v2(0x20, 0));
  });
});

suite("Random PROXY headers", () => {
  const port = fc.nat(65_535);
  const someEnds = fc
    .oneof(fc.tuple(fc.ipV4(), fc.ipV4()), fc.tuple(fc.ipV6(), fc.ipV6()), fc.tuple(fc.ipV4(), fc.ipV6()))
    .chain(([peer, local]) => fc.tuple(port, port).map(([from, to]) => addresses(peer, from, local, to)));
  const header = fc
    .tuple(fc.constantFrom("v1", "v2"), fc.option(someEnds, { nil: undefined }))
    .map(([version, given]) => ({ given, bytes: proxyHeader(version as "v1" | "v2", given) }));

  test("are read as they were written, in any pieces, without later bytes", () => {
    fc.assert(
      fc.property(header, fc.uint8Array({ maxLength: 40 }), cuts, ({ given, bytes }, rest, places) => {
        const all = Buffer.concat([bytes, rest]);
        const reading = readInPieces(() => readProxyHeader, all, places, ProxyHeaderError);
        assert.ok(reading !== undefined && "value" in reading);
        const { value, used } = reading.value as { value: SocketAddresses | undefined; used: number };
        assert.equal(used, bytes.length);
        assert.equal(value?.peer.port, given?.peer.port);
        // Compares addresses, not notations. An IPv4 address is mapped beside an IPv6 one.
        assert.deepEqual(value && readIp(value.peer.address), given && readIp(given.peer.address));
      }),
      { numRuns },
    );
  });

  test("if damaged, are rejected or contain valid addresses, in any pieces", () => {
    fc.assert(
      fc.property(header, damage, cuts, ({ bytes }, harm, places) => {
        const reading = readInPieces(() => readProxyHeader, harm(bytes), places, ProxyHeaderError);
        if (reading === undefined || "error" in reading) return;
        const { value, used } = reading.value as { value: SocketAddresses | undefined; used: number };
        assert.ok(used <= MAX_PROXY_HEADER);
        for (const end of value === undefined ? [] : [value.peer, value.local]) {
          assert.notEqual(readIp(end.address), undefined);
          assert.ok(Number.isInteger(end.port) && end.port >= 0 && end.port <= 65_535);
        }
      }),
      { numRuns },
    );
  });
});
