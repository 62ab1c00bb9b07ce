/** The view, the reports and the checks of an activator. */
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
const subject = { target: "fake", services: ["web", "api"] };
const drain = { drainMs: 10_000, leaveRunning: false };

suite("Activator.view", () => {
  test("counts waiting and held leases", async () => {
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

  test("contains the idle deadline only while the ready target is not in use", async () => {
    using stage = new Stage();
    const client = await stage.wake();
    assert.equal(stage.activator.view.idleDeadline, undefined);
    await stage.advance(500);
    client.release();
    assert.equal(stage.activator.view.idleDeadline, 500 + policy.idleTimeoutMs);
    await stage.advance(policy.idleTimeoutMs);
    assert.equal(stage.activator.view.idleDeadline, undefined);
  });

  test("contains the time of the last grant or release", async () => {
    using stage = new Stage();
    assert.equal(stage.activator.view.lastActivity, undefined);
    await stage.advance(100);
    const client = await stage.wake();
    assert.equal(stage.activator.view.lastActivity, 100);
    await stage.advance(400);
    client.release();
    assert.equal(stage.activator.view.lastActivity, 500);
  });

  test("contains what the probe waits for until the probe ends", async () => {
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

  test("does not contain what a probe of an earlier run waited for", async () => {
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

  test("contains the last error and the end of the cooldown until a start succeeds", async () => {
    using stage = new Stage();
    stage.activator.open();
    stage.connect();
    await stage.settle();
    stage.target.failStart(new TargetError("denied", "not allowed"));
    await stage.settle();
    assert.equal(stage.target.stops.length, 0, "a rejected start is stopped");
    assert.equal(stage.activator.view.lastError, "not allowed");
    assert.equal(stage.activator.view.cooldownUntil, 1_000);

    await stage.advance(1_000);
    assert.equal(stage.activator.view.cooldownUntil, undefined);
    await stage.wake();
    assert.equal(stage.activator.view.lastError, undefined);
  });

  test("sums the time for which the target was awake", async () => {
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

suite("ActivationObserver", () => {
  test("receives each change of state once, with its cause", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    stage.target.finishStop();
    await stage.settle();
    assert.deepEqual(stage.changes, [
      { ...subject, from: "asleep", to: "starting", event: "acquire", wokenBy: { holder: "a client" } },
      { ...subject, from: "starting", to: "ready", event: "started" },
      { ...subject, from: "ready", to: "stopping", event: "idle" },
      { ...subject, from: "stopping", to: "asleep", event: "stopped" },
    ]);
  });

  test("receives the client that caused a start, even if it connected during a stop", async () => {
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

  test("receives the dependent that caused a start, and no cause for a target that was found running", async () => {
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

  test("receives the duration of the start and of the whole activation", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    stage.activator.open();
    stage.connect();
    await stage.advance(300);
    stage.target.finishStart();
    await stage.advance(200);
    stage.probes[0]?.resolve();
    await stage.settle();
    assert.deepEqual(stage.activations, [
      { ...subject, outcome: "ready", adopted: false, durationMs: 500, startMs: 300 },
    ]);
  });

  test("receives engine_error for a start that the engine rejects", async () => {
    using stage = new Stage();
    const report = await failedActivation(stage, () => stage.target.failStart(new TargetError("failed", "no")));
    assert.equal(report.outcome, "engine_error");
    assert.equal(report.startMs, undefined);
    assert.equal(report.cooldownMs, 1_000);
  });

  test("receives the exit and the last output lines of a target that exited during its start", async () => {
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

  test("receives timeout for a target that was not ready in time", async () => {
    using stage = new Stage();
    const report = await failedActivation(stage, () => stage.advance(policy.startTimeoutMs));
    assert.equal(report.outcome, "timeout");
    assert.equal(report.durationMs, policy.startTimeoutMs);
  });

  test("receives the sleep of an idle target with its duration", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    await stage.advance(700);
    stage.target.finishStop();
    await stage.settle();
    assert.deepEqual(stage.sleeps, [{ ...subject, reason: "idle", action: "stop", durationMs: 700 }]);
  });

  test("receives the sleep of a target by a shutdown", async () => {
    using stage = new Stage();
    (await stage.wake()).release();
    const closed = stage.activator.close(drain);
    stage.target.finishStop();
    await closed;
    assert.deepEqual(stage.sleeps, [{ ...subject, reason: "shutdown", action: "stop", durationMs: 0 }]);
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
    test(`receives the exit of a ready target (${JSON.stringify(exit)}): ${reason}`, async () => {
      using stage = new Stage();
      await stage.wake();
      stage.target.print("out of memory");
      stage.target.goDown(exit);
      await stage.settle();
      const lastLines = reason === "crash" ? ["out of memory"] : undefined;
      const output = lastLines && { lastLines };
      assert.deepEqual(stage.sleeps, [{ ...subject, reason, action: "none", durationMs: 0, exit, ...output }]);
      assert.deepEqual(stage.activator.view.lastLines, lastLines);
      await stage.wake();
      assert.equal(stage.activator.view.lastLines, undefined);
    });
  }

  test("receives no sleep of a target whose start failed or was cancelled", async () => {
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
  test("throws the reason of the cut lease if the target is down", async () => {
    using stage = new Stage();
    const lease = await leaseOf(stage);
    stage.target.hintsChanges = false;
    stage.target.goDown({ code: 1 });
    await assert.rejects(stage.activator.verify(lease), (error) => error === lease.signal.reason);
    assert.ok(lease.signal.reason instanceof ExitedError);
    assert.equal(stage.state, "asleep");
  });

  test("waits until a running target answers", async () => {
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

  test("throws StartTimeoutError if the target does not answer, and cuts no lease", async () => {
    using stage = new Stage();
    const lease = await leaseOf(stage);
    stage.answersProbes = false;
    const verified = assert.rejects(stage.activator.verify(lease), StartTimeoutError);
    await stage.advance(policy.startTimeoutMs);
    await verified;
    assert.ok(lease.isHeld);
  });

  test("shares one inspection and one probe between concurrent calls", async () => {
    using stage = new Stage();
    const lease = await leaseOf(stage);
    const [inspections, probes] = [stage.target.inspections.length, stage.probes.length];
    await Promise.all(Array.from({ length: 20 }, () => stage.activator.verify(lease)));
    assert.equal(stage.target.inspections.length - inspections, 1);
    assert.equal(stage.probes.length - probes, 1);
  });

  test("ends if the target goes down", async () => {
    using stage = new Stage();
    const lease = await leaseOf(stage);
    stage.answersProbes = false;
    const verified = assert.rejects(stage.activator.verify(lease), ExitedError);
    await stage.settle();
    stage.target.goDown({ code: 1 });
    await verified;
    assert.equal(stage.clock.pending, 0);
  });

  test("inspects the target again in a later call", async () => {
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
