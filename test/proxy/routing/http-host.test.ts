/** The host of a request: valid and invalid, complete and in pieces. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { HttpHeadError, HttpHeadReader } from "../../../src/net/http-head.ts";
import { hostOf } from "../../../src/proxy/routing/http-host.ts";
import { cuts, damage, numRuns, readInPieces } from "../../support/proxy/fuzz.ts";

/** Reads the host as on a shared port. */
function newReader(): (bytes: Buffer) => { readonly host: string | undefined } | undefined {
  const reader = new HttpHeadReader();
  return (bytes) => {
    const head = reader.read(bytes);
    return head && { host: hostOf(head) };
  };
}

function host(head: string): string | undefined {
  const found = newReader()(Buffer.from(`${head}\r\n\r\n`, "latin1"));
  assert.ok(found !== undefined);
  return found.host;
}

suite("hostOf()", () => {
  const hosts: Readonly<Record<string, string | undefined>> = {
    "GET / HTTP/1.1\r\nHost: App.Test": "app.test",
    "GET / HTTP/1.1\r\nhost:app.test:8080": "app.test",
    "GET / HTTP/1.1\r\nHOST: app.test.": "app.test",
    "GET / HTTP/1.1\r\nHost: app.test:": "app.test",
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:80": "127.0.0.1",
    "GET / HTTP/1.1\r\nHost: [::1]:80": "[::1]",
    "GET / HTTP/1.1\r\nHost: [2001:DB8::1]": "[2001:db8::1]",
    "GET / HTTP/1.1\r\nHost:": undefined,
    "GET / HTTP/1.0": undefined,
    "PRI * HTTP/2.0": undefined,
    "OPTIONS * HTTP/1.1\r\nHost: app.test": "app.test",
    "GET http://app.test/ HTTP/1.1\r\nHost: other.test": "app.test",
    "GET http://app.test:8080?q HTTP/1.1\r\nHost: other.test": "app.test",
    "GET HTTPS://APP.test HTTP/1.1": "app.test",
    "CONNECT app.test:443 HTTP/1.1\r\nHost: other.test": "app.test",
    "GET /http://other.test/ HTTP/1.1\r\nHost: app.test": "app.test",
  };
  for (const [head, name] of Object.entries(hosts)) {
    test(`returns ${name ?? "undefined"} for ${JSON.stringify(head)}`, () => assert.equal(host(head), name));
  }

  const rejected: readonly string[] = [
    "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test",
    "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test",
    "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nHost: b.test",
    "GET / HTTP/1.1\r\nHost: a.test, b.test",
    "GET / HTTP/1.1\r\nHost: a.test b.test",
    "GET / HTTP/1.1\r\nHost: user@a.test",
    "GET / HTTP/1.1\r\nHost: a.test/path",
    "GET / HTTP/1.1\r\nHost: a.test:http",
    "GET / HTTP/1.1\r\nHost: a.test:123456",
    "GET / HTTP/1.1\r\nHost: [::1",
    "GET / HTTP/1.1\r\nHost: [::g]",
    "GET / HTTP/1.1\r\nHost: ::1",
    "GET / HTTP/1.1\r\nHost: :80",
    "GET / HTTP/1.1\r\nHost: b\xfccher.test",
    "GET / HTTP/1.1\r\nHost: a%2etest",
    "GET http:///path HTTP/1.1\r\nHost: a.test",
    "GET http://user@a.test/ HTTP/1.1\r\nHost: b.test",
    "GET a.test HTTP/1.1\r\nHost: a.test",
    "CONNECT / HTTP/1.1\r\nHost: a.test",
  ];
  for (const head of rejected)
    test(`rejects ${JSON.stringify(head)}`, () => assert.throws(() => host(head), HttpHeadError));
});

suite("hostOf() of random requests", () => {
  const name = fc.constantFrom("app.test", "APP.test.", "www.app.test", "127.0.0.1", "[::1]");
  const field = fc
    .tuple(
      fc.constantFrom("Host", "host", "Accept", "X-A", "Cookie"),
      fc.oneof(name, fc.string({ maxLength: 8, unit: "binary-ascii" })),
    )
    .map(([key, value]) => `${key}: ${value}`);
  const eol = fc.constantFrom("\r\n", "\r\n", "\r\n", "\n");
  const request = fc
    .tuple(
      fc.constantFrom("GET", "POST", "CONNECT", "PRI", "g"),
      fc.constantFrom("/", "/a?b", "*", "http://app.test/", "app.test:80", "x"),
      fc.constantFrom("HTTP/1.1", "HTTP/1.0", "HTTP/2.0"),
      fc.array(field, { maxLength: 5 }),
      eol,
      fc.string({ maxLength: 20, unit: "binary-ascii" }),
    )
    .map(([method, target, version, fields, end, body]) =>
      Buffer.from([`${method} ${target} ${version}`, ...fields, "", body].join(end), "latin1"),
    );

  test("returns the same host for any pieces", () => {
    fc.assert(
      fc.property(request, cuts, (bytes, places) => {
        readInPieces(newReader, bytes, places, HttpHeadError);
      }),
      { numRuns },
    );
  });

  test("rejects damaged requests or returns a valid name", () => {
    fc.assert(
      fc.property(request, damage, cuts, (bytes, harm, places) => {
        const reading = readInPieces(newReader, harm(bytes), places, HttpHeadError);
        if (reading === undefined || "error" in reading) return;
        assert.match((reading.value as { host?: string }).host ?? "", /^([a-z0-9._-]{0,253}|\[[0-9a-f:.]+\])$/);
      }),
      { numRuns },
    );
  });
});
