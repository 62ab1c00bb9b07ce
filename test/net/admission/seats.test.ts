import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { connectionLimit, LimitError, Seats } from "../../../src/net/admission/seats.ts";

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
  const cases: readonly { readonly openFiles: number; readonly reserved: number; readonly limit: number }[] = [
    { openFiles: 1024, reserved: 74, limit: 475 },
    { openFiles: 1024, reserved: 75, limit: 474 },
    { openFiles: 67, reserved: 65, limit: 1 },
    { openFiles: 32, reserved: 114, limit: 1 },
  ];
  for (const { openFiles, reserved, limit } of cases) {
    test(`of ${openFiles} open files, ${reserved} of them reserved, is ${limit}`, () => {
      assert.equal(connectionLimit(openFiles, reserved), limit);
    });
  }
});
