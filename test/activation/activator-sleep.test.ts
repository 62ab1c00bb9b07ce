/** How an activator puts its target away: when idle, after a failure, when it is closed. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ClosedError, CooldownError, StartFailedError, StartTimeoutError } from "../../src/activation/errors.ts";
import { TargetError } from "../../src/errors.ts";
import { type Client, policy, Stage } from "../support/activation/stage.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const engineAway = new TargetError("unreachable", "the engine does not answer");
const denial = new TargetError("denied", "a socket proxy says no");
const drain = { drainMs: 10_000, leaveRunning: false };
const leave = { drainMs: 10_000, leaveRunning: true };

/** Whether `promise` is settled once everything happened that needs no time. */
async function isSettled(stage: Stage, promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  void promise.finally(() => {
    settled = true;
  });
  await stage.settle();
  return settled;
}

suite("the idle timer", () => {
  test("runs from the moment the last lease is released", async () => {
    using stage = new Stage();
    const first = await stage.wake();
    const second = stage.connect();
    await stage.advance(policy.idleTimeoutMs);
    first.release();
    await stage.advance(policy.idleTimeoutMs);
    assert.equal(stage.state, "ready");
    assert.equal(stage.activator.view.idleDeadline, undefined);

    second.release();
    assert.equal(stage.activator.view.idleDeadline, stage.clock.nowMs + policy.idleTimeoutMs);
    await stage.advance(policy.idleTimeoutMs - 1);
    assert.equal(stage.target.stops.length, 0);
    await stage.advance(1);
    assert.equal(stage.target.stops.length, 1);
  });

  test("is off while a lease is held, and starts afresh after it", async () => {
    using stage = new Stage();
    const first = await stage.wake();
    first.release();
    await stage.advance(policy.idleTimeoutMs - 1);
    const second = stage.connect();
    await stage.advance(policy.idleTimeoutMs);
    second.release();
    await stage.advance(policy.idleTimeoutMs - 1);
    assert.equal(stage.state, "ready");
    await stage.advance(1);
    assert.equal(stage.state, "stopping");
  });

  test("is prolonged by min_uptime, counted from ready", async () => {
    using stage = new Stage({ minUptimeMs: 200_000 });
    const client = await stage.wake();
    await stage.advance(50_000);
    client.release();
    await stage.advance(149_999);
    assert.equal(stage.state, "ready");
    await stage.advance(1);
    assert.equal(stage.state, "stopping");
  });

  test("is not shortened by min_uptime", async () => {
    using stage = new Stage({ minUptimeMs: 61_000 });
    const client = await stage.wake();
    await stage.advance(50_000);
    client.release();
    await stage.advance(policy.idleTimeoutMs - 1);
    assert.equal(stage.state, "ready");
    await stage.advance(1);
    assert.equal(stage.state, "stopping");
  });
});

