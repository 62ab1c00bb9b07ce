/** Lines that arrive in any pieces. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { Lines, MAX_LINE, type Piece } from "../../../../src/proxy/protocols/ftp/lines.ts";
import { numRuns } from "../../../support/proxy/fuzz.ts";

function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const ends = [...at.map((one) => one % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
}

/** Returns the whole lines and the starts of long ones, which must not depend on the pieces. */
function parsed(pieces: readonly Piece[]): string[] {
  return pieces.flatMap(({ bytes, place }) =>
    place === "whole" || place === "start" ? [`${place} ${bytes.toString("latin1")}`] : [],
  );
}

function push(lines: Lines, chunk: Buffer): Piece[] {
  lines.push(chunk);
  const pieces: Piece[] = [];
  for (let piece = lines.next(); piece !== undefined; piece = lines.next()) pieces.push(piece);
  return pieces;
}

const long = (length: number): Buffer => Buffer.alloc(length, "x");
const part = fc.oneof(
  fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  fc
    .constantFrom("\n", "\r\n", "\r", "\0", "\xff\xf4\xff\xf2", "220 hello\r\n")
    .map((text) => Buffer.from(text, "latin1")),
  fc.constantFrom(MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, 3 * MAX_LINE).map(long),
);

suite("Lines", () => {
  test("next() returns lines with their newline, with or without a carriage return", () => {
    const lines = new Lines();
    assert.deepEqual(parsed(push(lines, Buffer.from("USER a\r\nPA"))), ["whole USER a\r\n"]);
    assert.deepEqual(parsed(push(lines, Buffer.from("SS b\n\nQ"))), ["whole PASS b\n", "whole \n"]);
    assert.equal(lines.rest().toString(), "Q");
    assert.equal(lines.rest().length, 0);
  });

  test("next() returns a long line in parts", () => {
    const lines = new Lines();
    const pieces = [
      ...push(lines, long(MAX_LINE)),
      ...push(lines, long(1)),
      ...push(lines, long(5)),
      ...push(lines, Buffer.from("y\r\nNOOP\r\n")),
    ];
    const shape = pieces.map(({ bytes, place }) => [place, bytes.length]);
    assert.deepEqual(shape.at(0), ["start", MAX_LINE]);
    assert.deepEqual(shape.at(-1), ["whole", 6]);
    assert.equal(shape.filter(([place]) => place === "end").length, 1);
  });

  test("searches a line that arrives byte by byte once, and copies its bytes a few times", (t) => {
    let [searched, copied] = [0, 0];
    const { indexOf, copy } = Buffer.prototype;
    t.mock.method(Buffer.prototype, "indexOf", function search(this: Buffer, byte: number, from: number) {
      const found = indexOf.call(this, byte, from);
      searched += (found < 0 ? this.length : found + 1) - from;
      return found;
    });
    t.mock.method(Buffer.prototype, "copy", function count(this: Buffer, ...parameters: Parameters<typeof copy>) {
      const bytes = copy.apply(this, parameters);
      copied += bytes;
      return bytes;
    });
    const together = t.mock.method(Buffer, "concat").mock;
    const lines = new Lines();
    const length = 4_000;
    push(lines, Buffer.from("NOOP\r\n"));
    for (let count = 0; count < length; count += 1) assert.deepEqual(push(lines, Buffer.from("x")), []);
    assert.equal(push(lines, Buffer.from("\n"))[0]?.bytes.length, length + 1);
    assert.ok(searched <= 2 * length && copied <= 4 * length, `${searched} searched, ${copied} copied`);
    assert.equal(together.callCount(), 0);
  });

  test("loses and adds no bytes, and holds at most one line", () => {
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), fc.array(fc.nat(100_000), { maxLength: 8 }), (parts, cuts) => {
        const bytes = Buffer.concat(parts);
        const lines = new Lines();
        const pieces: Piece[] = [];
        let returned = 0;
        let received = 0;
        for (const chunk of cut(bytes, cuts)) {
          const fresh = push(lines, chunk);
          pieces.push(...fresh);
          received += chunk.length;
          returned += fresh.reduce((sum, one) => sum + one.bytes.length, 0);
          assert.ok(received - returned <= MAX_LINE, "held");
        }
        const rest = lines.rest();
        assert.ok(Buffer.concat([...pieces.map((piece) => piece.bytes), rest]).equals(bytes));
        assert.deepEqual(parsed(pieces), parsed(push(new Lines(), bytes)));
      }),
      { numRuns },
    );
  });
});
