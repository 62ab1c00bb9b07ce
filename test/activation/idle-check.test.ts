/** Direct use of a target, and stops that the target rejects. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { ActivationPolicy } from "../../src/activation/activation-policy.ts";
import { KeptError } from "../../src/errors.ts";
import { policy, Stage } from "../support/activation/stage.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const { idleTimeoutMs } = policy;

/** Wakes the target for one lease and releases it. @param uses the result of each later measurement */
async function idling(stage: Stage, uses: () => readonly string[]): Promise<void> {
  stage.target.keptAwakeBy = () => Promise.resolve(uses());
  const client = await stage.wake();
  client.release();
}

suite("keptAwakeBy()", () => {
  test("keeps an idle target awake if it finds use, and status shows the use", async () => {
    using stage = new Stage();
    await idling(stage, () => ["an exec session"]);
    await stage.advance(idleTimeoutMs * 3);
    assert.equal(stage.state, "ready");
    assert.equal(stage.target.stops.length, 0);
    assert.deepEqual(stage.activator.view.keptAwakeBy, ["an exec session"]);
  });

  test("is called 1 s after the last lease and at the end of each idle timeout", async () => {
    using stage = new Stage();
    const measuredAtMs: number[] = [];
    await idling(stage, () => {
      measuredAtMs.push(stage.clock.nowMs);
      return ["an exec session"];
    });
    await stage.advance(idleTimeoutMs * 2);
    assert.deepEqual(measuredAtMs, [1_000, idleTimeoutMs, idleTimeoutMs * 2]);
  });

  test("is not called while a lease is held", async () => {
    using stage = new Stage();
    let measurements = 0;
    stage.target.keptAwakeBy = async () => {
      measurements += 1;
      return [];
    };
    await stage.wake();
    await stage.advance(idleTimeoutMs * 5);
    assert.equal(measurements, 0);
  });

  test("lets the target sleep after one more idle timeout without use", async () => {
    using stage = new Stage();
    let uses: readonly string[] = ["an exec session"];
    await idling(stage, () => uses);
    await stage.advance(idleTimeoutMs);
    uses = [];
    await stage.advance(idleTimeoutMs - 1);
    assert.equal(stage.state, "ready");
    await stage.advance(1);
    assert.equal(stage.state, "stopping");
  });

  test("is reported once while the number of reasons does not change", async () => {
    using stage = new Stage();
    let uses: readonly string[] = ["an exec session"];
    await idling(stage, () => uses);
    await stage.advance(idleTimeoutMs * 3);
    uses = ["an exec session", "traffic"];
    await stage.advance(idleTimeoutMs * 2);
    assert.deepEqual(
      stage.keptAwake.map((report) => report.uses),
      [["an exec session"], ["an exec session", "traffic"]],
    );
  });

  test("keeps the target awake if it fails, and status shows why", async () => {
    using stage = new Stage();
    stage.target.keptAwakeBy = () => Promise.reject(new Error("no answer"));
    const client = await stage.wake();
    client.release();
    await stage.advance(idleTimeoutMs);
    assert.equal(stage.state, "ready");
    assert.deepEqual(stage.activator.view.keptAwakeBy, ["its direct use is unknown: no answer"]);
  });

  test("that the next client aborts is not use for the group of the target", async () => {
    using stage = new Stage();
    await idling(stage, () => []);
    stage.target.keptAwakeBy = (_bytes, signal) => {
      const { promise, reject } = Promise.withResolvers<readonly string[]>();
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      return promise;
    };
    const sessions = stage.activator.sessions();
    await stage.settle();
    stage.connect();
    assert.deepEqual(await sessions, []);
  });

  test("does not stop the target if the next client connects before the result", async () => {
    using stage = new Stage();
    const answer = Promise.withResolvers<readonly string[]>();
    await idling(stage, () => []);
    await stage.advance(idleTimeoutMs - 1);
    stage.target.keptAwakeBy = () => answer.promise;
    await stage.advance(1);
    const next = stage.connect();
    await stage.settle();
    answer.resolve([]);
    await stage.settle();
    assert.ok(next.isHeld);
    assert.equal(stage.state, "ready");
    assert.equal(stage.target.stops.length, 0);
  });

  test("keeps the target awake for a whole idle timeout after use, even if the settings are reloaded", async () => {
    using stage = new Stage();
    let uses: readonly string[] = ["12 kB of direct traffic"];
    await idling(stage, () => uses);
    await stage.advance(idleTimeoutMs);
    uses = [];
    await stage.advance(1_000);
    changed(stage, {});
    await stage.advance(idleTimeoutMs - 1_001);
    assert.equal(stage.state, "ready");
    await stage.advance(1);
    assert.equal(stage.state, "stopping");
  });

  test("is called again before the second step of a sleep", async () => {
    using stage = new Stage({ sleep: "pause", thenStop: { afterMs: 10_000, action: "stop" } });
    let uses: readonly string[] = [];
    await idling(stage, () => uses);
    await stage.advance(idleTimeoutMs);
    stage.target.finishStop();
    await stage.settle();
    assert.equal(stage.state, "paused");
    uses = ["container worker depends on it"];
    await stage.advance(25_000);
    assert.equal(stage.state, "paused");
    uses = [];
    await stage.advance(10_000);
    assert.equal(stage.state, "stopping");
  });
});

