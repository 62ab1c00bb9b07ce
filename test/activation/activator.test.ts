import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ExitedError, StartFailedError, StartTimeoutError } from "../../src/activation/errors.ts";
import { TargetError, UnhealthyError } from "../../src/errors.ts";
import { policy, Stage } from "../support/activation/stage.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const clientLeft = new Error("the client left");

suite("acquire()", () => {
  test("starts a sleeping target once for many leases, and grants them in order", async () => {
    using stage = new Stage();
    stage.activator.open();
    const order: number[] = [];
    const leases = Array.from({ length: 50 }, (_, i) => stage.connect(() => order.push(i)));
    await stage.settle();
    assert.equal(stage.target.starts.length, 1);
    assert.ok(leases.every((client) => client.isWaiting));

    stage.target.finishStart();
    await stage.settle();
    assert.ok(leases.every((client) => client.isHeld));
    assert.deepEqual(
      order,
      leases.map((_, i) => i),
    );
    assert.equal(stage.target.starts.length, 1);
  });

  test("waits for the probe", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    const client = await stage.wake();
    await stage.advance(policy.startTimeoutMs - 1);
    assert.ok(client.isWaiting);

    stage.probes[0]?.resolve();
    await stage.settle();
    assert.ok(client.isHeld);
  });

  test("returns the address of the current run", async () => {
    using stage = new Stage();
    const first = await stage.wake();
    assert.equal(first.lease?.address, "10.0.0.1");
    stage.target.goDown();
    await stage.settle();
    const second = await stage.wake();
    assert.equal(second.lease?.address, "10.0.0.2");
  });

  test("acquireNow() acquires a lease on a ready target only, and the lease keeps the target awake", async () => {
    using stage = new Stage();
    assert.equal(stage.activator.acquireNow(), undefined);
    const client = await stage.wake();
    const lease = stage.activator.acquireNow();
    assert.equal(lease?.address, client.lease?.address);
    assert.ok(lease?.isHeld);
    await lease.granted;
    client.release();
    await stage.advance(policy.idleTimeoutMs);
    assert.equal(stage.activator.view.state, "ready");
    lease[Symbol.dispose]();
    await stage.advance(policy.idleTimeoutMs);
    await stage.settle();
    assert.notEqual(stage.activator.view.state, "ready");
    assert.equal(stage.activator.acquireNow(), undefined);
  });

  test("grants a lease on a ready target without a call to it", async () => {
    using stage = new Stage();
    await stage.wake();
    const inspectionsBefore = stage.target.inspections.length;
    const second = stage.connect();
    await stage.settle();
    assert.ok(second.isHeld);
    assert.equal(stage.target.starts.length, 1);
    assert.equal(stage.target.inspections.length, inspectionsBefore);
  });

  test("waits during a stop for the next activation", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    assert.equal(stage.state, "stopping");
    const client = stage.connect();
    await stage.settle();
    assert.ok(client.isWaiting);
    assert.equal(stage.target.starts.length, 1, "no start overtakes the stop");

    stage.target.finishStop();
    await stage.settle();
    assert.equal(stage.target.starts.length, 2);
    stage.target.finishStart();
    await stage.settle();
    assert.ok(client.isHeld);
    assert.equal(client.lease?.address, "10.0.0.2");
  });

  test("waits during a stop for its whole time and for a whole start", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    const client = stage.connect();
    await stage.advance(stage.target.graceMs);
    stage.target.finishStop();
    await stage.advance(policy.startTimeoutMs - 1);
    stage.target.finishStart();
    await stage.settle();
    assert.ok(client.isHeld);
  });

  test("withdrawn by all clients during a stop: the target stays asleep", async () => {
    using stage = new Stage();
    await stage.wakeAndIdle();
    const client = stage.connect();
    client.leave(clientLeft);
    stage.target.finishStop();
    await stage.settle();
    assert.equal(client.error, clientLeft);
    assert.equal(stage.state, "asleep");
    assert.equal(stage.target.starts.length, 1);
  });

  test("withdrawn by the client that caused the start: the start continues, then the target is idle", async () => {
    using stage = new Stage();
    stage.activator.open();
    const client = stage.connect();
    await stage.settle();
    client.leave(clientLeft);
    await stage.settle();
    assert.equal(client.error, clientLeft);
    assert.equal(stage.state, "starting");
    assert.equal(stage.target.starts[0]?.signal.aborted, false);

    stage.target.finishStart();
    await stage.settle();
    assert.equal(stage.state, "ready");
    await stage.advance(policy.idleTimeoutMs);
    assert.equal(stage.target.stops.length, 1);
  });

  test("withdrawn by one client: rejects with its reason and serves the other clients", async () => {
    using stage = new Stage();
    stage.activator.open();
    const [first, second, third] = [stage.connect(), stage.connect(), stage.connect()];
    await stage.settle();
    second.leave(clientLeft);
    await stage.settle();
    assert.equal(second.error, clientLeft);
    assert.equal(stage.activator.view.waiting, 2);
    stage.target.finishStart();
    await stage.settle();
    assert.ok(first.isHeld && third.isHeld);
    assert.equal(stage.activator.view.held, 2);
  });

  test("rejects and starts nothing if the signal is aborted already", async () => {
    using stage = new Stage();
    await assert.rejects(stage.activator.acquire(AbortSignal.abort(clientLeft)), clientLeft);
    assert.equal(stage.target.starts.length, 0);
  });

  test("rejects all leases with StartTimeoutError and stops the target if it is not ready in time", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    const first = await stage.wake();
    stage.reportPending(["http /health on 80", "healthy"]);
    await stage.advance(10_000);
    const second = stage.connect();
    await stage.advance(policy.startTimeoutMs - 10_001);
    assert.ok(first.isWaiting && second.isWaiting);

    await stage.advance(1);
    for (const { error } of [first, second]) {
      assert.ok(error instanceof StartTimeoutError);
      assert.equal(error.message, "fake was not ready within 30 s, waiting for http /health on 80, healthy");
    }
    assert.equal(stage.target.stops.length, 1);
    stage.target.finishStop();
    await stage.settle();
    assert.equal(stage.state, "asleep");
  });

  test("rejects with StartTimeoutError if the start call does not end", async () => {
    using stage = new Stage();
    stage.activator.open();
    const client = stage.connect();
    await stage.advance(policy.startTimeoutMs);
    assert.ok(client.error instanceof StartTimeoutError);
    assert.equal(stage.target.stops.length, 1, "a target that may be running is not stopped");
  });

  test("rejects at once with ExitedError and the exit code if the target exits during its start", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    const client = await stage.wake();
    stage.target.goDown({ code: 3 });
    await stage.settle();
    assert.ok(client.error instanceof ExitedError);
    assert.deepEqual(client.error.exit, { code: 3 });
    assert.equal(client.error.message, "fake exited with code 3");
  });

  test("rejects with ExitedError if the target is down at the first inspection after its start", async () => {
    using stage = new Stage();
    stage.activator.open();
    const client = stage.connect();
    await stage.settle();
    stage.target.answersInspections = false;
    stage.target.hintsChanges = false;
    stage.target.finishStart();
    await stage.settle();
    stage.target.inspections.at(-1)?.resolve({ up: false, exit: { code: 127 } });
    await stage.settle();
    assert.ok(client.error instanceof ExitedError);
  });

  test("rejects with StartFailedError and its cause if the target cannot be started", async () => {
    using stage = new Stage();
    stage.activator.open();
    const client = stage.connect();
    await stage.settle();
    const fault = new TargetError("missing", "there is no container fake");
    stage.target.failStart(fault);
    await stage.settle();
    assert.ok(client.error instanceof StartFailedError);
    assert.equal(client.error.cause, fault);
    assert.match(client.error.message, /fake could not be started: there is no container fake/);
  });

  test('starts a target again that was "already" up and going down', async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    stage.target.comeUp();
    const client = stage.connect();
    stage.activator.open();
    await stage.settle();
    stage.target.finishStart();
    await stage.settle();
    assert.equal(stage.probes.length, 1);
    stage.target.goDown({ code: 143 });
    await stage.advance(100);
    assert.ok(client.isWaiting);
    assert.equal(stage.target.starts.length, 2);

    stage.answersProbes = true;
    stage.target.finishStart();
    await stage.settle();
    assert.ok(client.isHeld);
    assert.equal(client.lease?.address, "10.0.0.2");
  });

  test("probes the new run of a target that another process restarts during its start", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    const client = await stage.wake();
    stage.target.comeUp();
    await stage.advance(100);
    stage.target.finishStart();
    await stage.settle();
    assert.equal(stage.probes.length, 2);
    assert.equal(stage.probes[0]?.isOpen, false);
    stage.probes[1]?.resolve();
    await stage.settle();
    assert.equal(client.lease?.address, "10.0.0.2");
  });
});

