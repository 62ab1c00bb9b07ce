import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Pacer } from "../../src/udp/pacer.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

/** Asks for `count` turns, and says which came, in order. */
function ask(pacer: Pacer, count: number, bytes = 10): number[] {
  const came: number[] = [];
  for (let turn = 1; turn <= count; turn += 1) void pacer.acquire(bytes).then(() => came.push(turn));
  return came;
}

suite("Pace", () => {
  test("lets a burst go at once, and the next one when the target stays silent", async () => {
    const pacer = new Pacer();
    const came = ask(pacer, 200);
    const began = performance.now();
    await eventually("all had their turn", () => came.length === 200);
    assert.ok(performance.now() - began > 55, "four bursts take three pauses");
    assert.deepEqual(
      came,
      came.toSorted((a, b) => a - b),
    );
  });

  test("lets one more go for each answer", async () => {
    const pacer = new Pacer();
    const came = ask(pacer, 70);
    for (let answer = 0; answer < 6; answer += 1) pacer.answered();
    await Promise.resolve();
    assert.equal(came.length, 70);
  });

  test("counts large datagrams for what they are, and lets the largest go alone", async () => {
    const pacer = new Pacer();
    const came = ask(pacer, 3, 60_000);
    await Promise.resolve();
    assert.equal(came.length, 1);
    await eventually("the others follow", () => came.length === 3);
  });
});
