import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { FirstDatagram, IcmpBudget } from "../../src/udp/first-datagram.ts";
import type { SendResult } from "../../src/udp/upstream.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const HERE = "127.0.0.1";
const ELSEWHERE = "172.17.0.2";

/** Knocks that meet `verdicts`, one after the other. */
function knocks(...verdicts: SendResult[]): {
  readonly knock: () => Promise<SendResult>;
  readonly count: () => number;
} {
  let count = 0;
  const knock = async (): Promise<SendResult> => verdicts[count++] ?? "refused";
  return { knock, count: () => count };
}

suite("Knocker", () => {
  const { signal } = new AbortController();

  test("knocks until it is not refused", async () => {
    const firstDatagram = new FirstDatagram(new IcmpBudget());
    const { knock, count } = knocks("refused", "refused", "quiet");
    assert.equal(await firstDatagram.waitUntilAccepted(HERE, knock, signal), "quiet");
    assert.equal(count(), 3);
    assert.equal(firstDatagram.isOpen, true);
  });

  test("lets one flow knock at a time; the others go in behind it", async () => {
    const firstDatagram = new FirstDatagram(new IcmpBudget());
    const { promise, resolve } = Promise.withResolvers<SendResult>();
    const first = firstDatagram.waitUntilAccepted(HERE, () => promise, signal);
    const { knock, count } = knocks("answered");
    const others = Promise.all([
      firstDatagram.waitUntilAccepted(HERE, knock, signal),
      firstDatagram.waitUntilAccepted(HERE, knock, signal),
    ]);
    resolve("answered");
    assert.equal(await first, "answered");
    assert.deepEqual(await others, [undefined, undefined]);
    assert.equal(count(), 0);
  });

  test("lets the next one knock when one gives up", async () => {
    const firstDatagram = new FirstDatagram(new IcmpBudget());
    const gone = new AbortController();
    const first = firstDatagram.waitUntilAccepted(HERE, knocks().knock, gone.signal);
    const { knock, count } = knocks("answered");
    const second = firstDatagram.waitUntilAccepted(HERE, knock, signal);
    gone.abort(new Error("gone"));
    await assert.rejects(first, /gone/);
    assert.equal(await second, "answered");
    assert.equal(count(), 1);
  });

  test("knocks again once it is told to forget", async () => {
    const firstDatagram = new FirstDatagram(new IcmpBudget());
    await firstDatagram.waitUntilAccepted(HERE, knocks("quiet").knock, signal);
    firstDatagram.reset();
    assert.equal(await firstDatagram.waitUntilAccepted(HERE, knocks("quiet").knock, signal), "quiet");
  });

  test("knocks at another machine no more often than that tells of refusals", async () => {
    const budget = new IcmpBudget();
    const knockers = [new FirstDatagram(budget), new FirstDatagram(budget)];
    const gone = new AbortController();
    const all = knocks();
    const passing = knockers.map((firstDatagram) => firstDatagram.waitUntilAccepted(ELSEWHERE, all.knock, gone.signal));
    const settled = Promise.allSettled(passing);
    await eventually("five knocks", () => all.count() >= 5);
    const began = performance.now();
    await eventually("a sixth", () => all.count() >= 6);
    assert.ok(performance.now() - began > 500, "the sixth came too soon");
    gone.abort(new Error("gone"));
    await settled;
  });
});
