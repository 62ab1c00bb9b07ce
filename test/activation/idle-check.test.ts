/** Use of a target that does not pass through wakeport, and stops that the target refuses. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Policy } from "../../src/activation/policy.ts";
import { KeptError } from "../../src/errors.ts";
import { policy, Stage } from "../support/activation/stage.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const { idleTimeoutMs } = policy;

/** Brings the target up for one claim and releases it; `uses` is what the target answers from then on. */
async function idling(stage: Stage, uses: () => readonly string[]): Promise<void> {
  stage.target.keptAwakeBy = () => Promise.resolve(uses());
  const client = await stage.wake();
  client.release();
}

suite("keptAwakeBy()", () => {
  test("that finds use keeps an idle target awake, and status shows it", async () => {
    using stage = new Stage();
    await idling(stage, () => ["an exec session"]);
    await stage.advance(idleTimeoutMs * 3);
    assert.equal(stage.state, "ready");
    assert.equal(stage.target.stops.length, 0);
    assert.deepEqual(stage.activator.view.keptAwakeBy, ["an exec session"]);
  });

  test("is called soon after the last lease and at the end of each idle timeout, and not in between", async () => {
    using stage = new Stage();
    const askedAtMs: number[] = [];
    await idling(stage, () => {
      askedAtMs.push(stage.clock.nowMs);
      return ["an exec session"];
    });
    await stage.advance(idleTimeoutMs * 2);
    assert.deepEqual(askedAtMs, [1_000, idleTimeoutMs, idleTimeoutMs * 2]);
  });

  test("is not called while a lease is held", async () => {
    using stage = new Stage();
    let asked = 0;
    stage.target.keptAwakeBy = async () => {
      asked += 1;
      return [];
    };
    await stage.wake();
    await stage.advance(idleTimeoutMs * 5);
    assert.equal(asked, 0);
  });

  test("that finds no further use lets the target sleep after one more idle timeout", async () => {
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

  test("that fails keeps the target awake, and status shows why", async () => {
    using stage = new Stage();
    stage.target.keptAwakeBy = () => Promise.reject(new Error("no answer"));
    const client = await stage.wake();
    client.release();
    await stage.advance(idleTimeoutMs);
    assert.equal(stage.state, "ready");
    assert.deepEqual(stage.activator.view.keptAwakeBy, ["its direct use is unknown: no answer"]);
  });

  test("whose answer comes after the next client does not stop the target under it", async () => {
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

  test("that found something keeps the target awake for a whole idle timeout, whatever is reloaded meanwhile", async () => {
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

function changed(stage: Stage, changes: Partial<Policy>): void {
  stage.activator.configure({ probe: async () => {}, services: ["web"], policy: { ...policy, ...changes } });
}

suite("a changed second step of the sleep of a paused target", () => {
  async function paused(thenStop: Policy["thenStop"]): Promise<Stage> {
    const stage = new Stage({ sleep: "pause", ...(thenStop && { thenStop: thenStop }) });
    await stage.wakeAndIdle();
    stage.target.finishStop();
    await stage.settle();
    assert.equal(stage.state, "paused");
    return stage;
  }
  const thenStop = { afterMs: 10_000, action: "stop" } as const;

  test("that was removed is not taken", async () => {
    using stage = await paused(thenStop);
    changed(stage, { sleep: "pause" });
    await stage.advance(60_000);
    assert.equal(stage.state, "paused");
  });

  test("that was added is taken", async () => {
    using stage = await paused(undefined);
    changed(stage, { sleep: "pause", thenStop: thenStop });
    await stage.advance(10_000);
    assert.equal(stage.state, "stopping");
  });

  test("that comes later is taken then, counted from the pause", async () => {
    using stage = await paused(thenStop);
    await stage.advance(9_000);
    changed(stage, { sleep: "pause", thenStop: { afterMs: 20_000, action: "stop" } });
    await stage.advance(10_000);
    assert.equal(stage.state, "paused");
    await stage.advance(1_000);
    assert.equal(stage.state, "stopping");
  });
});

suite("a stop that the target refuses because it is in use", () => {
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

  test("after a failed adoption is retried with growing pauses, and the target is adopted for the next client", async () => {
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
    assert.deepEqual([stage.activations.length, stage.keptAwake.length], [1, 1], "it is reported once");

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

  test("at the end leaves it up and ends the activator", async () => {
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
