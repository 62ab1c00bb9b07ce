/** What is lost in the very moment in which it is granted or claimed again, and what claims itself. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Activator } from "../../src/activation/activator.ts";
import { type Dependency, type DependencyLease, DependencyLeases } from "../../src/activation/dependency-leases.ts";
import { ExitedError } from "../../src/activation/errors.ts";
import { Group } from "../../src/activation/group.ts";
import type { Holder } from "../../src/activation/lease.ts";
import { Usage } from "../../src/activation/usage.ts";
import { abortable } from "../../src/async/wait.ts";
import { observer } from "../../src/telemetry/observer.ts";
import { FakeTarget } from "../support/activation/fake-target.ts";
import { policy, Stage } from "../support/activation/stage.ts";
import { VirtualClock } from "../support/activation/virtual-clock.ts";

/** A dependency that is there at once, as often as it is asked for. */
class Fickle implements Dependency {
  readonly name = "container db";
  readonly leases: AbortController[] = [];
  acquires = 0;
  /** Each hold is void before anybody has it. */
  isLostAtOnce = false;

  /** A claim stays open until it is given up. */
  isSlow = false;

  acquire(signal: AbortSignal): Promise<DependencyLease> {
    this.acquires += 1;
    return this.isSlow ? abortable(new Promise(() => {}), signal) : this.join(signal);
  }

  join(_signal: AbortSignal): Promise<DependencyLease> {
    const lost = new AbortController();
    this.leases.push(lost);
    if (this.isLostAtOnce) lost.abort(crash);
    return Promise.resolve({ signal: lost.signal, [Symbol.dispose]: () => {} });
  }

  crash(): void {
    this.leases.at(-1)?.abort(crash);
  }
}

const crash = new ExitedError("container db", { code: 1 });
const patience = new AbortController().signal;

function needsOf(...dependencies: Dependency[]): DependencyLeases {
  return new DependencyLeases({
    resolve: () => Promise.resolve(dependencies),
    onFailure: (error) => assert.fail(error),
  });
}

suite("what is needed and lost", () => {
  test("between the grant and the answer is claimed again", async () => {
    using clock = new VirtualClock();
    const db = new Fickle();
    const dependencies = needsOf(db);
    db.isLostAtOnce = true;
    await dependencies.acquire(patience);
    assert.ok(dependencies.isIncomplete, "a void claim passes for one that is held");
    db.isLostAtOnce = false;
    await clock.advance(1_000);
    assert.ok(db.acquires > 1);
    assert.ok(!dependencies.isIncomplete);
    dependencies.release();
  });

  test("and had again is not asked for by the next client", async () => {
    using clock = new VirtualClock();
    const db = new Fickle();
    const dependencies = needsOf(db);
    await dependencies.acquire(patience);
    db.crash();
    assert.ok(dependencies.isIncomplete);
    await clock.settle();
    assert.ok(!dependencies.isIncomplete);
    dependencies.release();
  });

  test("again and again is claimed less and less often", async () => {
    using clock = new VirtualClock();
    const db = new Fickle();
    const dependencies = needsOf(db);
    await dependencies.acquire(patience);
    for (let second = 0; second < 60; second += 1) {
      db.crash();
      await clock.advance(1_000);
    }
    assert.ok(db.acquires <= 8, `${db.acquires} starts in a minute`);
    await clock.advance(120_000);
    assert.ok(!dependencies.isIncomplete, "it was given up");
    const before = db.acquires;
    db.crash();
    await clock.settle();
    assert.equal(db.acquires, before + 1, "a first crash after a long time is no crash in a row");
    dependencies.release();
  });

  test("is not claimed any more once it is released", async () => {
    using clock = new VirtualClock();
    const db = new Fickle();
    const dependencies = needsOf(db);
    await dependencies.acquire(patience);
    db.isSlow = true;
    db.crash();
    await clock.settle();
    dependencies.release();
    const before = db.leases.length;
    await clock.advance(60_000);
    assert.equal(db.leases.length, before, "somebody who sleeps holds it");
  });
});

test("what was adopted asks for nothing when all that it needs is held", async () => {
  using clock = new VirtualClock();
  const dependencies = needsOf(new Fickle());
  dependencies.join();
  await clock.settle();
  assert.ok(!dependencies.isIncomplete);
  dependencies.release();
});

test("a target that was restarted and paused may be claimed again in the moment in which its loss is told", async () => {
  using stage = new Stage();
  const first = await stage.wake();
  stage.target.hintsChanges = false;
  stage.target.comeUp();
  stage.target.pause();
  const next: ReturnType<Stage["connect"]>[] = [];
  first.lease?.signal.addEventListener("abort", () => next.push(stage.connect()));
  stage.target.hint();
  await stage.settle();
  assert.equal(stage.state, "starting");
  stage.target.finishStart();
  await stage.settle();
  assert.ok(next[0]?.isHeld);
});

test("a group whose members need each other goes to sleep", async () => {
  using clock = new VirtualClock();
  const group = new Group("shop");
  const [web, db] = ["web", "db"].map((name): Activator => {
    const target = Object.assign(new FakeTarget(), { name, isPrompt: true });
    const dependencies = new DependencyLeases({
      resolve: () => Promise.resolve(name === "web" ? [needOf(() => db)] : []),
      onFailure: (error) => assert.fail(error),
    });
    const probe = (): Promise<void> => Promise.resolve();
    return new Activator({ target, probe, policy, services: [name], dependencies, group, observer: observer({}) });
  });
  assert.ok(web && db);
  for (const activator of [web, db]) group.add(activator);
  for (const activator of [web, db]) activator.open();
  const lease = await web.acquire(patience);
  await clock.settle();
  assert.deepEqual(
    [web, db].map(({ view }) => view.state),
    ["ready", "ready"],
  );
  lease[Symbol.dispose]();
  await clock.advance(policy.idleTimeoutMs);
  await clock.advance(policy.idleTimeoutMs);
  assert.deepEqual(
    [web, db].map(({ view }) => view.state),
    ["asleep", "asleep"],
  );
});

const web: Holder = { name: "web", kind: "dependent", usage: new Usage() };

function needOf(activator: () => Activator | undefined): Dependency {
  const db = (): Activator => activator() ?? assert.fail();
  return {
    name: "db",
    acquire: (signal) => db().acquire(signal, web),
    join: (signal) => db().join(signal, web),
  };
}
