import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { connectionLimit, LimitError, Seats } from "../../src/net/admission.ts";

suite("Seats", () => {
  test("refuses one more than its limit, by name", () => {
    const seats = new Seats(2, 'clients waiting for service "ftp"');
    seats.take();
    seats.take();
    assert.throws(() => seats.take(), {
      name: "LimitError",
      message: 'clients waiting for service "ftp": limit of 2 reached',
    });
    assert.equal(seats.taken, 2);
  });

  test("has a place again once one was given back", () => {
    const seats = new Seats(1, "connections");
    const first = seats.take();
    assert.throws(() => seats.take(), LimitError);
    first[Symbol.dispose]();
    assert.equal(seats.taken, 0);
    using _second = seats.take();
    assert.equal(seats.taken, 1);
  });
});

suite("connectionLimit()", () => {
  const cases: readonly { readonly openFiles: number; readonly listeners: number; readonly limit: number }[] = [
    { openFiles: 1024, listeners: 10, limit: 475 },
    { openFiles: 1024, listeners: 11, limit: 474 },
    { openFiles: 1_048_576, listeners: 1, limit: 524_255 },
    { openFiles: 67, listeners: 1, limit: 1 },
    { openFiles: 32, listeners: 50, limit: 1 },
  ];
  for (const { openFiles, listeners, limit } of cases) {
    test(`of ${openFiles} open files and ${listeners} listeners is ${limit}`, () => {
      assert.equal(connectionLimit(openFiles, listeners), limit);
    });
  }

  test("never needs more descriptors than there are, above the smallest limits", () => {
    for (let openFiles = 80; openFiles < 5_000; openFiles += 7) {
      const needed = 2 * connectionLimit(openFiles, 5) + 5 + 64;
      assert.ok(needed <= openFiles, `${needed} of ${openFiles}`);
    }
  });
});
