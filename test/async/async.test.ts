import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { getActiveResourcesInfo } from "node:process";
import { suite, test } from "node:test";
import { delay, Gate, within } from "../../src/async/async.ts";
import { DeadlineError } from "../../src/errors.ts";

const never = new AbortController().signal;

function timersActive(): number {
  return getActiveResourcesInfo().filter((name) => name === "Timeout").length;
}

suite("Gate", () => {
  test("lets no more in than its limit, in the order in which they came", async () => {
    const gate = new Gate(2);
    const entered: number[] = [];
    const places: Disposable[] = [];
    const all = [1, 2, 3, 4, 5].map(async (number) => {
      places.push(await gate.enter(never));
      entered.push(number);
    });
    await settle();
    assert.deepEqual(entered, [1, 2]);
    for (let inside = 2; inside < 5; inside += 1) {
      places.shift()?.[Symbol.dispose]();
      await settle();
      assert.deepEqual(entered, [1, 2, 3, 4, 5].slice(0, inside + 1));
    }
    await Promise.all(all);
  });

  test("has its places back when all have left", async () => {
    const gate = new Gate(1);
    for (let round = 0; round < 3; round += 1) {
      using _place = await gate.enter(never);
    }
    using _last = await gate.enter(never);
  });

  test("gives no place away to one who left the queue", async () => {
    const gate = new Gate(1);
    const first = await gate.enter(never);
    const impatient = new AbortController();
    const reason = new Error("the client left");
    const gone = assert.rejects(gate.enter(impatient.signal), reason);
    const patient = gate.enter(never);
    impatient.abort(reason);
    await gone;
    first[Symbol.dispose]();
    using _place = await patient;
  });

  test("lets nobody in whose signal is aborted before", async () => {
    const gate = new Gate(1);
    const reason = new Error("too late");
    await assert.rejects(gate.enter(AbortSignal.abort(reason)), reason);
    using _place = await gate.enter(never);
  });

  test("lets go of the signal of one who was let in", async () => {
    const gate = new Gate(1);
    const { signal } = new AbortController();
    const first = await gate.enter(signal);
    const second = gate.enter(signal);
    assert.equal(getEventListeners(signal, "abort").length, 1);
    first[Symbol.dispose]();
    using _place = await second;
    assert.equal(getEventListeners(signal, "abort").length, 0);
  });
});

suite("within()", () => {
  test("passes the answer on, and the error", async () => {
    assert.equal(await within(1_000, "a look", Promise.resolve(7)), 7);
    await assert.rejects(within(1_000, "a look", Promise.reject(new Error("no"))), { message: "no" });
  });

  test("rejects when the answer is late, saying what took long", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const rejected = assert.rejects(within(1_500, "a look", new Promise(() => {})), (error: unknown) => {
      assert.ok(error instanceof DeadlineError);
      assert.equal(error.message, "a look took longer than 1.5 s");
      return true;
    });
    t.mock.timers.tick(1_500);
    await rejected;
  });

  test("rejects with the signal's reason when that comes first", async () => {
    const reason = new Error("shutting down");
    const abort = new AbortController();
    const rejected = assert.rejects(within(60_000, "a look", new Promise(() => {}), abort.signal), reason);
    abort.abort(reason);
    await rejected;
  });

  test("drops a late rejection silently", async () => {
    const late = Promise.withResolvers<void>();
    await assert.rejects(within(60_000, "a look", late.promise, AbortSignal.abort(new Error("gone"))));
    // An unhandled rejection would fail this test.
    late.reject(new Error("late"));
    await settle();
  });

  test("leaves no timer behind", async () => {
    const before = timersActive();
    await within(60_000, "a look", Promise.resolve());
    await assert.rejects(within(60_000, "a look", Promise.reject(new Error("no"))));
    assert.equal(timersActive(), before);
  });
});

suite("delay()", () => {
  test("resolves when the time is over, not before", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    let isOver = false;
    const over = delay(100, never).then(() => {
      isOver = true;
    });
    t.mock.timers.tick(99);
    await settle();
    assert.equal(isOver, false);
    t.mock.timers.tick(1);
    await over;
  });

  test("rejects with the signal's reason at once, and leaves no timer", async () => {
    const before = timersActive();
    const abort = new AbortController();
    const reason = new Error("shutting down");
    const rejected = assert.rejects(delay(60_000, abort.signal), reason);
    abort.abort(reason);
    await rejected;
    await assert.rejects(delay(60_000, AbortSignal.abort(reason)), reason);
    assert.equal(timersActive(), before);
  });
});

/** Until everything that was due at this moment has run. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
