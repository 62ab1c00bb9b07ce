/** Heads of HTTP requests, complete and in pieces. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { HttpHeadError, HttpHeadReader, valuesOf } from "../../src/net/http-head.ts";

function read(text: string): ReturnType<HttpHeadReader["read"]> {
  return new HttpHeadReader().read(Buffer.from(text, "latin1"));
}

suite("HttpHeadReader.read()", () => {
  test("returns the request line and the headers, up to the blank line", () => {
    const head = "GET /a?b=c HTTP/1.1\r\nHost: app.test\r\nX-Empty:\r\nAccept: text/html, */*;q=0.1 \t\r\n\r\n";
    const found = read(`${head}the body\r\n\r\n`);
    assert.deepEqual(found, {
      method: "GET",
      target: "/a?b=c",
      version: "1.1",
      headers: [
        { name: "host", value: "app.test" },
        { name: "x-empty", value: "" },
        { name: "accept", value: "text/html, */*;q=0.1" },
      ],
      length: head.length,
    });
  });

  test("accepts no headers, lines that end in LF alone, and blank lines before the request line", () => {
    assert.deepEqual(read("GET / HTTP/1.0\n\n")?.headers, []);
    assert.equal(read("\r\n\nGET / HTTP/1.1\nHost: a\r\n\n")?.headers[0]?.value, "a");
    assert.equal(read("OPTIONS * HTTP/1.1\r\n\r\n")?.target, "*");
    assert.equal(read("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?.version, "2.0");
    assert.deepEqual(valuesOf(read("GET / HTTP/1.1\nA: 1\nB: 2\na: 3\n\n") ?? { headers: [] }, "a"), ["1", "3"]);
  });

  test("removes spaces and tabs around values, and nothing else", () => {
    assert.deepEqual(
      read("GET / HTTP/1.1\r\nA:\t b \t c\t\r\nB: \t \r\nC:\xa0d\xa0\r\n\r\n")?.headers.map(({ value }) => value),
      ["b \t c", "", "\xa0d\xa0"],
    );
  });

  test("reads many blanks in linear time", () => {
    const blanks = " \t".repeat(30_000);
    const began = performance.now();
    assert.throws(() => read(`GET / HTTP/1.1\r\nA:${blanks}\x01\r\n\r\n`), HttpHeadError);
    assert.throws(() => read(`GET / HTTP/1.1\r\nA: b${blanks}\x01\r\n\r\n`), HttpHeadError);
    assert.equal(read(`GET / HTTP/1.1\r\nA: b${blanks}c\r\n\r\n`)?.headers[0]?.value.length, blanks.length + 2);
    assert.ok(performance.now() - began < 1_000, "one client must not block others");
  });

  test("searches each byte once, also with short lines and small pieces", (t) => {
    const head = Buffer.from(`GET / HTTP/1.1\r\n${"a:\n".repeat(2_000)}\n`);
    const reader = new HttpHeadReader();
    let searched = 0;
    const { indexOf } = Buffer.prototype;
    t.mock.method(Buffer.prototype, "indexOf", function search(this: Buffer, byte: number, from: number) {
      const found = indexOf.call(this, byte, from);
      searched += (found < 0 ? this.length : found + 1) - from;
      return found;
    });
    for (let length = 1; length < head.length; length += 1) {
      assert.equal(reader.read(head.subarray(0, length)), undefined);
    }
    assert.equal(reader.read(head)?.headers.length, 2_000);
    // Once at its arrival, and once more when the headers are read.
    assert.ok(searched <= 2 * head.length, `searched ${searched} bytes of a head of ${head.length}`);
  });

  test("returns the same for any pieces", () => {
    const head = "\r\n\nPOST /form HTTP/1.1\r\nHost: app.test\nA:\r\nB: c\r\n\r\nand a body\n\n";
    for (let cut = 0; cut <= head.length; cut += 1) {
      const reader = new HttpHeadReader();
      const early = reader.read(Buffer.from(head.slice(0, cut)));
      assert.deepEqual(early ?? reader.read(Buffer.from(head)), read(head), `cut at ${cut}`);
    }
  });

  test("returns undefined before the last byte", () => {
    const head = "\r\nPOST /form HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\n\r\n";
    for (let length = 0; length < head.length; length += 1) assert.equal(read(head.slice(0, length)), undefined);
    assert.equal(read(head)?.method, "POST");
    assert.equal(read(head)?.length, head.length);
  });

  const wrong: Readonly<Record<string, string>> = {
    "TLS, from its first byte on": "\x16\x03\x01",
    "a blank before the method": " GET / HTTP/1.1\r\n",
    "no version": "GET /\r\n",
    "two blanks": "GET  / HTTP/1.1\r\n",
    "a blank in the target": "GET /a b HTTP/1.1\r\n",
    "a control in the target": "GET /\x00 HTTP/1.1\r\n",
    "CR within the line": "GET /\r HTTP/1.1\r\n",
    "HTTP/2 that is not its preface": "GET / HTTP/2.0\r\n",
    "HTTP/0.9 with a version": "GET / HTTP/0.9\r\n",
    "another protocol": "SSH-2.0-OpenSSH_9.2\r\n",
    "a blank before the colon": "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "a folded line": "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
    "no colon": "GET / HTTP/1.1\r\nHost\r\n\r\n",
    "no name": "GET / HTTP/1.1\r\n: a\r\n\r\n",
    "a NUL in a value": "GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "CR within a value": "GET / HTTP/1.1\r\nHost: a\rHost: b\r\n\r\n",
  };
  for (const [what, bytes] of Object.entries(wrong)) {
    test(`rejects ${what}`, () => assert.throws(() => read(bytes), HttpHeadError));
  }
});
