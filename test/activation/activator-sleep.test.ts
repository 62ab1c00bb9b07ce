/** Stops and pauses by an activator: after the idle timeout, after a failure, at a close. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ClosedError, CooldownError, StartFailedError, StartTimeoutError } from "../../src/activation/errors.ts";
import { TargetError } from "../../src/errors.ts";
import { type Client, policy, Stage } from "../support/activation/stage.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const engineAway = new TargetError("unreachable", "the engine does not answer");
const denial = new TargetError("denied", "denied by a socket proxy");
const drain = { drainMs: 10_000, leaveRunning: false };
const leave = { drainMs: 10_000, leaveRunning: true };

/** Returns whether `promise` is settled after all pending promise callbacks. */
async function isSettled(stage: Stage, promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  void promise.finally(() => {
    settled = true;
  });
  await stage.settle();
  return settled;
}

suite("the idle timeout", () => {
  test("begins with the release of the last lease", async () => {
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

  test("does not run while a lease is held, and begins again after it", async () => {
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

  test("is prolonged by min_uptime, which begins when the target is ready", async () => {
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
  test("that fails is retried after 1, 2, 4 … 30 s", async () => {
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

  test("that fails is first retried after 1 s, even if an earlier stop failed repeatedly", async () => {
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

  test("that fails counts as done if the inspection shows that the target is down", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    stage.target.goDown();
    stage.target.failStop(engineAway);
    await stage.settle();
    assert.equal(stage.state, "asleep");
    assert.equal(stage.stopFailures.length, 0);
    assert.equal(stage.sleeps[0]?.reason, "idle");
  });

  test("that fails is retried if the inspection fails too", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    stage.target.answersInspections = false;
    stage.target.failStop(engineAway);
    await stage.settle();
    stage.target.inspections.at(-1)?.reject(engineAway);
    await stage.advance(1_000);
    assert.equal(stage.target.stops.length, 2);
  });

  test("that fails lets new clients wait, and serves them after the next attempt", async () => {
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

  test("that failed is retried at once for a new client", async () => {
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

  test("that is denied is followed by an adoption for new clients", async () => {
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

  test("that is denied is followed by a start for new clients if the target then goes down", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    const client = stage.connect();
    stage.answersProbes = false;
    stage.target.failStop(denial);
    await stage.settle();
    stage.target.goDown({ code: 0 });
    await stage.settle();
    assert.equal(stage.sleeps.length, 1, "the awake target was put to sleep");
    stage.answersProbes = true;
    stage.target.finishStart();
    await stage.settle();
    assert.ok(client.isHeld);
    assert.equal(client.lease?.address, "10.0.0.2");
  });

  test("that does not end rejects waiting clients with StartTimeoutError", async () => {
    using stage = new Stage();
    stage.target.abortDelayMs = Number.POSITIVE_INFINITY;
    await stage.wakeAndIdle();
    const client = stage.connect();
    await stage.advance(stage.target.graceMs + 20_000 + policy.startTimeoutMs);
    assert.ok(client.error instanceof StartTimeoutError);
    assert.equal(stage.state, "stopping");
  });

  test("is followed by an adoption if another process starts the target meanwhile", async () => {
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

  test("rejects clients at once after a failed start", async () => {
    using stage = new Stage();
    stage.activator.open();
    const client = await failToStart(stage);
    assert.ok(client.error instanceof StartFailedError);
    assert.ok(await isRefused(stage));
    assert.equal(stage.target.starts.length, 1);
    assert.equal(stage.activator.view.cooldownUntil, 1_000);
  });

  test("rejects clients while a failed start is being stopped", async () => {
    using stage = new Stage();
    stage.activator.open();
    stage.connect();
    await stage.settle();
    stage.target.failStart(new TargetError("failed", "no"));
    await stage.settle();
    assert.equal(stage.state, "stopping");
    assert.ok(await isRefused(stage));
  });

  test("grows with each failure in a row, 1, 2, 4 … 60 s, and then ends", async () => {
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

  test("begins again with 1 s after a successful start", async () => {
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

  test("does not reject clients of a target that another process started", async () => {
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
  test("resolves for a sleeping target without a call, a watch or a timer", async () => {
    using stage = new Stage();
    stage.activator.open();
    await stage.settle();
    await stage.activator.close(drain);
    assert.equal(stage.target.stops.length, 0);
    assert.equal(stage.target.watchers, 0);
    assert.equal(stage.clock.pending, 0);
  });

  test("ends the cooldown and leaves no timer", async () => {
    using stage = new Stage();
    stage.activator.open();
    stage.connect();
    await stage.settle();
    stage.target.failStart(engineAway);
    await stage.settle();
    stage.target.finishStop();
    await stage.settle();
    assert.equal(stage.activator.view.cooldownUntil, 1_000);
    await stage.activator.close(drain);
    assert.equal(stage.activator.view.cooldownUntil, undefined);
    assert.equal(stage.clock.pending, 0);
  });

  test("stops an idle target at once", async () => {
    using stage = new Stage();
    (await stage.wake()).release();
    const closed = stage.activator.close(drain);
    assert.equal(await isSettled(stage, closed), false);
    stage.target.finishStop();
    await closed;
    assert.equal(stage.clock.pending, 0);
  });

  test("waits for held leases, rejects new ones, then stops the target", async () => {
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

  test("cuts held leases with ClosedError at the deadline, then stops the target", async () => {
    using stage = new Stage();
    const holder = await stage.wake();
    const closed = stage.activator.close(drain);
    await stage.advance(drain.drainMs);
    assert.ok(holder.cutBy instanceof ClosedError);
    assert.equal(stage.target.stops.length, 1);
    stage.target.finishStop();
    await closed;
  });

  test("resolves if the target exits during the drain", async () => {
    using stage = new Stage();
    const holder = await stage.wake();
    const closed = stage.activator.close(drain);
    stage.target.goDown({ code: 0 });
    assert.ok(await isSettled(stage, closed));
    assert.ok(holder.cutBy instanceof Error);
    assert.equal(stage.clock.pending, 0);
    assert.equal(stage.target.watchers, 0);
  });

  test("repeats an inspection that was under way", async () => {
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

  test("drains with leaveRunning, and leaves the target up", async () => {
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

  test("reports a sleep that was under way, also with leaveRunning", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    const closed = stage.activator.close(leave);
    stage.target.finishStop();
    await closed;
    assert.equal(stage.sleeps[0]?.reason, "idle");
  });

  test("is idempotent and returns the same promise", async () => {
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

  test("rejects waiting leases during a start, aborts it and stops the target", async () => {
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

  test("stops the target only after an aborted start call has ended", async () => {
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

  test("stops the target if the start succeeds at the same moment", async () => {
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

  test("waits for a stop under way, and rejects leases that wait for its end", async () => {
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

  test("retries a failed stop once at once, and does not retry it again", async () => {
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

  test("ends an upstream check without waiting clients", async () => {
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