suite("adoption", () => {
  test("of a running target needs no start, and ends with the idle timeout", async () => {
    using stage = new Stage();
    stage.target.comeUp();
    stage.activator.open();
    await stage.settle();
    assert.equal(stage.state, "ready");
    assert.equal(stage.target.starts.length, 0);
    assert.equal(stage.activations[0]?.adopted, true);

    await stage.advance(policy.idleTimeoutMs);
    assert.equal(stage.target.stops.length, 1);
  });

  test("follows a later change", async () => {
    using stage = new Stage();
    stage.activator.open();
    await stage.settle();
    stage.target.comeUp();
    await stage.settle();
    assert.equal(stage.state, "ready");
    assert.equal(stage.changes[0]?.event, "found");
    assert.equal(stage.target.starts.length, 0);
  });

  test("does not follow a change without effect", async () => {
    using stage = new Stage();
    stage.activator.open();
    stage.target.hint();
    stage.target.hint();
    await stage.settle();
    assert.deepEqual(stage.path, ["asleep"]);
  });

  test("serves clients that connect meanwhile", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    stage.target.comeUp();
    stage.activator.open();
    await stage.settle();
    const client = stage.connect();
    stage.probes[0]?.resolve();
    await stage.settle();
    assert.ok(client.isHeld);
    assert.equal(stage.target.starts.length, 0);
  });

  test("waits for a silent target for the start timeout and the idle timeout", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    stage.target.comeUp();
    stage.activator.open();
    await stage.settle();
    const client = stage.connect();
    await stage.advance(policy.startTimeoutMs);
    assert.ok(client.error instanceof StartTimeoutError, "a client waits as long as for a start");
    await stage.advance(policy.idleTimeoutMs - 1);
    assert.equal(stage.target.stops.length, 0);
    await stage.advance(1);
    assert.equal(stage.target.stops.length, 1);
  });

  test("that fails starts no cooldown", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    stage.target.comeUp();
    stage.activator.open();
    await stage.settle();
    stage.probes[0]?.reject(new UnhealthyError("unhealthy"));
    await stage.settle();
    assert.equal(stage.activator.view.cooldownUntil, undefined);
    assert.equal(stage.activations[0]?.outcome, "unhealthy");
  });

  test("of a target that goes down does not stop it, and another process may start it at once", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    stage.target.comeUp();
    stage.activator.open();
    await stage.settle();
    stage.target.goDown({ code: 143 });
    await stage.settle();
    assert.equal(stage.state, "asleep");
    assert.equal(stage.target.stops.length, 0);
    assert.equal(stage.activations[0]?.outcome, "exited");
  });

  test("is repeated if the target is restarted before the inspection", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    stage.target.comeUp();
    stage.activator.open();
    await stage.settle();
    stage.target.answersInspections = false;
    stage.target.goDown();
    const inspection = stage.target.inspections.at(-1);
    stage.target.comeUp();
    stage.target.answersInspections = true;
    stage.answersProbes = true;
    inspection?.resolve(inspection.before);
    await stage.settle();
    assert.equal(stage.state, "ready");
    assert.equal(stage.target.stops.length + stage.target.starts.length, 0);
  });

  test("of a target that goes down is followed by a start for waiting clients", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    stage.target.comeUp();
    stage.activator.open();
    await stage.settle();
    const client = stage.connect();
    stage.target.goDown({ code: 143 });
    await stage.settle();
    assert.ok(client.isWaiting);
    stage.answersProbes = true;
    stage.target.finishStart();
    await stage.settle();
    assert.ok(client.isHeld);
    assert.equal(stage.target.stops.length, 0);
  });
});

