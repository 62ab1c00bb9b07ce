import assert from "node:assert/strict";
import { getActiveResourcesInfo } from "node:process";
import { suite, test } from "node:test";
import { delay, within } from "../../src/async/wait.ts";
import { DeadlineError } from "../../src/errors.ts";

const never = new AbortController().signal;

function timersActive(): number {
  return getActiveResourcesInfo().filter((name) => name === "Timeout").length;
}

suite("within()", () => {
  test("settles like the promise", async () => {
    assert.equal(await within(1_000, "the request", Promise.resolve(7)), 7);
    await assert.rejects(within(1_000, "the request", Promise.reject(new Error("no"))), { message: "no" });
  });

  test("rejects at the deadline with the name of the operation", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const rejected = assert.rejects(within(1_500, "the request", new Promise(() => {})), (error: unknown) => {
      assert.ok(error instanceof DeadlineError);
      assert.equal(error.message, "the request took longer than 1.5 s");
      return true;
    });
    t.mock.timers.tick(1_500);
    await rejected;
  });

  test("rejects with the signal's reason if it is aborted first", async () => {
    const reason = new Error("shutting down");
    const abort = new AbortController();
    const rejected = assert.rejects(within(60_000, "the request", new Promise(() => {}), abort.signal), reason);
    abort.abort(reason);
    await rejected;
  });

  test("drops a later rejection", async () => {
    const late = Promise.withResolvers<void>();
    await assert.rejects(within(60_000, "the request", late.promise, AbortSignal.abort(new Error("gone"))));
    // An unhandled rejection would fail this test.
    late.reject(new Error("late"));
    await settle();
  });

  test("clears its timer", async () => {
    const before = timersActive();
    await within(60_000, "the request", Promise.resolve());
    await assert.rejects(within(60_000, "the request", Promise.reject(new Error("no"))));
    assert.equal(timersActive(), before);
  });
});

suite("delay()", () => {
  test("resolves after the given time and not earlier", async (t) => {
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

  test("rejects at once with the signal's reason and clears its timer", async () => {
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

/** Resolves when all pending microtasks and I/O callbacks have run. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