suite("a stop", () => {
  test("that fails is tried again after 1, 2, 4 s, and so on up to 30 s", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    for (const pauseMs of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
      const stops = stage.target.stops.length;
      stage.target.failStop(engineAway);
      await stage.advance(pauseMs - 1);
      assert.equal(stage.target.stops.length, stops);
      await stage.advance(1);
      assert.equal(stage.target.stops.length, stops + 1);
    }
    assert.deepEqual(stage.stopFailures, [{ error: engineAway, retryMs: 1_000 }], "the same failure is reported once");
    const denied = new TargetError("failed", "another failure");
    stage.target.failStop(denied);
    await stage.advance(30_000);
    assert.deepEqual(stage.stopFailures.at(-1), { error: denied, retryMs: 30_000 });
    assert.equal(stage.stopFailures.length, 2);
    stage.target.finishStop();
    await stage.settle();
    assert.equal(stage.state, "asleep");
    assert.equal(stage.sleeps.length, 1);
  });

  test("that fails is tried again after 1 s at first, however often an earlier one failed", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    stage.target.failStop(engineAway);
    await stage.advance(1_000);
    stage.target.failStop(engineAway);
    await stage.advance(2_000);
    stage.target.finishStop();
    await stage.settle();
    await stage.wakeAndIdle();
    stage.target.failStop(engineAway);
    await stage.settle();
    assert.deepEqual(
      stage.stopFailures.map(({ retryMs }) => retryMs),
      [1_000, 1_000],
    );
  });

  test("that fails counts as done when a look says that the target is down", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    stage.target.goDown();
    stage.target.failStop(engineAway);
    await stage.settle();
    assert.equal(stage.state, "asleep");
    assert.equal(stage.stopFailures.length, 0);
    assert.equal(stage.sleeps[0]?.reason, "idle");
  });

  test("that fails is tried again when the look fails too", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    stage.target.answersInspections = false;
    stage.target.failStop(engineAway);
    await stage.settle();
    stage.target.inspections.at(-1)?.reject(engineAway);
    await stage.advance(1_000);
    assert.equal(stage.target.stops.length, 2);
  });

  test("that fails keeps those who came meanwhile waiting, and serves them after the next attempt", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    const client = stage.connect();
    stage.target.failStop(engineAway);
    await stage.advance(1_000);
    stage.target.finishStop();
    await stage.settle();
    stage.target.finishStart();
    await stage.settle();
    assert.ok(client.isHeld);
  });

  test("that failed is tried again at once when somebody comes", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    stage.target.failStop(engineAway);
    await stage.settle();
    const client = stage.connect();
    assert.equal(stage.target.stops.length, 2);
    stage.target.finishStop();
    await stage.settle();
    stage.target.finishStart();
    await stage.settle();
    assert.ok(client.isHeld);
  });

  test("that is denied leaves the target to those who came meanwhile", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    const client = stage.connect();
    stage.target.failStop(denial);
    await stage.settle();
    assert.ok(client.isHeld);
    assert.equal(client.lease?.address, "10.0.0.1");
    assert.equal(stage.target.starts.length, 1);

    client.release();
    await stage.advance(policy.idleTimeoutMs);
    assert.equal(stage.target.stops.length, 2);
    stage.target.finishStop();
    await stage.settle();
    assert.equal(stage.sleeps.length, 1, "it slept once");
  });

  test("that is denied is followed by a start for those who came, when the target goes down then", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    const client = stage.connect();
    stage.answersProbes = false;
    stage.target.failStop(denial);
    await stage.settle();
    stage.target.goDown({ code: 0 });
    await stage.settle();
    assert.equal(stage.sleeps.length, 1, "what was awake went to sleep");
    stage.answersProbes = true;
    stage.target.finishStart();
    await stage.settle();
    assert.ok(client.isHeld);
    assert.equal(client.lease?.address, "10.0.0.2");
  });

  test("that never ends gives those who wait StartTimeoutError in the end", async () => {
    using stage = new Stage();
    stage.target.abortDelayMs = Number.POSITIVE_INFINITY;
    await stage.wakeAndIdle();
    const client = stage.connect();
    await stage.advance(stage.target.graceMs + 20_000 + policy.startTimeoutMs);
    assert.ok(client.error instanceof StartTimeoutError);
    assert.equal(stage.state, "stopping");
  });

  test("during which somebody starts the target ends in its adoption", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    stage.target.hintsChanges = false;
    const [stop] = stage.target.stops;
    stage.target.comeUp();
    stop?.resolve();
    await stage.settle();
    assert.deepEqual(stage.path, ["asleep", "starting", "ready", "stopping", "asleep", "starting", "ready"]);
    assert.equal(stage.target.starts.length, 1);
  });
});

