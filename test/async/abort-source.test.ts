import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { AbortSource } from "../../src/async/abort-source.ts";
import { AnySignal } from "../../src/async/any-signal.ts";
import { Deadline } from "../../src/async/deadline.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const reason = new Error("reason");

suite("AbortSource", () => {
  test("aborts its signal, whether the signal was used before the abort or not", () => {
    for (const isUsedBefore of [true, false]) {
      const source = new AbortSource();
      if (isUsedBefore) assert.equal(source.signal.aborted, false);
      source.abort(reason);
      source.abort(new Error("another"));
      assert.equal(source.signal.reason, reason);
      assert.throws(() => source.throwIfAborted(), reason);
    }
  });
});

suite("AnySignal", () => {
  test("is aborted by each of the two signals", () => {
    for (const index of [0, 1]) {
      const sources = [new AbortSource(), new AbortSource()] as const;
      const { signal } = new AnySignal(...sources);
      assert.equal(signal.aborted, false);
      sources[index]!.abort(reason);
      assert.equal(signal.reason, reason);
    }
  });
});

suite("Deadline", () => {
  test("counts from its creation, not from the first use of its signal", async () => {
    using deadline = new Deadline(20, () => reason);
    const until = performance.now() + 30;
    while (performance.now() < until);
    assert.equal(deadline.leftMs, 0);
    const { signal } = deadline;
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    assert.equal(signal.reason, reason);
  });

  test("arms no timer if its signal is not used", () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const before = timers();
    using _deadline = new Deadline(60_000, () => reason);
    assert.equal(timers(), before);
  });
});
