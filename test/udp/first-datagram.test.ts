import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { FirstDatagram, icmpBudget } from "../../src/udp/first-datagram.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const LOCAL = "127.0.0.1";
const REMOTE = "172.17.0.2";

/** Returns a send function with these results, and then refusals. */
function sending(...results: boolean[]): {
  readonly send: () => Promise<boolean>;
  readonly count: () => number;
} {
  let count = 0;
  const send = async (): Promise<boolean> => results[count++] ?? false;
  return { send, count: () => count };
}

suite("FirstDatagram", () => {
  const { signal } = new AbortController();

  test("sends until the target does not refuse", async () => {
    const firstDatagram = new FirstDatagram(icmpBudget());
    const { send, count } = sending(false, false, true);
    assert.equal(await firstDatagram.waitUntilAccepted(LOCAL, send, signal), true);
    assert.equal(count(), 3);
    assert.equal(firstDatagram.isOpen, true);
  });

  test("lets one flow send at a time, and opens for all", async () => {
    const firstDatagram = new FirstDatagram(icmpBudget());
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const first = firstDatagram.waitUntilAccepted(LOCAL, () => promise, signal);
    const { send, count } = sending(true);
    const others = Promise.all([
      firstDatagram.waitUntilAccepted(LOCAL, send, signal),
      firstDatagram.waitUntilAccepted(LOCAL, send, signal),
    ]);
    resolve(true);
    assert.equal(await first, true);
    assert.deepEqual(await others, [false, false]);
    assert.equal(count(), 0);
  });

  test("lets the next flow send if one is aborted", async () => {
    const firstDatagram = new FirstDatagram(icmpBudget());
    const gone = new AbortController();
    const first = firstDatagram.waitUntilAccepted(LOCAL, sending().send, gone.signal);
    const { send, count } = sending(true);
    const second = firstDatagram.waitUntilAccepted(LOCAL, send, signal);
    gone.abort(new Error("gone"));
    await assert.rejects(first, /gone/);
    assert.equal(await second, true);
    assert.equal(count(), 1);
  });

  test("sends again after reset()", async () => {
    const firstDatagram = new FirstDatagram(icmpBudget());
    await firstDatagram.waitUntilAccepted(LOCAL, sending(true).send, signal);
    firstDatagram.reset();
    assert.equal(await firstDatagram.waitUntilAccepted(LOCAL, sending(true).send, signal), true);
  });

  test("sends to another machine no faster than Linux sends ICMP errors", async () => {
    const budget = icmpBudget();
    const ports = [new FirstDatagram(budget), new FirstDatagram(budget)];
    const gone = new AbortController();
    const all = sending();
    const waiting = ports.map((firstDatagram) => firstDatagram.waitUntilAccepted(REMOTE, all.send, gone.signal));
    const settled = Promise.allSettled(waiting);
    await eventually("five attempts", () => all.count() >= 5);
    const began = performance.now();
    await eventually("a sixth attempt", () => all.count() >= 6);
    assert.ok(performance.now() - began > 500, "the sixth came too soon");
    gone.abort(new Error("gone"));
    await settled;
  });
});