suite("the cooldown", () => {
  async function failToStart(stage: Stage): Promise<Client> {
    const client = stage.connect();
    await stage.settle();
    stage.target.failStart(new TargetError("failed", "no"));
    await stage.settle();
    stage.target.finishStop();
    await stage.settle();
    return client;
  }

  async function isRefused(stage: Stage): Promise<boolean> {
    const client = stage.connect();
    await stage.settle();
    return client.error instanceof CooldownError;
  }

  test("refuses at once after a failed start, without another one", async () => {
    using stage = new Stage();
    stage.activator.open();
    const client = await failToStart(stage);
    assert.ok(client.error instanceof StartFailedError);
    assert.ok(await isRefused(stage));
    assert.equal(stage.target.starts.length, 1);
    assert.equal(stage.activator.view.cooldownUntil, 1_000);
  });

  test("refuses while the remains of a failed start are being stopped", async () => {
    using stage = new Stage();
    stage.activator.open();
    stage.connect();
    await stage.settle();
    stage.target.failStart(new TargetError("failed", "no"));
    await stage.settle();
    assert.equal(stage.state, "stopping");
    assert.ok(await isRefused(stage));
  });

  test("grows with each failure in a row, 1, 2, 4 s and so on up to 60 s, and opens by itself", async () => {
    using stage = new Stage();
    stage.activator.open();
    for (const pauseMs of [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]) {
      assert.ok((await failToStart(stage)).error instanceof StartFailedError);
      assert.equal(stage.activations.at(-1)?.cooldownMs, pauseMs);
      await stage.advance(pauseMs - 1);
      assert.ok(await isRefused(stage));
      await stage.advance(1);
    }
  });

  test("begins again with 1 s after a start that succeeded", async () => {
    using stage = new Stage();
    stage.activator.open();
    await failToStart(stage);
    await stage.advance(1_000);
    await failToStart(stage);
    await stage.advance(2_000);
    await stage.wake();
    stage.target.goDown();
    await stage.settle();
    await failToStart(stage);
    assert.equal(stage.activations.at(-1)?.cooldownMs, 1_000);
  });

  test("does not keep anybody from a target that somebody else started", async () => {
    using stage = new Stage();
    stage.activator.open();
    await failToStart(stage);
    stage.target.comeUp();
    await stage.settle();
    const client = stage.connect();
    await stage.settle();
    assert.ok(client.isHeld);
    assert.equal(stage.activator.view.cooldownUntil, undefined);
  });
});

