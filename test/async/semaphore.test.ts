import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { suite, test } from "node:test";
import { Semaphore } from "../../src/async/semaphore.ts";

const never = new AbortController().signal;

suite("Semaphore", () => {
  test("grants as many permits as its limit, in the order of the calls", async () => {
    const semaphore = new Semaphore(2);
    const granted: number[] = [];
    const permits: Disposable[] = [];
    const all = [1, 2, 3, 4, 5].map(async (number) => {
      permits.push(await semaphore.acquire(never));
      granted.push(number);
    });
    await settle();
    assert.deepEqual(granted, [1, 2]);
    for (let count = 2; count < 5; count += 1) {
      permits.shift()?.[Symbol.dispose]();
      await settle();
      assert.deepEqual(granted, [1, 2, 3, 4, 5].slice(0, count + 1));
    }
    await Promise.all(all);
  });

  test("grants a released permit again", async () => {
    const semaphore = new Semaphore(1);
    for (let round = 0; round < 3; round += 1) {
      using _permit = await semaphore.acquire(never);
    }
    using _last = await semaphore.acquire(never);
  });

  test("grants no permit to an aborted call", async () => {
    const semaphore = new Semaphore(1);
    const first = await semaphore.acquire(never);
    const abort = new AbortController();
    const reason = new Error("the client left");
    const aborted = assert.rejects(semaphore.acquire(abort.signal), reason);
    const next = semaphore.acquire(never);
    abort.abort(reason);
    await aborted;
    first[Symbol.dispose]();
    using _permit = await next;
  });

  test("rejects a call with an aborted signal", async () => {
    const semaphore = new Semaphore(1);
    const reason = new Error("too late");
    await assert.rejects(semaphore.acquire(AbortSignal.abort(reason)), reason);
    using _permit = await semaphore.acquire(never);
  });

  test("removes its listener from the signal after the grant", async () => {
    const semaphore = new Semaphore(1);
    const { signal } = new AbortController();
    const first = await semaphore.acquire(signal);
    const second = semaphore.acquire(signal);
    assert.equal(getEventListeners(signal, "abort").length, 1);
    first[Symbol.dispose]();
    using _permit = await second;
    assert.equal(getEventListeners(signal, "abort").length, 0);
  });
});

/** Resolves when all pending microtasks and I/O callbacks have run. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
