import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { IdleTimer } from "../../src/activation/idle-timer.ts";
import { VirtualClock } from "../support/activation/virtual-clock.ts";

suite("IdleTimer", () => {
  test("fires once, when its delay is over", async () => {
    using clock = new VirtualClock();
    const fired: number[] = [];
    const timer = new IdleTimer(() => fired.push(clock.nowMs));
    timer.start(100);
    await clock.advance(500);
    assert.deepEqual(fired, [100]);
    assert.equal(timer.deadline, undefined);
  });

  test("that is started again moves its deadline, and fires once", async () => {
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

  test("that is cancelled does not fire, and leaves no timer", async () => {
    using clock = new VirtualClock();
    const timer = new IdleTimer(() => assert.fail("it fired"));
    timer.start(100);
    timer.cancel();
    assert.equal(timer.deadline, undefined);
    assert.equal(clock.pending, 0);
    await clock.advance(500);
  });

  test("may be started again from within", async () => {
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
