import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { DatagramBuffer } from "../../src/udp/datagram-buffer.ts";

suite("DatagramBuffer", () => {
  test("returns datagrams in order of arrival", () => {
    const buffer = new DatagramBuffer(10_000);
    for (const text of ["one", "", "three"]) assert.ok(buffer.add(Buffer.from(text)));
    assert.equal(buffer.length, 3);
    assert.deepEqual([buffer.shift(), buffer.shift(), buffer.shift(), buffer.shift()].map(String), [
      "one",
      "",
      "three",
      "undefined",
    ]);
  });

  test("limits the number of empty datagrams by their overhead", () => {
    const buffer = new DatagramBuffer(64 * 1024);
    let count = 0;
    while (buffer.add(Buffer.alloc(0))) count += 1;
    assert.equal(count, 256);
  });

  test("accepts one datagram of any length, and others after it left", () => {
    const buffer = new DatagramBuffer(100);
    assert.equal(buffer.add(Buffer.alloc(5_000)), true);
    assert.equal(buffer.add(Buffer.alloc(1)), false);
    buffer.shift();
    assert.equal(buffer.add(Buffer.alloc(5_000)), true);
    assert.equal(buffer.clear(), 1);
    assert.equal(buffer.length, 0);
  });
});
