import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { DependencyLeases } from "../../src/activation/dependency-leases.ts";
import { DependencyError, ExitedError, StartTimeoutError } from "../../src/activation/errors.ts";
import { OneShot } from "../../src/activation/one-shot.ts";
import type { ActivationReport } from "../../src/activation/reports.ts";
import { TargetError } from "../../src/errors.ts";
import { observer } from "../../src/telemetry/observer.ts";
import { FakeDependency } from "../support/activation/fake-dependency.ts";
import { FakeTarget } from "../support/activation/fake-target.ts";
import { VirtualClock } from "../support/activation/virtual-clock.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const clientLeft = new Error("the client left");
const HOUR_MS = 3_600_000;
/** Creation time of the container that needs the result. */
const SINCE = 1_000;

/** A call of done() and its result. */
class Asking {
  readonly #leave = new AbortController();
  outcome: unknown;

  constructor(oneShot: OneShot) {
    oneShot.done(SINCE, this.#leave.signal).then(
      () => {
        this.outcome = "done";
      },
      (error) => {
        this.outcome = error;
      },
    );
  }

  leave(): void {
    this.#leave.abort(clientLeft);
  }
}

class Scene implements Disposable {
  readonly clock: VirtualClock = new VirtualClock();
  readonly target: FakeTarget = new FakeTarget();
  readonly dependencies: FakeDependency[] = [];
  readonly reports: ActivationReport[] = [];
  readonly oneShot: OneShot = new OneShot({
    target: this.target,
    dependencies: new DependencyLeases({ resolve: async () => this.dependencies, onFailure: () => {} }),
    observer: observer({ activation: (report) => this.reports.push(report) }),
  });

  async request(): Promise<Asking> {
    const asking = new Asking(this.oneShot);
    await this.clock.settle();
    return asking;
  }

  /** Ends the run with `code`. */
  async end(code: number): Promise<void> {
    this.target.goDown({ code }, { endedAt: SINCE + 1 });
    await this.clock.settle();
  }

  async started(): Promise<void> {
    this.target.finishStart();
    await this.clock.settle();
  }

  [Symbol.dispose](): void {
    this.clock[Symbol.dispose]();
  }
}

suite("a one-shot is not run", () => {
  test("if its last result is good and recent", async () => {
    using scene = new Scene();
    scene.target.goDown({ code: 0 }, { endedAt: SINCE });
    const asking = await scene.request();
    assert.equal(asking.outcome, "done");
    assert.equal(scene.target.starts.length, 0);
  });

  test("for a client that left during the inspection", async () => {
    using scene = new Scene();
    scene.target.answersInspections = false;
    scene.target.abortDelayMs = Number.POSITIVE_INFINITY;
    const asking = await scene.request();
    asking.leave();
    scene.target.inspections[0]?.resolve({ up: false });
    await scene.clock.settle();
    assert.equal(asking.outcome, clientLeft);
    assert.equal(scene.target.starts.length, 0);
  });

  test("if the inspection fails, whose error is thrown", async () => {
    using scene = new Scene();
    scene.target.answersInspections = false;
    const asking = await scene.request();
    const error = new TargetError("unreachable", "the engine does not answer");
    scene.target.inspections[0]?.reject(error);
    await scene.clock.settle();
    assert.equal(asking.outcome, error);
  });
});

