import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { DatagramBuffer } from "../../src/udp/datagram-buffer.ts";

suite("Held", () => {
  test("gives back what it took, in order", () => {
    const held = new DatagramBuffer(10_000);
    for (const text of ["one", "", "three"]) assert.ok(held.add(Buffer.from(text)));
    assert.equal(held.length, 3);
    assert.deepEqual([held.shift(), held.shift(), held.shift(), held.shift()].map(String), [
      "one",
      "",
      "three",
      "undefined",
    ]);
  });

  test("counts what small ones cost, so that not even empty ones are without end", () => {
    const held = new DatagramBuffer(64 * 1024);
    let count = 0;
    while (held.add(Buffer.alloc(0))) count += 1;
    assert.equal(count, 256);
  });

  test("always has room for one, however large, and for more as they leave", () => {
    const held = new DatagramBuffer(100);
    assert.equal(held.add(Buffer.alloc(5_000)), true);
    assert.equal(held.add(Buffer.alloc(1)), false);
    held.shift();
    assert.equal(held.add(Buffer.alloc(5_000)), true);
    assert.equal(held.clear(), 1);
    assert.equal(held.length, 0);
  });
});
