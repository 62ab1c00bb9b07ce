import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Door, RefusalBudget } from "../../../src/net/udp/door.ts";
import type { Verdict } from "../../../src/net/udp/upstream.ts";
import { checkLeaks } from "../../support/leaks.ts";
import { eventually } from "../../support/tcp.ts";

checkLeaks();

const HERE = "127.0.0.1";
const ELSEWHERE = "172.17.0.2";

/** Knocks that meet `verdicts`, one after the other. */
function knocks(...verdicts: Verdict[]): { readonly knock: () => Promise<Verdict>; readonly count: () => number } {
  let count = 0;
  const knock = async (): Promise<Verdict> => verdicts[count++] ?? "refused";
  return { knock, count: () => count };
}

suite("Door", () => {
  const { signal } = new AbortController();

  test("is knocked at until one is not refused", async () => {
    const door = new Door(new RefusalBudget());
    const { knock, count } = knocks("refused", "refused", "quiet");
    assert.equal(await door.pass(HERE, knock, signal), "quiet");
    assert.equal(count(), 3);
    assert.equal(door.isOpen, true);
  });

  test("is knocked at by one at a time; the others go in behind", async () => {
    const door = new Door(new RefusalBudget());
    const { promise, resolve } = Promise.withResolvers<Verdict>();
    const first = door.pass(HERE, () => promise, signal);
    const { knock, count } = knocks("answered");
    const others = Promise.all([door.pass(HERE, knock, signal), door.pass(HERE, knock, signal)]);
    resolve("answered");
    assert.equal(await first, "answered");
    assert.deepEqual(await others, [undefined, undefined]);
    assert.equal(count(), 0);
  });

  test("is knocked at by the next when one gives up", async () => {
    const door = new Door(new RefusalBudget());
    const gone = new AbortController();
    const first = door.pass(HERE, knocks().knock, gone.signal);
    const { knock, count } = knocks("answered");
    const second = door.pass(HERE, knock, signal);
    gone.abort(new Error("gone"));
    await assert.rejects(first, /gone/);
    assert.equal(await second, "answered");
    assert.equal(count(), 1);
  });

  test("that was closed is knocked at again", async () => {
    const door = new Door(new RefusalBudget());
    await door.pass(HERE, knocks("quiet").knock, signal);
    door.close();
    assert.equal(await door.pass(HERE, knocks("quiet").knock, signal), "quiet");
  });

  test("of another machine is not knocked at more often than that tells of refusals", async () => {
    const budget = new RefusalBudget();
    const doors = [new Door(budget), new Door(budget)];
    const gone = new AbortController();
    const all = knocks();
    const passing = doors.map((door) => door.pass(ELSEWHERE, all.knock, gone.signal));
    const settled = Promise.allSettled(passing);
    await eventually("five knocks", () => all.count() >= 5);
    const began = performance.now();
    await eventually("a sixth", () => all.count() >= 6);
    assert.ok(performance.now() - began > 500, "the sixth came too soon");
    gone.abort(new Error("gone"));
    await settled;
  });
});