suite("a one-shot is run", () => {
  const results = [
    { name: "never ran", exit: undefined, endedAt: undefined },
    { name: "ran before the container was created", exit: { code: 0 }, endedAt: SINCE - 1 },
    { name: "failed", exit: { code: 1 }, endedAt: SINCE + 1 },
    { name: "ended at an unknown time", exit: { code: 0 }, endedAt: undefined },
  ];
  for (const { name, exit, endedAt } of results) {
    test(`if it ${name}`, async () => {
      using scene = new Scene();
      if (exit !== undefined) scene.target.goDown(exit, endedAt === undefined ? {} : { endedAt });
      const asking = await scene.request();
      assert.equal(scene.target.starts.length, 1);
      await scene.started();
      assert.equal(asking.outcome, undefined);
      await scene.end(0);
      assert.equal(asking.outcome, "done");
      assert.equal(scene.reports[0]?.outcome, "ready");
      assert.equal(scene.target.watchers, 0);
      assert.equal(scene.clock.pending, 0);
    });
  }

  test("once for concurrent calls, and not again for the next call", async () => {
    using scene = new Scene();
    const first = [await scene.request(), await scene.request()];
    await scene.started();
    const second = await scene.request();
    await scene.end(0);
    const third = await scene.request();
    assert.deepEqual(
      [...first, second, third].map(({ outcome }) => outcome),
      Array(4).fill("done"),
    );
    assert.equal(scene.target.starts.length, 1);
  });

  test("not again for a call whose inspection began before the run and ended after it", async () => {
    using scene = new Scene();
    scene.target.answersInspections = false;
    const [quick, slow] = [await scene.request(), await scene.request()];
    const before = scene.target.truth;
    scene.target.inspections[0]?.resolve(before);
    await scene.clock.settle();
    scene.target.answersInspections = true;
    await scene.started();
    await scene.end(0);
    assert.equal(quick.outcome, "done");
    scene.target.inspections[1]?.resolve(before);
    await scene.clock.settle();
    assert.equal(scene.target.starts.length, 1);
    assert.equal(slow.outcome, "done");
  });

  test("to its end if the calls are aborted", async () => {
    using scene = new Scene();
    const asking = await scene.request();
    await scene.started();
    asking.leave();
    await scene.clock.settle();
    assert.equal(asking.outcome, clientLeft);
    const next = await scene.request();
    await scene.end(0);
    assert.equal(next.outcome, "done");
    assert.equal(scene.target.starts.length, 1);
  });

  test("only once if another process runs it already", async () => {
    using scene = new Scene();
    scene.target.comeUp();
    const asking = await scene.request();
    scene.target.finishStart();
    await scene.clock.settle();
    assert.equal(asking.outcome, undefined);
    await scene.end(0);
    assert.equal(asking.outcome, "done");
  });

  test("and its end is detected without an event", async () => {
    using scene = new Scene();
    scene.target.hintsChanges = false;
    const asking = await scene.request();
    await scene.started();
    await scene.end(0);
    assert.equal(asking.outcome, undefined);
    await scene.clock.advance(1_000);
    assert.equal(asking.outcome, "done");
  });

  test("and its end is awaited if another process pauses it", async () => {
    using scene = new Scene();
    const asking = await scene.request();
    await scene.started();
    scene.target.pause();
    await scene.clock.advance(60_000);
    assert.equal(asking.outcome, undefined);
    scene.target.unpause();
    await scene.end(0);
    assert.equal(asking.outcome, "done");
  });

  test("and its end is awaited if its restart policy starts it again", async () => {
    using scene = new Scene();
    const asking = await scene.request();
    await scene.started();
    scene.target.goDown({ code: 3 }, { isRestarting: true });
    await scene.clock.advance(2_000);
    assert.equal(asking.outcome, undefined);
    scene.target.comeUp();
    await scene.end(0);
    assert.equal(asking.outcome, "done");
  });
});

suite("a one-shot that fails", () => {
  test("reports its exit code and last output lines, and is run again for the next call", async () => {
    using scene = new Scene();
    const asking = await scene.request();
    await scene.started();
    scene.target.print("no such table");
    await scene.end(3);
    assert.ok(asking.outcome instanceof ExitedError);
    assert.deepEqual(asking.outcome.exit, { code: 3 });
    const [report] = scene.reports;
    assert.equal(report?.outcome, "exited");
    assert.deepEqual(report.lastLines, ["no such table"]);

    const next = await scene.request();
    assert.equal(scene.target.starts.length, 2);
    await scene.started();
    await scene.end(0);
    assert.equal(next.outcome, "done");
  });

  test("to start is reported with its error, not as an exit", async () => {
    using scene = new Scene();
    const asking = await scene.request();
    const error = new TargetError("failed", "no such image");
    scene.target.failStart(error);
    await scene.clock.settle();
    assert.equal(asking.outcome, error);
    assert.equal(scene.reports[0]?.outcome, "engine_error");
  });

  test("after all calls were aborted is reported", async () => {
    using scene = new Scene();
    const asking = await scene.request();
    await scene.started();
    asking.leave();
    await scene.end(3);
    assert.equal(scene.reports.length, 1);
  });

  test("to end within an hour is not awaited", async () => {
    using scene = new Scene();
    const asking = await scene.request();
    await scene.started();
    await scene.clock.advance(HOUR_MS);
    assert.ok(asking.outcome instanceof StartTimeoutError);
    assert.equal(scene.reports[0]?.outcome, "timeout");
    assert.equal(scene.clock.pending, 0);
    assert.equal(scene.target.watchers, 0);
  });
});

suite("a dependency of a one-shot", () => {
  test("is acquired before the start and released after the end", async () => {
    using scene = new Scene();
    const db = new FakeDependency("db");
    scene.dependencies.push(db);
    const asking = await scene.request();
    assert.equal(scene.target.starts.length, 0);
    db.leases[0]?.grant();
    await scene.clock.settle();
    await scene.started();
    assert.equal(db.held, 1);
    await scene.end(0);
    assert.equal(asking.outcome, "done");
    assert.equal(db.held, 0);
  });

  test("that fails prevents the start", async () => {
    using scene = new Scene();
    const db = new FakeDependency("db");
    scene.dependencies.push(db);
    const asking = await scene.request();
    db.leases[0]?.fail(new StartTimeoutError("it was not ready within 60 s"));
    await scene.clock.settle();
    assert.ok(asking.outcome instanceof DependencyError);
    assert.equal(scene.target.starts.length, 0);
    assert.equal(db.held, 0);
  });
});
