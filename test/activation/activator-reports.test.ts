/** What an activator says of its target: to those who ask, to the observer, to a lease that doubts it. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ExitedError, StartTimeoutError } from "../../src/activation/errors.ts";
import type { Holder, Lease } from "../../src/activation/lease.ts";
import { CLIENT } from "../../src/activation/lease-set.ts";
import type { ActivationReport } from "../../src/activation/reports.ts";
import { Usage } from "../../src/activation/usage.ts";
import { TargetError } from "../../src/errors.ts";
import { policy, Stage } from "../support/activation/stage.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const web: Holder = { name: "container web", kind: "dependent", usage: new Usage() };
const who = { target: "fake", services: ["web", "api"] };
const drain = { drainMs: 10_000, leaveRunning: false };

suite("view", () => {
  test("counts those who wait and those who hold", async () => {
    using stage = new Stage();
    stage.activator.open();
    const leases = [stage.connect(), stage.connect(), stage.connect()];
    await stage.settle();
    assert.deepEqual(countsOf(stage), { state: "starting", waiting: 3, held: 0 });
    stage.target.finishStart();
    await stage.settle();
    assert.deepEqual(countsOf(stage), { state: "ready", waiting: 0, held: 3 });
    leases[0]?.release();
    assert.deepEqual(countsOf(stage), { state: "ready", waiting: 0, held: 2 });
  });

  test("has the idle deadline only while nobody uses the ready target", async () => {
    using stage = new Stage();
    const client = await stage.wake();
    assert.equal(stage.activator.view.idleDeadline, undefined);
    await stage.advance(500);
    client.release();
    assert.equal(stage.activator.view.idleDeadline, 500 + policy.idleTimeoutMs);
    await stage.advance(policy.idleTimeoutMs);
    assert.equal(stage.activator.view.idleDeadline, undefined);
  });

  test("has the last activity: a grant, or a release", async () => {
    using stage = new Stage();
    assert.equal(stage.activator.view.lastActivity, undefined);
    await stage.advance(100);
    const client = await stage.wake();
    assert.equal(stage.activator.view.lastActivity, 100);
    await stage.advance(400);
    client.release();
    assert.equal(stage.activator.view.lastActivity, 500);
  });

  test("has what the probe still misses, from the start to the end of the probe", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    stage.activator.open();
    const client = stage.connect();
    await stage.settle();
    assert.equal(stage.activator.view.pending, undefined);
    stage.target.finishStart();
    await stage.settle();
    stage.reportPending(["tcp 21", "healthy"]);
    assert.deepEqual(stage.activator.view.pending, ["tcp 21", "healthy"]);
    stage.reportPending(["healthy"]);
    assert.deepEqual(stage.activator.view.pending, ["healthy"]);
    stage.probes[0]?.resolve();
    await stage.settle();
    assert.equal(stage.activator.view.pending, undefined);
    assert.ok(client.lease !== undefined);
  });

  test("has nothing that a probe missed in a life that is over", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    stage.activator.open();
    stage.connect();
    await stage.settle();
    stage.target.finishStart();
    await stage.settle();
    stage.reportPending(["tcp 21"]);
    stage.target.goDown({}, { isRestarting: true });
    await stage.settle();
    stage.reportPending(["too late"]);
    assert.equal(stage.state, "starting");
    assert.equal(stage.activator.view.pending, undefined);
  });

  test("has the last error and the end of the cooldown until a start succeeds", async () => {
    using stage = new Stage();
    stage.activator.open();
    stage.connect();
    await stage.settle();
    stage.target.failStart(new TargetError("denied", "not allowed"));
    await stage.settle();
    assert.equal(stage.target.stops.length, 0, "a start that was refused leaves nothing to stop");
    assert.equal(stage.activator.view.lastError, "not allowed");
    assert.equal(stage.activator.view.cooldownUntil, 1_000);

    await stage.advance(1_000);
    assert.equal(stage.activator.view.cooldownUntil, undefined);
    await stage.wake();
    assert.equal(stage.activator.view.lastError, undefined);
  });

  test("adds up how long the target was awake", async () => {
    using stage = new Stage();
    const client = await stage.wake();
    await stage.advance(1_000);
    assert.equal(stage.activator.view.awakeMs, 1_000);
    client.release();
    await stage.advance(policy.idleTimeoutMs);
    stage.target.finishStop();
    await stage.advance(5_000);
    assert.equal(stage.activator.view.awakeMs, 1_000 + policy.idleTimeoutMs);
    await stage.wake();
    await stage.advance(10);
    assert.equal(stage.activator.view.awakeMs, 1_010 + policy.idleTimeoutMs);
  });
});

suite("the observer", () => {
  test("is told each change of state once, with its cause", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    stage.target.finishStop();
    await stage.settle();
    assert.deepEqual(stage.changes, [
      { ...who, from: "asleep", to: "starting", event: "acquire", wokenBy: { holder: "a client" } },
      { ...who, from: "starting", to: "ready", event: "started" },
      { ...who, from: "ready", to: "stopping", event: "idle" },
      { ...who, from: "stopping", to: "asleep", event: "stopped" },
    ]);
  });

  test("reports the client that caused a start, also one that connected during a stop", async () => {
    using stage = new Stage();
    const [first, second] = ["10.0.0.7:5512", "10.0.0.8:40000"].map((client) => ({ client, service: "ftp" }));
    const { signal } = new AbortController();
    stage.target.isPrompt = true;
    stage.activator.open();
    const leases = [first, second].map((client) => stage.activator.acquire(signal, CLIENT, client));
    await stage.settle();
    assert.deepEqual(stage.changes[0]?.wokenBy, { holder: "a client", client: first });
    assert.equal(stage.activator.view.cause, "woken by 10.0.0.7:5512 through ftp");

    stage.target.isPrompt = false;
    for (const lease of leases) (await lease)[Symbol.dispose]();
    await stage.advance(policy.idleTimeoutMs);
    assert.equal(stage.state, "stopping");
    void stage.activator.acquire(signal, CLIENT, second);
    void stage.activator.acquire(signal, CLIENT, first);
    stage.target.finishStop();
    await stage.settle();
    assert.deepEqual(stage.changes.at(-1)?.wokenBy, { holder: "a client", client: second });
    assert.equal(stage.activator.view.cause, "woken by 10.0.0.8:40000 through ftp");
  });

  test("reports the dependent that caused a start, and no cause for a target that was found running", async () => {
    using stage = new Stage();
    stage.activator.open();
    void stage.activator.acquire(new AbortController().signal, web);
    await stage.settle();
    assert.deepEqual(stage.changes[0]?.wokenBy, { holder: "container web" });
    assert.equal(stage.activator.view.cause, "woken for container web");

    using running = new Stage();
    running.target.comeUp();
    running.activator.open();
    await running.settle();
    assert.deepEqual([running.changes[0]?.to, running.changes[0]?.wokenBy], ["starting", undefined]);
  });

  test("is told of an activation how long the start took, and the readiness after it", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    stage.activator.open();
    stage.connect();
    await stage.advance(300);
    stage.target.finishStart();
    await stage.advance(200);
    stage.probes[0]?.resolve();
    await stage.settle();
    assert.deepEqual(stage.activations, [{ ...who, outcome: "ready", adopted: false, durationMs: 500, startMs: 300 }]);
  });

  test("is told of a start that could not be made: engine_error", async () => {
    using stage = new Stage();
    const report = await failedActivation(stage, () => stage.target.failStart(new TargetError("failed", "no")));
    assert.equal(report.outcome, "engine_error");
    assert.equal(report.startMs, undefined);
    assert.equal(report.cooldownMs, 1_000);
  });

  test("is told of a target that exited while it started: its exit, and its last words", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    const report = await failedActivation(stage, async () => {
      stage.target.finishStart();
      stage.target.print("loading");
      stage.target.print("no such database");
      await stage.settle();
      stage.target.goDown({ code: 3 });
    });
    assert.equal(report.outcome, "exited");
    assert.deepEqual(report.exit, { code: 3 });
    assert.deepEqual(report.lastLines, ["loading", "no such database"]);
  });

  test("is told of a target that was not ready in time: timeout", async () => {
    using stage = new Stage();
    const report = await failedActivation(stage, () => stage.advance(policy.startTimeoutMs));
    assert.equal(report.outcome, "timeout");
    assert.equal(report.durationMs, policy.startTimeoutMs);
  });

  test("is told of an idle target put to sleep, and how long that took", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    await stage.advance(700);
    stage.target.finishStop();
    await stage.settle();
    assert.deepEqual(stage.sleeps, [{ ...who, reason: "idle", action: "stop", durationMs: 700 }]);
  });

  test("is told of a target put to sleep by a shutdown", async () => {
    using stage = new Stage();
    (await stage.wake()).release();
    const closed = stage.activator.close(drain);
    stage.target.finishStop();
    await closed;
    assert.deepEqual(stage.sleeps, [{ ...who, reason: "shutdown", action: "stop", durationMs: 0 }]);
  });

  const ends = [
    { exit: { code: 0 }, reason: "external" },
    { exit: { code: 143 }, reason: "external" },
    { exit: { code: 137 }, reason: "external" },
    { exit: { signal: "SIGTERM" }, reason: "external" },
    { exit: { code: 1 }, reason: "crash" },
    { exit: { signal: "SIGSEGV" }, reason: "crash" },
    { exit: { code: 137, oomKilled: true }, reason: "crash" },
  ] as const;
  for (const { exit, reason } of ends) {
    test(`is told of a ready target that went down by itself (${JSON.stringify(exit)}): ${reason}`, async () => {
      using stage = new Stage();
      await stage.wake();
      stage.target.print("out of memory");
      stage.target.goDown(exit);
      await stage.settle();
      const lastLines = reason === "crash" ? ["out of memory"] : undefined;
      const output = lastLines && { lastLines };
      assert.deepEqual(stage.sleeps, [{ ...who, reason, action: "none", durationMs: 0, exit, ...output }]);
      assert.deepEqual(stage.activator.view.lastLines, lastLines);
      await stage.wake();
      assert.equal(stage.activator.view.lastLines, undefined);
    });
  }

  test("is told no sleep of a target that never was awake: its start failed, or was cancelled", async () => {
    using stage = new Stage();
    await failedActivation(stage, () => stage.target.failStart(new TargetError("failed", "no")));
    stage.target.finishStop();
    await stage.advance(1_000);
    stage.connect();
    await stage.settle();
    const closed = stage.activator.close(drain);
    await stage.settle();
    stage.target.finishStop();
    await closed;
    assert.deepEqual(stage.sleeps, []);
    assert.deepEqual(
      stage.activations.map(({ outcome }) => outcome),
      ["engine_error", "cancelled"],
    );
  });
});

suite("verify()", () => {
  test("of a target that turns out to be down throws what cut the lease", async () => {
    using stage = new Stage();
    const lease = await leaseOf(stage);
    stage.target.hintsChanges = false;
    stage.target.goDown({ code: 1 });
    await assert.rejects(stage.activator.verify(lease), (error) => error === lease.signal.reason);
    assert.ok(lease.signal.reason instanceof ExitedError);
    assert.equal(stage.state, "asleep");
  });

  test("of a target that is up waits until it answers", async () => {
    using stage = new Stage();
    const lease = await leaseOf(stage);
    stage.answersProbes = false;
    let isVerified = false;
    const verified = stage.activator.verify(lease).then(() => {
      isVerified = true;
    });
    await stage.advance(1_000);
    assert.equal(isVerified, false);
    stage.probes.at(-1)?.resolve();
    await verified;
    assert.ok(lease.isHeld);
    assert.equal(stage.clock.pending, 0);
  });

  test("of a target that stays silent throws StartTimeoutError, and cuts nobody", async () => {
    using stage = new Stage();
    const lease = await leaseOf(stage);
    stage.answersProbes = false;
    const verified = assert.rejects(stage.activator.verify(lease), StartTimeoutError);
    await stage.advance(policy.startTimeoutMs);
    await verified;
    assert.ok(lease.isHeld);
  });

  test("by many at once is one look and one probe", async () => {
    using stage = new Stage();
    const lease = await leaseOf(stage);
    const [inspections, probes] = [stage.target.inspections.length, stage.probes.length];
    await Promise.all(Array.from({ length: 20 }, () => stage.activator.verify(lease)));
    assert.equal(stage.target.inspections.length - inspections, 1);
    assert.equal(stage.probes.length - probes, 1);
  });

  test("ends when the target goes down meanwhile", async () => {
    using stage = new Stage();
    const lease = await leaseOf(stage);
    stage.answersProbes = false;
    const verified = assert.rejects(stage.activator.verify(lease), ExitedError);
    await stage.settle();
    stage.target.goDown({ code: 1 });
    await verified;
    assert.equal(stage.clock.pending, 0);
  });

  test("after one that is over looks afresh", async () => {
    using stage = new Stage();
    const lease = await leaseOf(stage);
    await stage.activator.verify(lease);
    const inspections = stage.target.inspections.length;
    await stage.activator.verify(lease);
    assert.equal(stage.target.inspections.length, inspections + 1);
  });
});

function countsOf(stage: Stage): { state: string; waiting: number; held: number } {
  const { state, waiting, held } = stage.activator.view;
  return { state, waiting, held };
}

async function leaseOf(stage: Stage): Promise<Lease> {
  const { lease } = await stage.wake();
  assert.ok(lease);
  return lease;
}

async function failedActivation(stage: Stage, fail: () => Promise<void> | void): Promise<ActivationReport> {
  stage.activator.open();
  stage.connect();
  await stage.settle();
  await fail();
  await stage.settle();
  const report = stage.activations.at(-1);
  assert.ok(report);
  return report;
}
