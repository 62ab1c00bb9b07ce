import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { ExitedError } from "../../src/activation/errors.ts";
import { StartAttempt, type StartAttemptOptions } from "../../src/activation/start-attempt.ts";
import type { Probe } from "../../src/activation/target.ts";
import { TargetError } from "../../src/errors.ts";
import { Call, FakeTarget } from "../support/activation/fake-target.ts";
import { VirtualClock } from "../support/activation/virtual-clock.ts";

/** A start attempt in virtual time. The test answers its probes. */
class Attempt implements Disposable {
  readonly clock: VirtualClock = new VirtualClock();
  readonly target: FakeTarget = new FakeTarget();
  readonly probes: Call<void>[] = [];
  readonly run: StartAttempt;

  constructor(options: Partial<StartAttemptOptions> = {}) {
    const { target } = this;
    const probe: Probe = (_upstream, signal) => {
      const call = new Call<void>(signal, { before: target.truth, abortDelayMs: 0 });
      this.probes.push(call);
      return call.promise;
    };
    const timeoutError = (): Error => new Error("took too long");
    this.run = new StartAttempt({
      target,
      inspection: target,
      probe,
      adopt: false,
      timeoutMs: 1_000,
      timeoutError,
      ...options,
    });
    // Passes on each event, as the activator does.
    target.watch(() => this.run.requestInspect());
  }

  [Symbol.dispose](): void {
    this.clock[Symbol.dispose]();
  }
}

