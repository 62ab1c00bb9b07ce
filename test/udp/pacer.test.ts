import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Pacer } from "../../src/udp/pacer.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

/** Acquires `count` times. @returns the numbers of the granted calls, in order */
function acquire(pacer: Pacer, count: number, bytes = 10): number[] {
  const granted: number[] = [];
  for (let turn = 1; turn <= count; turn += 1) void pacer.acquire(bytes).then(() => granted.push(turn));
  return granted;
}

suite("Pacer", () => {
  test("grants a burst at once, and the next one after a silence of the target", async () => {
    const pacer = new Pacer();
    const began = performance.now();
    const granted = acquire(pacer, 200);
    await eventually("all were granted", () => granted.length === 200);
    assert.ok(performance.now() - began > 55, "four bursts take three pauses");
    assert.deepEqual(
      granted,
      granted.toSorted((a, b) => a - b),
    );
  });

  test("grants one more for each answer", async () => {
    const pacer = new Pacer();
    const granted = acquire(pacer, 70);
    for (let answer = 0; answer < 6; answer += 1) pacer.answered();
    await Promise.resolve();
    assert.equal(granted.length, 70);
  });

  test("counts the length of datagrams, and grants the largest alone", async () => {
    const pacer = new Pacer();
    const granted = acquire(pacer, 3, 60_000);
    await Promise.resolve();
    assert.equal(granted.length, 1);
    await eventually("the others are granted", () => granted.length === 3);
  });
});