suite("a ready target", () => {
  test("that exits is asleep, and its leases are cut with ExitedError", async () => {
    using stage = new Stage();
    const client = await stage.wake();
    stage.target.goDown({ code: 1 });
    await stage.settle();
    assert.ok(client.cutBy instanceof ExitedError);
    assert.deepEqual(client.cutBy.exit, { code: 1 });
    assert.equal(stage.state, "asleep");
    assert.equal(stage.target.stops.length, 0);
  });

  test("that exits while it is idle is asleep without an idle timeout", async () => {
    using stage = new Stage();
    const client = await stage.wake();
    client.release();
    stage.target.goDown({ code: 0 });
    await stage.settle();
    assert.equal(stage.state, "asleep");
    assert.equal(stage.clock.pending, 0);
  });

  test("that another process restarts is adopted, and the leases of the old run are cut", async () => {
    using stage = new Stage();
    const client = await stage.wake();
    stage.target.hintsChanges = false;
    stage.target.goDown();
    stage.target.comeUp();
    stage.target.hint();
    await stage.settle();
    assert.ok(client.cutBy instanceof ExitedError);
    assert.deepEqual(stage.path, ["asleep", "starting", "ready", "asleep", "starting", "ready"]);
    assert.equal(stage.target.starts.length, 1);

    const next = stage.connect();
    await stage.settle();
    assert.equal(next.lease?.address, "10.0.0.2");
  });

  test("stays ready after a failed inspection", async () => {
    using stage = new Stage();
    const client = await stage.wake();
    stage.target.answersInspections = false;
    stage.target.hint();
    stage.target.inspections.at(-1)?.reject(new TargetError("unreachable", "the engine does not answer"));
    await stage.settle();
    assert.ok(client.isHeld);
    assert.equal(stage.state, "ready");
  });

  test("that exited just before it became ready is detected without another event", async () => {
    using stage = new Stage();
    stage.answersProbes = false;
    const client = await stage.wake();
    stage.target.answersInspections = false;
    stage.target.goDown({ code: 1 });
    stage.target.answersInspections = true;
    stage.probes[0]?.resolve();
    await stage.settle();
    assert.ok(client.cutBy instanceof ExitedError);
    assert.equal(stage.state, "asleep");
  });

  test("is inspected again after an event during an inspection", async () => {
    using stage = new Stage();
    const client = await stage.wake();
    stage.target.answersInspections = false;
    stage.target.hint();
    const inspection = stage.target.inspections.at(-1);
    stage.target.answersInspections = true;
    stage.target.goDown({ code: 1 });
    inspection?.resolve(inspection.before);
    await stage.settle();
    assert.ok(client.cutBy instanceof ExitedError);
  });

  test("counts a lease once that is cut and disposed, or disposed twice", async () => {
    using stage = new Stage();
    const first = await stage.wake();
    const second = stage.connect();
    await stage.settle();
    first.release();
    first.release();
    assert.equal(stage.activator.view.held, 1);
    stage.target.goDown();
    await stage.settle();
    second.release();
    assert.equal(stage.state, "asleep");
  });

  test("can be acquired again in the callback of a cut", async () => {
    using stage = new Stage();
    const client = await stage.wake();
    let next: ReturnType<Stage["connect"]> | undefined;
    client.lease?.signal.addEventListener("abort", () => {
      next = stage.connect();
    });
    stage.target.goDown();
    await stage.settle();
    stage.target.finishStart();
    await stage.settle();
    assert.ok(next?.isHeld);
  });
});

