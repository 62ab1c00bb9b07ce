import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { IdleTimer } from "../../src/activation/idle-timer.ts";
import { VirtualClock } from "../support/activation/virtual-clock.ts";

suite("IdleTimer", () => {
  test("fires once after its delay", async () => {
    using clock = new VirtualClock();
    const fired: number[] = [];
    const timer = new IdleTimer(() => fired.push(clock.nowMs));
    timer.start(100);
    await clock.advance(500);
    assert.deepEqual(fired, [100]);
    assert.equal(timer.deadline, undefined);
  });

  test("moves its deadline when it is started again, and fires once", async () => {
    using clock = new VirtualClock();
    const fired: number[] = [];
    const timer = new IdleTimer(() => fired.push(clock.nowMs));
    timer.start(100);
    await clock.advance(99);
    timer.start(100);
    assert.equal(timer.deadline, 199);
    await clock.advance(500);
    assert.deepEqual(fired, [199]);
  });

  test("does not fire after cancel(), and clears its timer", async () => {
    using clock = new VirtualClock();
    const timer = new IdleTimer(() => assert.fail("it fired"));
    timer.start(100);
    timer.cancel();
    assert.equal(timer.deadline, undefined);
    assert.equal(clock.pending, 0);
    await clock.advance(500);
  });

  test("can be started again in its callback", async () => {
    using clock = new VirtualClock();
    const fired: number[] = [];
    const timer = new IdleTimer(() => {
      fired.push(clock.nowMs);
      if (fired.length < 3) timer.start(100);
    });
    timer.start(100);
    await clock.advance(1_000);
    assert.deepEqual(fired, [100, 200, 300]);
  });
});