suite("close()", () => {
  test("of a sleeping target resolves without a call to it, and leaves no watch and no timer", async () => {
    using stage = new Stage();
    stage.activator.open();
    await stage.settle();
    await stage.activator.close(drain);
    assert.equal(stage.target.stops.length, 0);
    assert.equal(stage.target.watchers, 0);
    assert.equal(stage.clock.pending, 0);
  });

  test("of a target in its cooldown leaves no timer", async () => {
    using stage = new Stage();
    stage.activator.open();
    stage.connect();
    await stage.settle();
    stage.target.failStart(engineAway);
    await stage.settle();
    stage.target.finishStop();
    await stage.settle();
    assert.equal(stage.clock.pending, 1);
    await stage.activator.close(drain);
    assert.equal(stage.clock.pending, 0);
  });

  test("of an idle target stops it at once", async () => {
    using stage = new Stage();
    (await stage.wake()).release();
    const closed = stage.activator.close(drain);
    assert.equal(await isSettled(stage, closed), false);
    stage.target.finishStop();
    await closed;
    assert.equal(stage.clock.pending, 0);
  });

  test("lets those who hold finish, turns away those who come, then stops the target", async () => {
    using stage = new Stage();
    const holder = await stage.wake();
    const closed = stage.activator.close(drain);
    assert.equal(stage.state, "draining");
    const late = stage.connect();
    await stage.advance(drain.drainMs - 1);
    assert.ok(late.error instanceof ClosedError);
    assert.ok(holder.isHeld);
    assert.equal(stage.target.stops.length, 0);

    holder.release();
    assert.equal(stage.target.stops.length, 1);
    stage.target.finishStop();
    await closed;
    assert.equal(stage.clock.pending, 0);
  });

  test("cuts those who still hold at the deadline with ClosedError, then stops the target", async () => {
    using stage = new Stage();
    const holder = await stage.wake();
    const closed = stage.activator.close(drain);
    await stage.advance(drain.drainMs);
    assert.ok(holder.cutBy instanceof ClosedError);
    assert.equal(stage.target.stops.length, 1);
    stage.target.finishStop();
    await closed;
  });

  test("resolves when the target exits by itself during the drain", async () => {
    using stage = new Stage();
    const holder = await stage.wake();
    const closed = stage.activator.close(drain);
    stage.target.goDown({ code: 0 });
    assert.ok(await isSettled(stage, closed));
    assert.ok(holder.cutBy instanceof Error);
    assert.equal(stage.clock.pending, 0);
    assert.equal(stage.target.watchers, 0);
  });

  test("in the middle of the look that would have told of an exit looks again", async () => {
    using stage = new Stage();
    const holder = await stage.wake();
    stage.target.answersInspections = false;
    stage.target.goDown();
    const inspection = stage.target.inspections.at(-1);
    const closed = stage.activator.close(drain);
    stage.target.answersInspections = true;
    inspection?.resolve(inspection.before);
    assert.ok(await isSettled(stage, closed));
    assert.ok(holder.cutBy instanceof Error);
  });

  test("with leaveRunning drains, and leaves the target up", async () => {
    using stage = new Stage();
    const holder = await stage.wake();
    const closed = stage.activator.close(leave);
    assert.ok(holder.isHeld);
    holder.release();
    await closed;
    assert.equal(stage.target.stops.length, 0);
    assert.equal(stage.sleeps.length, 0);
    assert.equal(stage.clock.pending, 0);
  });

  test("with leaveRunning still tells of the sleep that was under way", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    const closed = stage.activator.close(leave);
    stage.target.finishStop();
    await closed;
    assert.equal(stage.sleeps[0]?.reason, "idle");
  });

  test("is idempotent: the same promise each time", async () => {
    using stage = new Stage();
    const holder = await stage.wake();
    const closed = stage.activator.close(drain);
    assert.equal(stage.activator.close(drain), closed);
    assert.equal(stage.activator.close(leave), closed);
    holder.release();
    stage.target.finishStop();
    await closed;
    assert.equal(stage.activator.close(drain), closed);
  });

  test("while starting rejects those who wait, gives the start up, and stops what it began", async () => {
    using stage = new Stage();
    stage.activator.open();
    const client = stage.connect();
    await stage.settle();
    const closed = stage.activator.close(drain);
    await stage.settle();
    assert.ok(client.error instanceof ClosedError);
    assert.ok(stage.target.starts[0]?.signal.aborted);
    stage.target.finishStop();
    await closed;
    assert.deepEqual(
      stage.activations.map(({ outcome }) => outcome),
      ["cancelled"],
    );
    assert.equal(stage.clock.pending, 0);
  });

  test("while starting stops the target only when the start, which takes its time to give up, is over", async () => {
    using stage = new Stage();
    stage.target.abortDelayMs = Number.POSITIVE_INFINITY;
    stage.activator.open();
    stage.connect();
    await stage.settle();
    const closed = stage.activator.close(drain);
    await stage.settle();
    assert.equal(stage.target.stops.length, 0);
    stage.target.finishStart();
    await stage.settle();
    stage.target.finishStop();
    await closed;
    assert.equal(stage.target.truth.up, false);
  });

  test("in the moment when the start succeeds is a close like any other", async () => {
    for (const ticks of Array(12).keys()) {
      using stage = new Stage();
      stage.answersProbes = false;
      await stage.wake();
      stage.probes[0]?.resolve();
      for (let tick = 0; tick < ticks; tick += 1) await Promise.resolve();
      const closed = stage.activator.close({ ...drain, drainMs: 0 });
      await stage.advance(10);
      stage.target.finishStop();
      await closed;
      assert.equal(stage.activations.length, 1, `after ${ticks} ticks`);
    }
  });

  test("while stopping waits for that stop, and rejects those who wait for its end", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    const client = stage.connect();
    const closed = stage.activator.close(drain);
    await stage.settle();
    assert.ok(client.error instanceof ClosedError);
    assert.equal(await isSettled(stage, closed), false);
    stage.target.finishStop();
    await closed;
    assert.equal(stage.target.stops.length, 1);
  });

  test("between two attempts to stop tries once more at once, and gives up when that fails", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    stage.target.failStop(engineAway);
    await stage.settle();
    const closed = stage.activator.close(drain);
    assert.equal(stage.target.stops.length, 2);
    stage.target.failStop(engineAway);
    await closed;
    assert.equal(stage.target.stops.length, 2);
    assert.equal(stage.clock.pending, 0);
  });

  test("takes the upstream check that nobody waits for any more with it", async () => {
    using stage = new Stage();
    const holder = await stage.wake();
    stage.answersProbes = false;
    if (holder.lease !== undefined) stage.activator.verify(holder.lease).catch(() => {});
    await stage.settle();
    holder.release();
    const closed = stage.activator.close(drain);
    stage.target.finishStop();
    await closed;
    assert.equal(stage.probes.at(-1)?.isOpen, false);
    assert.equal(stage.clock.pending, 0);
  });
});
