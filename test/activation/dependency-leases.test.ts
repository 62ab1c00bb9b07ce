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

/** What one target needs, and what became of its claim. */
class Scene {
  readonly db: FakeDependency = new FakeDependency("db");
  readonly cache: FakeDependency = new FakeDependency("cache");
  readonly failures: Error[] = [];
  readonly dependencies: DependencyLeases;
  /** How the next question for what is needed is answered. */
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

  /** Claims all, and waits until each was asked. */
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

  /** Claims all, and gets it. */
  async have(): Promise<void> {
    const { outcome } = await this.connect();
    for (const { leases } of [this.db, this.cache]) leases.at(-1)?.grant();
    await settle();
    assert.equal(outcome(), "there");
    assert.ok(!this.dependencies.isIncomplete);
  }
}

suite("Needs.claim()", () => {
  test("claims everything at once, and is done when the last one is there", async () => {
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

  test("fails with the first that fails, by its name, and does not wait for the others", async () => {
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

  test("that failed in one part keeps the other until the target is asleep", async () => {
    const scene = new Scene();
    await scene.connect();
    scene.cache.leases[0]?.fail(crash);
    scene.db.leases[0]?.grant();
    await settle();
    assert.equal(scene.held, 1);
    scene.dependencies.release();
    assert.equal(scene.held, 0);
  });

  test("claims again only what is missing", async () => {
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

  test("throws the reason of its signal, and not in the name of what it waited for", async () => {
    const scene = new Scene();
    const leave = new AbortController();
    const { outcome } = await scene.connect(leave.signal);
    leave.abort(clientLeft);
    await settle();
    assert.equal(outcome(), clientLeft);
    assert.equal(scene.held, 0);
  });

  test("of two clients at once holds everything once", async () => {
    const scene = new Scene();
    const [one, two] = [await scene.connect(), await scene.connect()];
    for (const { leases } of [scene.db, scene.cache]) for (const client of leases) client.grant();
    await settle();
    assert.deepEqual([one.outcome(), two.outcome()], ["there", "there"]);
    assert.deepEqual([scene.db.held, scene.cache.held], [1, 1]);
    scene.dependencies.release();
    assert.equal(scene.held, 0);
  });

  test("with nothing to claim is done, and nothing is missing", async () => {
    const scene = new Scene([]);
    const { outcome } = await scene.connect();
    assert.equal(outcome(), "there");
    assert.ok(!scene.dependencies.isIncomplete);
  });
});

suite("Needs.release()", () => {
  test("gives everything back, once", async () => {
    const scene = new Scene();
    await scene.have();
    scene.dependencies.release();
    scene.dependencies.release();
    assert.deepEqual([scene.db.leases[0]?.lease.disposals, scene.cache.leases[0]?.lease.disposals], [1, 1]);
    assert.ok(scene.dependencies.isIncomplete);
  });

  test("in the middle of a claim ends it, and gives back what it has", async () => {
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

  test("gives back what is granted after it", async () => {
    const scene = new Scene();
    scene.db.isStubborn = true;
    await scene.connect();
    scene.dependencies.release();
    scene.db.leases[0]?.grant();
    await settle();
    assert.equal(scene.db.leases[0]?.lease.disposals, 1);
  });

  test("before it is known what is needed: nothing is claimed any more", async () => {
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

  test("and a claim right after it: the late answer of the first does not count for the second", async () => {
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
  test("by a crash is claimed again at once", async () => {
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

  test("by a crash, and cannot be had again, is joined when somebody brings it up", async () => {
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

  test("by somebody's stop is only joined", async () => {
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

  test("is claimed by the next client, and then held once", async () => {
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

  test("between the grant and its arrival is claimed again as well", async () => {
    const scene = new Scene();
    const { outcome } = await scene.connect();
    scene.cache.leases[0]?.grant();
    const late = scene.db.leases[0];
    late?.lease.cut(crash);
    late?.grant();
    await settle();
    assert.equal(outcome(), "there");
    assert.ok(scene.dependencies.isIncomplete, "what is down counts as held");
    assert.equal(scene.db.leases.length, 2);
  });

  test("while another one is still claimed leaves something missing", async () => {
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
    test(`${reason.exit.code === 3 ? "by a crash" : "by a stop"}: a release ends the attempts to have it back`, async () => {
      const scene = new Scene();
      await scene.have();
      scene.db.leases[0]?.lease.cut(reason);
      await settle();
      scene.dependencies.release();
      await settle();
      for (const join of scene.db.joins) join.grant();
      for (const client of scene.db.leases) client.grant();
      await settle();
      assert.equal(scene.held, 0, "a target that sleeps holds what it needed");
    });
  }

  test("again and again is claimed again after growing pauses, and at once when it had been steady", async () => {
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

  test("again and again is had by a client who comes in the pause, once, and a release ends the pause", async () => {
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

suite("Needs.join()", () => {
  test("starts nothing, and holds what comes up", async () => {
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

  test("leaves something missing, so that the first client claims the rest", async () => {
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

  test("whose answers come after a release gives them back", async () => {
    const scene = new Scene();
    scene.db.isStubborn = true;
    scene.dependencies.join();
    await settle();
    scene.dependencies.release();
    scene.db.joins[0]?.grant();
    await settle();
    assert.equal(scene.held, 0);
  });

  test("that learns after a release what was needed asks for nothing", async () => {
    const scene = new Scene();
    const known = Promise.withResolvers<void>();
    scene.resolving = known.promise;
    scene.dependencies.join();
    scene.dependencies.release();
    known.resolve();
    await settle();
    for (const join of scene.db.joins) join.grant();
    await settle();
    assert.equal(scene.held, 0, "a target that sleeps holds what it needed");
  });

  test("tells when it cannot be known what is needed, but not after a release", async () => {
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
