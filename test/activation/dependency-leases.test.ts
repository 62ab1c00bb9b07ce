import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setImmediate as settle } from "node:timers/promises";
import { DependencyLeases } from "../../src/activation/dependency-leases.ts";
import { DependencyError, ExitedError, StartTimeoutError } from "../../src/activation/errors.ts";
import { FakeDependency } from "../support/activation/fake-dependency.ts";
import { VirtualClock } from "../support/activation/virtual-clock.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const crash = new ExitedError("db", { code: 3 });
const stop = new ExitedError("db", { code: 143 });
const clientLeft = new Error("the client left");

/** The dependencies of one target, and the result of its acquire. */
class Scene {
  readonly db: FakeDependency = new FakeDependency("db");
  readonly cache: FakeDependency = new FakeDependency("cache");
  readonly failures: Error[] = [];
  readonly dependencies: DependencyLeases;
  /** Resolves the dependencies. */
  resolving: Promise<void> = Promise.resolve();

  constructor(dependencies?: readonly FakeDependency[]) {
    this.dependencies = new DependencyLeases({
      resolve: async () => {
        await this.resolving;
        return dependencies ?? [this.db, this.cache];
      },
      onFailure: (error) => this.failures.push(error),
    });
  }

  get held(): number {
    return this.db.held + this.cache.held;
  }

  /** Begins to acquire all leases. */
  async connect(signal: AbortSignal = new AbortController().signal): Promise<{ outcome: () => unknown }> {
    let outcome: unknown;
    this.dependencies.acquire(signal).then(
      () => {
        outcome = "there";
      },
      (error) => {
        outcome = error;
      },
    );
    await settle();
    return { outcome: () => outcome };
  }

  /** Acquires all leases. */
  async have(): Promise<void> {
    const { outcome } = await this.connect();
    for (const { leases } of [this.db, this.cache]) leases.at(-1)?.grant();
    await settle();
    assert.equal(outcome(), "there");
    assert.ok(!this.dependencies.isIncomplete);
  }
}

suite("DependencyLeases.acquire()", () => {
  test("acquires all leases concurrently and resolves after the last grant", async () => {
    const scene = new Scene();
    const { outcome } = await scene.connect();
    assert.equal(scene.db.leases.length, 1);
    assert.equal(scene.cache.leases.length, 1);
    scene.cache.leases[0]?.grant();
    await settle();
    assert.equal(outcome(), undefined);
    assert.ok(scene.dependencies.isIncomplete);

    scene.db.leases[0]?.grant();
    await settle();
    assert.equal(outcome(), "there");
    assert.ok(!scene.dependencies.isIncomplete);
  });

  test("fails with the name of the first dependency that fails, without waiting for the others", async () => {
    const scene = new Scene();
    const { outcome } = await scene.connect();
    const cause = new StartTimeoutError("it was not ready within 60 s");
    scene.cache.leases[0]?.fail(cause);
    await settle();
    const error = outcome();
    assert.ok(error instanceof DependencyError);
    assert.equal(error.message, "cache is needed: it was not ready within 60 s");
    assert.equal(error.cause, cause);

    scene.db.leases[0]?.fail(crash);
    await settle();
    assert.ok(scene.dependencies.isIncomplete);
  });

  test("keeps the granted leases after a failure until the target is asleep", async () => {
    const scene = new Scene();
    await scene.connect();
    scene.cache.leases[0]?.fail(crash);
    scene.db.leases[0]?.grant();
    await settle();
    assert.equal(scene.held, 1);
    scene.dependencies.release();
    assert.equal(scene.held, 0);
  });

  test("acquires only missing leases", async () => {
    const scene = new Scene();
    await scene.connect();
    scene.cache.leases[0]?.fail(crash);
    scene.db.leases[0]?.grant();
    await settle();
    const { outcome } = await scene.connect();
    assert.equal(scene.db.leases.length, 1);
    scene.cache.leases[1]?.grant();
    await settle();
    assert.equal(outcome(), "there");
  });

  test("throws the reason of its signal without the name of a dependency", async () => {
    const scene = new Scene();
    const leave = new AbortController();
    const { outcome } = await scene.connect(leave.signal);
    leave.abort(clientLeft);
    await settle();
    assert.equal(outcome(), clientLeft);
    assert.equal(scene.held, 0);
  });

  test("holds each lease once for two concurrent calls", async () => {
    const scene = new Scene();
    const [one, two] = [await scene.connect(), await scene.connect()];
    for (const { leases } of [scene.db, scene.cache]) for (const client of leases) client.grant();
    await settle();
    assert.deepEqual([one.outcome(), two.outcome()], ["there", "there"]);
    assert.deepEqual([scene.db.held, scene.cache.held], [1, 1]);
    scene.dependencies.release();
    assert.equal(scene.held, 0);
  });

  test("resolves without dependencies", async () => {
    const scene = new Scene([]);
    const { outcome } = await scene.connect();
    assert.equal(outcome(), "there");
    assert.ok(!scene.dependencies.isIncomplete);
  });
});