function changed(stage: Stage, changes: Partial<ActivationPolicy>): void {
  stage.activator.configure({ probe: async () => {}, services: ["web"], policy: { ...policy, ...changes } });
}

suite("a changed second step of the sleep of a paused target", () => {
  async function paused(thenStop: ActivationPolicy["thenStop"]): Promise<Stage> {
    const stage = new Stage({ sleep: "pause", ...(thenStop && { thenStop: thenStop }) });
    await stage.wakeAndIdle();
    stage.target.finishStop();
    await stage.settle();
    assert.equal(stage.state, "paused");
    return stage;
  }
  const thenStop = { afterMs: 10_000, action: "stop" } as const;

  test("is not taken if it was removed", async () => {
    using stage = await paused(thenStop);
    changed(stage, { sleep: "pause" });
    await stage.advance(60_000);
    assert.equal(stage.state, "paused");
  });

  test("is taken if it was added", async () => {
    using stage = await paused(undefined);
    changed(stage, { sleep: "pause", thenStop: thenStop });
    await stage.advance(10_000);
    assert.equal(stage.state, "stopping");
  });

  test("is taken at its new time after the pause", async () => {
    using stage = await paused(thenStop);
    await stage.advance(9_000);
    changed(stage, { sleep: "pause", thenStop: { afterMs: 20_000, action: "stop" } });
    await stage.advance(10_000);
    assert.equal(stage.state, "paused");
    await stage.advance(1_000);
    assert.equal(stage.state, "stopping");
  });
});

suite("a stop that the target rejects because it is in use", () => {
  const kept = new KeptError("container worker depends on it");

  test("leaves the target ready, for clients and for the next idle timeout", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    const next = stage.connect();
    stage.target.failStop(kept);
    await stage.settle();
    assert.ok(next.isHeld);
    assert.equal(stage.state, "ready");
    assert.equal(stage.target.starts.length, 1);
    assert.deepEqual(stage.keptAwake.at(-1)?.uses, ["container worker depends on it"]);
    assert.equal(stage.stopFailures.length, 0);
  });

  test("after a failed adoption is retried with growing delays, and the target is adopted for the next client", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    stage.activator.open();
    stage.target.comeUp();
    await stage.settle();
    const failAdoption = async (): Promise<void> => {
      stage.probes.at(-1)?.reject(new Error("unhealthy"));
      await stage.settle();
      stage.target.failStop(kept);
      await stage.settle();
    };
    await failAdoption();
    assert.deepEqual([stage.state, stage.probes.length, stage.target.stops.length], ["stopping", 1, 1]);
    await stage.advance(1_000);
    stage.target.failStop(kept);
    await stage.settle();
    await stage.advance(1_999);
    assert.deepEqual([stage.probes.length, stage.target.stops.length], [1, 2]);
    assert.deepEqual([stage.activations.length, stage.keptAwake.length], [1, 1], "one report each");

    const refused = stage.connect();
    await stage.settle();
    stage.target.failStop(kept);
    await stage.settle();
    await failAdoption();
    assert.match(String(refused.error), /unhealthy/);
    assert.deepEqual([stage.state, stage.probes.length], ["stopping", 2]);

    const served = stage.connect();
    await stage.settle();
    stage.answersProbes = true;
    stage.target.failStop(kept);
    await stage.settle();
    assert.ok(served.isHeld);
    assert.deepEqual([stage.state, stage.target.starts.length], ["ready", 0]);
  });

  test("at shutdown leaves the target up and closes the activator", async () => {
    using stage = new Stage();
    const client = await stage.wake();
    client.release();
    const closed = stage.activator.close({ drainMs: 1_000, leaveRunning: false });
    await stage.settle();
    stage.target.failStop(kept);
    await closed;
    assert.equal(stage.state, "asleep");
    assert.equal(stage.target.truth.up, true);
    assert.equal(stage.sleeps.length, 0);
  });
});