suite("a late result", () => {
  test("of an inspection that began before a stop is dropped, and the inspection repeated", async () => {
    using stage = new Stage({ idleTimeoutMs: 1_000 });
    const client = await stage.wake();
    client.release();
    stage.target.answersInspections = false;
    stage.target.hint();
    const late = stage.target.inspections.at(-1);
    stage.target.answersInspections = true;
    await stage.advance(1_000);
    stage.target.finishStop();
    await stage.settle();
    assert.equal(stage.state, "asleep");

    late?.resolve(late.before);
    await stage.settle();
    assert.equal(stage.state, "asleep");
    assert.equal(stage.activations.length, 1);
    assert.deepEqual(stage.target.inspections.at(-1)?.before, { up: false });
  });

  test("of a start that timed out has no effect", async () => {
    using stage = new Stage();
    stage.target.abortDelayMs = Number.POSITIVE_INFINITY;
    stage.activator.open();
    stage.connect();
    await stage.advance(policy.startTimeoutMs);
    stage.target.failStart(new TargetError("failed", "too late"));
    await stage.settle();
    stage.target.finishStop();
    await stage.settle();
    assert.deepEqual(stage.path, ["asleep", "starting", "stopping", "asleep"]);
    assert.deepEqual(
      stage.activations.map(({ outcome }) => outcome),
      ["timeout"],
    );
  });

  test("of an aborted start call delays the stop, which it would undo", async () => {
    using stage = new Stage();
    stage.target.abortDelayMs = Number.POSITIVE_INFINITY;
    stage.activator.open();
    stage.connect();
    await stage.advance(policy.startTimeoutMs);
    assert.equal(stage.state, "stopping");
    assert.equal(stage.target.stops.length, 0);

    stage.target.finishStart();
    await stage.settle();
    stage.target.finishStop();
    await stage.settle();
    assert.equal(stage.state, "asleep");
    assert.equal(stage.target.truth.up, false);
  });

  test("of an aborted start call delays the stop for at most 5 s", async () => {
    using stage = new Stage();
    stage.target.abortDelayMs = Number.POSITIVE_INFINITY;
    stage.activator.open();
    stage.connect();
    await stage.advance(policy.startTimeoutMs);
    await stage.advance(5_000);
    stage.target.finishStop();
    await stage.settle();
    assert.equal(stage.state, "asleep");
  });
});