suite("DependencyLeases.release()", () => {
  test("disposes each lease once", async () => {
    const scene = new Scene();
    await scene.have();
    scene.dependencies.release();
    scene.dependencies.release();
    assert.deepEqual([scene.db.leases[0]?.lease.disposals, scene.cache.leases[0]?.lease.disposals], [1, 1]);
    assert.ok(scene.dependencies.isIncomplete);
  });

  test("ends an acquire under way and disposes its leases", async () => {
    const scene = new Scene();
    const { outcome } = await scene.connect();
    scene.db.leases[0]?.grant();
    await settle();
    scene.dependencies.release();
    await settle();
    assert.ok(outcome() instanceof Error);
    assert.equal(scene.held, 0);
    assert.ok(scene.dependencies.isIncomplete);
  });

  test("disposes leases that are granted later", async () => {
    const scene = new Scene();
    scene.db.isStubborn = true;
    await scene.connect();
    scene.dependencies.release();
    scene.db.leases[0]?.grant();
    await settle();
    assert.equal(scene.db.leases[0]?.lease.disposals, 1);
  });

  test("ends an acquire that has not resolved its dependencies", async () => {
    const scene = new Scene();
    const known = Promise.withResolvers<void>();
    scene.resolving = known.promise;
    scene.db.isStubborn = true;
    const { outcome } = await scene.connect();
    scene.dependencies.release();
    known.resolve();
    await settle();
    for (const client of scene.db.leases) client.grant();
    await settle();
    assert.ok(outcome() instanceof Error);
    assert.equal(scene.held, 0);
    assert.equal(scene.db.leases.length, 0);
  });

  test("does not use a late grant of an earlier acquire for the next one", async () => {
    const scene = new Scene([]);
    const db = new FakeDependency("db");
    db.isStubborn = true;
    const two = new Scene([db]);
    await two.connect();
    two.dependencies.release();
    const { outcome } = await two.connect();
    db.leases[0]?.grant();
    await settle();
    assert.equal(outcome(), undefined);
    assert.equal(db.held, 0);
    db.leases[1]?.grant();
    await settle();
    assert.equal(outcome(), "there");
    assert.equal(db.held, 1);
    assert.equal(scene.held, 0);
  });
});