suite("StartAttempt", () => {
  test("inspects again after an event during an inspection", async () => {
    using attempt = new Attempt({ adopt: true });
    const { clock, target, run } = attempt;
    target.comeUp();
    const up = assert.rejects(run.start(), ExitedError);
    await clock.settle();
    target.answersInspections = false;
    target.hint();
    const slow = target.inspections.at(-1);
    target.goDown({ code: 1 });
    slow?.resolve(slow.before);
    await clock.settle();
    target.inspections.at(-1)?.resolve(target.truth);
    await up;
  });

  test("does not lose an event before the probe", async () => {
    using attempt = new Attempt({ adopt: true });
    const { clock, target, run } = attempt;
    target.comeUp();
    target.answersInspections = false;
    const up = assert.rejects(run.start(), ExitedError);
    const [first] = target.inspections;
    target.goDown({ code: 1 });
    target.answersInspections = true;
    first?.resolve(first.before);
    await clock.settle();
    await up;
  });

  test("ignores a failed inspection during the probe", async () => {
    using attempt = new Attempt({ adopt: true });
    const { clock, target, run, probes } = attempt;
    target.comeUp();
    const up = run.start();
    await clock.settle();
    target.answersInspections = false;
    target.hint();
    target.inspections.at(-1)?.reject(new TargetError("unreachable", "the engine does not answer"));
    await clock.settle();
    probes[0]?.resolve();
    assert.equal((await up).incarnation, "run 1");
  });

  test("fails if the first inspection fails", async () => {
    using attempt = new Attempt();
    const { clock, target, run } = attempt;
    const fault = new TargetError("no_route", "no network in common with wakeport");
    const up = assert.rejects(run.start(), fault);
    target.answersInspections = false;
    target.hintsChanges = false;
    target.finishStart();
    await clock.settle();
    target.inspections[0]?.reject(fault);
    await up;
    assert.equal(clock.pending, 0);
  });

  test("restarts once a target that another process stops during its start", async () => {
    using attempt = new Attempt();
    const { clock, target, run } = attempt;
    const up = assert.rejects(run.start(), ExitedError);
    target.finishStart();
    await clock.settle();
    target.goDown({ code: 143 });
    await clock.advance(20);
    assert.equal(target.starts.length, 2);
    target.finishStart();
    await clock.settle();
    target.goDown({ code: 143 });
    await up;
  });

  test("waits for a target that its restart policy starts again", async () => {
    using attempt = new Attempt({ adopt: true });
    const { clock, target, run, probes } = attempt;
    target.comeUp();
    const up = run.start();
    await clock.settle();
    target.goDown({ code: 1 }, { isRestarting: true });
    await clock.advance(20);
    target.comeUp();
    await clock.advance(500);
    probes.at(-1)?.resolve();
    assert.equal((await up).incarnation, "run 2");
    assert.equal(target.starts.length, 0);
  });

  test("ends at once with the reason of abort() in each of its waits, and clears its timers", async () => {
    const reason = new Error("shut down");
    const waits: readonly ((attempt: Attempt) => Promise<void>)[] = [
      async () => {},
      async ({ clock, target }) => {
        target.answersInspections = false;
        target.finishStart();
        await clock.settle();
      },
      async ({ clock, target }) => {
        target.finishStart();
        await clock.settle();
      },
      async ({ clock, target }) => {
        target.finishStart();
        await clock.settle();
        target.comeUp();
        await clock.settle();
      },
    ];
    for (const reachWait of waits) {
      using attempt = new Attempt();
      const up = assert.rejects(attempt.run.start(), reason);
      await reachWait(attempt);
      attempt.run.abort(reason);
      await up;
      assert.equal(attempt.clock.pending, 0);
    }
  });

  test("ends with its own timeout error", async () => {
    using attempt = new Attempt();
    const up = assert.rejects(attempt.run.start(), /took too long/);
    await attempt.clock.advance(1_000);
    await up;
  });

  test("probes a target that is up while its start call is open, and inspects it once", async () => {
    using attempt = new Attempt();
    const { clock, target, run, probes } = attempt;
    const up = run.start();
    target.applyStart();
    await clock.settle();
    assert.equal(target.starts[0]?.isOpen, true);
    probes[0]?.resolve();
    assert.equal((await up).incarnation, "run 1");
    assert.equal(target.inspections.length, 1);
    assert.ok(run.startCall);
    target.finishStart();
    await clock.settle();
    assert.equal(run.startCall, undefined);
    assert.equal(run.isInspectDue, false);
  });

  test("inspects once if the event of its start arrives just before the answer to the call", async () => {
    using attempt = new Attempt();
    const { clock, target, run, probes } = attempt;
    const up = run.start();
    target.answersInspections = false;
    target.finishStart();
    await clock.settle();
    target.inspections.at(-1)?.resolve(target.truth);
    await clock.settle();
    probes[0]?.resolve();
    await up;
    assert.equal(target.inspections.length, 1);
  });

  test("inspects again if an inspection during the start call shows that the target is down", async () => {
    using attempt = new Attempt();
    const { clock, target, run, probes } = attempt;
    const up = run.start();
    target.hint();
    await clock.settle();
    assert.equal(target.inspections.length, 1);
    target.hintsChanges = false;
    target.finishStart();
    await clock.settle();
    assert.equal(target.inspections.length, 2);
    probes[0]?.resolve();
    await up;
  });

  test("fails with the error of an open start call if the target goes down", async () => {
    using attempt = new Attempt();
    const { clock, target, run } = attempt;
    const fault = new TargetError("failed", "the program cannot be executed");
    const up = assert.rejects(run.start(), fault);
    target.applyStart();
    await clock.settle();
    target.goDown({ code: 127 });
    await clock.settle();
    target.failStart(fault);
    await up;
  });

  test("waits for the start call of an earlier attempt", async () => {
    const earlier = Promise.withResolvers<void>();
    using attempt = new Attempt({ startCall: earlier.promise });
    const { clock, target, run } = attempt;
    const up = run.start();
    await clock.settle();
    assert.equal(target.starts.length, 0);
    earlier.resolve();
    await clock.settle();
    assert.equal(target.starts.length, 1);
    target.finishStart();
    await clock.settle();
    attempt.probes[0]?.resolve();
    await up;
  });

  test("has a startCall until the call ends, even an aborted one", async () => {
    using attempt = new Attempt();
    const { clock, target, run } = attempt;
    target.abortDelayMs = 300;
    const reason = new Error("shut down");
    const up = assert.rejects(run.start(), reason);
    run.abort(reason);
    await up;
    assert.ok(run.startCall);
    await clock.advance(300);
    assert.equal(run.startCall, undefined);
  });
});
