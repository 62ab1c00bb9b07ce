/** Leases that are lost at the moment of their grant, and groups that depend on themselves. */
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

/** A dependency that grants each lease at once. */
class Fickle implements Dependency {
  readonly name = "container db";
  readonly leases: AbortController[] = [];
  acquires = 0;
  /** Each lease is cut before its delivery. */
  isLostAtOnce = false;

  /** An acquire stays open until it is aborted. */
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

suite("a dependency that is lost", () => {
  test("between the grant and its delivery is acquired again", async () => {
    using clock = new VirtualClock();
    const db = new Fickle();
    const dependencies = needsOf(db);
    db.isLostAtOnce = true;
    await dependencies.acquire(patience);
    assert.ok(dependencies.isIncomplete, "a cut lease counts as held");
    db.isLostAtOnce = false;
    await clock.advance(1_000);
    assert.ok(db.acquires > 1);
    assert.ok(!dependencies.isIncomplete);
    dependencies.release();
  });

  test("and acquired again is not acquired for the next client", async () => {
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

  test("repeatedly is acquired with growing delays", async () => {
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
    assert.ok(!dependencies.isIncomplete, "it is not acquired any more");
    const before = db.acquires;
    db.crash();
    await clock.settle();
    assert.equal(db.acquires, before + 1, "a first crash after a long time starts a new count");
    dependencies.release();
  });

  test("is not acquired again after a release", async () => {
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
    assert.equal(db.leases.length, before, "a sleeping target holds it");
  });
});

test("an adopted target acquires nothing if all its dependencies are held", async () => {
  using clock = new VirtualClock();
  const dependencies = needsOf(new Fickle());
  dependencies.join();
  await clock.settle();
  assert.ok(!dependencies.isIncomplete);
  dependencies.release();
});

test("a target that was restarted and paused can be acquired again in the callback of the cut", async () => {
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

test("a group whose members depend on each other sleeps", async () => {
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