suite("a dependency that goes down while it is held", () => {
  test("by a crash is acquired again at once", async () => {
    const scene = new Scene();
    await scene.have();
    scene.db.leases[0]?.lease.cut(crash);
    assert.ok(scene.dependencies.isIncomplete);
    await settle();
    assert.equal(scene.db.leases.length, 2);
    scene.db.leases[1]?.grant();
    await settle();
    assert.equal(scene.held, 2);
  });

  test("by a crash, and fails to start, is joined when another process starts it", async () => {
    const scene = new Scene();
    await scene.have();
    scene.db.leases[0]?.lease.cut(crash);
    await settle();
    scene.db.leases[1]?.fail(crash);
    await settle();
    assert.equal(scene.db.leases.length, 2);
    scene.db.joins[0]?.grant();
    await settle();
    assert.equal(scene.db.held, 1);
  });

  test("by a stop of another process is only joined", async () => {
    const scene = new Scene();
    await scene.have();
    scene.db.leases[0]?.lease.cut(stop);
    await settle();
    assert.equal(scene.db.leases.length, 1);
    assert.equal(scene.db.joins.length, 1);
    scene.db.joins[0]?.grant();
    await settle();
    assert.equal(scene.db.held, 1);
  });

  test("is acquired for the next client and held once", async () => {
    const scene = new Scene();
    await scene.have();
    scene.db.leases[0]?.lease.cut(stop);
    await settle();
    assert.ok(scene.dependencies.isIncomplete);
    const { outcome } = await scene.connect();
    assert.equal(scene.cache.leases.length, 1);
    scene.db.leases[1]?.grant();
    scene.db.joins[0]?.grant();
    await settle();
    assert.equal(outcome(), "there");
    assert.equal(scene.db.held, 1);
    assert.ok(!scene.dependencies.isIncomplete);
  });

  test("between the grant and its delivery is acquired again", async () => {
    const scene = new Scene();
    const { outcome } = await scene.connect();
    scene.cache.leases[0]?.grant();
    const late = scene.db.leases[0];
    late?.lease.cut(crash);
    late?.grant();
    await settle();
    assert.equal(outcome(), "there");
    assert.ok(scene.dependencies.isIncomplete, "a lost lease counts as held");
    assert.equal(scene.db.leases.length, 2);
  });

  test("while another lease is acquired is incomplete", async () => {
    const scene = new Scene();
    const { outcome } = await scene.connect();
    scene.db.leases[0]?.grant();
    await settle();
    scene.db.leases[0]?.lease.cut(stop);
    scene.cache.leases[0]?.grant();
    await settle();
    assert.equal(outcome(), "there");
    assert.ok(scene.dependencies.isIncomplete);
  });

  for (const reason of [crash, stop]) {
    test(`${reason.exit.code === 3 ? "by a crash" : "by a stop"}: a release ends the attempts to acquire it again`, async () => {
      const scene = new Scene();
      await scene.have();
      scene.db.leases[0]?.lease.cut(reason);
      await settle();
      scene.dependencies.release();
      await settle();
      for (const join of scene.db.joins) join.grant();
      for (const client of scene.db.leases) client.grant();
      await settle();
      assert.equal(scene.held, 0, "a sleeping target holds a lease");
    });
  }

  test("repeatedly is acquired again after growing delays, and at once after 10 s without a crash", async () => {
    using clock = new VirtualClock();
    const scene = new Scene();
    await scene.have();
    for (const [round, pauseMs] of [0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000].entries()) {
      scene.db.leases[round]?.lease.cut(crash);
      await clock.advance(Math.max(pauseMs - 1, 0));
      if (pauseMs > 0) assert.equal(scene.db.leases.length, round + 1);
      await clock.advance(1);
      assert.equal(scene.db.leases.length, round + 2);
      scene.db.leases[round + 1]?.grant();
      await clock.settle();
      assert.equal(scene.db.held, 1);
    }
    await clock.advance(10_000);
    scene.db.leases.at(-1)?.lease.cut(crash);
    await clock.settle();
    scene.db.leases.at(-1)?.grant();
    await clock.settle();
    assert.equal(scene.db.held, 1);
    scene.dependencies.release();
    assert.equal(scene.held, 0);
  });

  test("repeatedly is acquired once for a client during the delay, and a release ends the delay", async () => {
    using clock = new VirtualClock();
    const scene = new Scene();
    await scene.have();
    for (const round of [0, 1]) {
      scene.db.leases[round]?.lease.cut(crash);
      await clock.settle();
      if (round === 0) scene.db.leases[1]?.grant();
      await clock.settle();
    }
    const { outcome } = await scene.connect();
    scene.db.leases[2]?.grant();
    await clock.settle();
    assert.equal(outcome(), "there");
    await clock.advance(60_000);
    assert.equal(scene.db.leases.length, 3);

    for (const round of [2, 3]) {
      scene.db.leases[round]?.lease.cut(crash);
      await clock.settle();
      if (round === 2) scene.db.leases[3]?.grant();
      await clock.settle();
    }
    assert.equal(clock.pending, 1);
    scene.dependencies.release();
    await clock.settle();
    assert.equal(clock.pending, 0);
    assert.equal(scene.db.leases.length, 4);
    assert.equal(scene.db.joins.length, 0);
  });
});

suite("DependencyLeases.join()", () => {
  test("starts nothing and holds dependencies that come up", async () => {
    const scene = new Scene();
    scene.dependencies.join();
    await settle();
    assert.deepEqual([scene.db.leases.length, scene.cache.leases.length], [0, 0]);
    scene.db.joins[0]?.grant();
    await settle();
    assert.equal(scene.held, 1);
    scene.dependencies.release();
    assert.equal(scene.held, 0);
  });

  test("is incomplete, so that the first client acquires the rest", async () => {
    const scene = new Scene();
    scene.dependencies.join();
    await settle();
    scene.db.joins[0]?.grant();
    await settle();
    assert.ok(scene.dependencies.isIncomplete);
    const { outcome } = await scene.connect();
    assert.equal(scene.db.leases.length, 0);
    scene.cache.leases[0]?.grant();
    await settle();
    assert.equal(outcome(), "there");
  });

  test("disposes leases that are granted after a release", async () => {
    const scene = new Scene();
    scene.db.isStubborn = true;
    scene.dependencies.join();
    await settle();
    scene.dependencies.release();
    scene.db.joins[0]?.grant();
    await settle();
    assert.equal(scene.held, 0);
  });

  test("acquires nothing if the dependencies are resolved after a release", async () => {
    const scene = new Scene();
    const known = Promise.withResolvers<void>();
    scene.resolving = known.promise;
    scene.dependencies.join();
    scene.dependencies.release();
    known.resolve();
    await settle();
    for (const join of scene.db.joins) join.grant();
    await settle();
    assert.equal(scene.held, 0, "a sleeping target holds a lease");
  });

  test("reports that the dependencies cannot be resolved, but not after a release", async () => {
    const scene = new Scene();
    const fault = new Error("the engine does not answer");
    scene.resolving = Promise.reject(fault);
    scene.dependencies.join();
    await settle();
    assert.deepEqual(scene.failures, [fault]);

    const late = Promise.withResolvers<void>();
    scene.resolving = late.promise;
    scene.dependencies.join();
    scene.dependencies.release();
    late.reject(fault);
    await settle();
    assert.equal(scene.failures.length, 1);
  });
});
