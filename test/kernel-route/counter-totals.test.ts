import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { CounterTotals } from "../../src/kernel-route/counter-totals.ts";

const counters = (up: number, down: number, connections: number) => new Map([["web", { up, down, connections }]]);

suite("CounterTotals", () => {
  test("returns what was counted since the last call, and adds it to the total", () => {
    const totals = new CounterTotals();
    assert.deepEqual(totals.add(counters(10, 20, 1)), counters(10, 20, 1));
    assert.deepEqual(totals.add(counters(15, 20, 2)), counters(5, 0, 1));
    assert.deepEqual(totals.of("web"), { up: 15, down: 20, connections: 2 });
  });

  test("returns no service whose counters did not move", () => {
    const totals = new CounterTotals();
    totals.add(counters(10, 20, 1));
    assert.deepEqual(totals.add(counters(10, 20, 1)), new Map());
  });

  test("continues when a new table counts from 0", () => {
    const totals = new CounterTotals();
    totals.add(counters(10, 20, 3));
    totals.add(counters(4, 5, 1));
    assert.deepEqual(totals.of("web"), { up: 14, down: 25, connections: 4 });
  });

  test("has no total of a service that was never used", () => {
    const totals = new CounterTotals();
    totals.add(counters(0, 0, 0));
    assert.equal(totals.of("web"), undefined);
  });
});
