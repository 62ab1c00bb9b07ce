/** Sleep and close of chains and groups of targets. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import type { ActivationPolicy } from "../../src/activation/activation-policy.ts";
import { type Dependency, DependencyLeases } from "../../src/activation/dependency-leases.ts";
import { Group } from "../../src/activation/group.ts";
import { TargetError } from "../../src/errors.ts";
import { randomRuns } from "../support/activation/random.ts";
import { type Client, policy, Stage } from "../support/activation/stage.ts";
import { VirtualClock } from "../support/activation/virtual-clock.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const { idleTimeoutMs } = policy;
const drain = { drainMs: 10_000, leaveRunning: false };

interface Part {
  readonly dependencies?: readonly string[];
  /** Its companions. */
  readonly companions?: readonly string[];
  readonly group?: Group;
  readonly policy?: Partial<ActivationPolicy>;
}

/** Several targets in the same virtual time. All starts and stops succeed at once. */
class Project implements Disposable {
  readonly clock: VirtualClock = new VirtualClock();
  readonly #stages: ReadonlyMap<string, Stage>;

  constructor(parts: Readonly<Record<string, Part>>) {
    const stages = Object.entries(parts).map(([name, part]) => [name, this.#stage(name, part)] as const);
    this.#stages = new Map(stages);
    for (const [name, { group }] of Object.entries(parts)) group?.add(this.stage(name).activator);
    for (const stage of this.#stages.values()) stage.activator.open();
  }

  stage(name: string): Stage {
    return this.#stages.get(name) ?? assert.fail();
  }

  /** The state of each target. */
  get states(): Record<string, string> {
    return Object.fromEntries([...this.#stages].map(([name, stage]) => [name, stage.state]));
  }

  /** The sleeping targets, in the order of their sleep. */
  get fallenAsleep(): string[] {
    const asleep = [...this.#stages].filter(([, stage]) => stage.changes.at(-1)?.to === "asleep");
    return asleep.toSorted(([, a], [, b]) => this.#order.indexOf(a) - this.#order.indexOf(b)).map(([name]) => name);
  }

  readonly #order: Stage[] = [];

  [Symbol.dispose](): void {
    this.clock[Symbol.dispose]();
  }

  #stage(name: string, part: Part): Stage {
    const needsOf = (names: readonly string[] = []): DependencyLeases =>
      new DependencyLeases({
        resolve: () => Promise.resolve(names.map((other) => this.#dependency(stage, other))),
        onFailure: (error) => assert.fail(error),
      });
    const { group } = part;
    const leases = { dependencies: needsOf(part.dependencies), companions: needsOf(part.companions) };
    const stage: Stage = new Stage(part.policy, { ...leases, clock: this.clock, ...(group && { group }) });
    Object.assign(stage.target, { name, isPrompt: true, onStop: () => this.#order.push(stage) });
    return stage;
  }

  #dependency(stage: Stage, name: string): Dependency {
    const holder = stage.activator.asHolder;
    return {
      name,
      acquire: (signal) => this.stage(name).activator.acquire(signal, holder),
      join: (signal) => this.stage(name).activator.join(signal, holder),
      beforeHolderSleeps: () => this.stage(name).activator.beforeDependentSleeps(),
    };
  }
}

suite("a chain", () => {
  test("sleeps in order when the idle timeout after its last client expires", async () => {
    using project = new Project({ web: { dependencies: ["api"] }, api: { dependencies: ["db"] }, db: {} });
    const client = project.stage("web").connect();
    await project.clock.advance(200_000);
    assert.deepEqual(project.states, { web: "ready", api: "ready", db: "ready" });
    client.release();
    await project.clock.advance(idleTimeoutMs - 1);
    assert.deepEqual(project.states, { web: "ready", api: "ready", db: "ready" });
    await project.clock.advance(20);
    assert.deepEqual(project.states, { web: "asleep", api: "asleep", db: "asleep" });
    assert.deepEqual(project.fallenAsleep, ["web", "api", "db"]);
  });

  test("counts a longer idle timeout of a dependency from the last client of the chain", async () => {
    using project = new Project({
      web: { dependencies: ["db"] },
      db: { policy: { idleTimeoutMs: 3 * idleTimeoutMs } },
    });
    const client = project.stage("web").connect();
    await project.clock.settle();
    client.release();
    await project.clock.advance(idleTimeoutMs + 10);
    assert.deepEqual(project.states, { web: "asleep", db: "ready" });
    assert.equal(project.stage("db").activator.view.idleDeadline, 3 * idleTimeoutMs);
    await project.clock.advance(2 * idleTimeoutMs - 20);
    assert.deepEqual(project.states, { web: "asleep", db: "ready" });
    await project.clock.advance(20);
    assert.deepEqual(project.states, { web: "asleep", db: "asleep" });
  });

  test("counts the idle timeout of a dependency from its own last client", async () => {
    using project = new Project({ web: { dependencies: ["db"] }, db: {} });
    const [first, second] = [project.stage("web").connect(), project.stage("db").connect()];
    await project.clock.settle();
    first.release();
    await project.clock.advance(idleTimeoutMs / 2);
    second.release();
    await project.clock.advance(idleTimeoutMs / 2 + 10);
    assert.deepEqual(project.states, { web: "asleep", db: "ready" });
    assert.equal(project.stage("db").activator.view.lastActivity, idleTimeoutMs / 2);
    await project.clock.advance(idleTimeoutMs / 2 - 20);
    assert.deepEqual(project.states, { web: "asleep", db: "ready" });
    await project.clock.advance(20);
    assert.deepEqual(project.states, { web: "asleep", db: "asleep" });
  });

  test("respects min_uptime of a dependency", async () => {
    using project = new Project({ web: { dependencies: ["db"] }, db: { policy: { minUptimeMs: 2 * idleTimeoutMs } } });
    project.stage("web").connect((client) => client.release());
    await project.clock.advance(2 * idleTimeoutMs - 10);
    assert.deepEqual(project.states, { web: "asleep", db: "ready" });
    await project.clock.advance(20);
    assert.deepEqual(project.states, { web: "asleep", db: "asleep" });
  });

  test("stays up for its idle timeout if the client left during the start", async () => {
    using project = new Project({ web: { dependencies: ["db"] }, db: {} });
    project.stage("web").target.isPrompt = false;
    const client = project.stage("web").connect();
    await project.clock.advance(10_000);
    client.leave(new Error("the client left"));
    await project.clock.advance(10_000);
    project.stage("web").target.finishStart();
    project.stage("web").target.isPrompt = true;
    await project.clock.advance(idleTimeoutMs - 10);
    assert.deepEqual(project.states, { web: "ready", db: "ready" });
    await project.clock.advance(20);
    assert.deepEqual(project.states, { web: "asleep", db: "asleep" });
  });
});

suite("direct use", () => {
  test("is measured after the last client, also of a dependency, and keeps it awake", async () => {
    using project = new Project({ web: { dependencies: ["db"] }, db: {} });
    const measuredAtMs: number[] = [];
    const uses = ["an exec session"];
    project.stage("db").target.keptAwakeBy = () => {
      measuredAtMs.push(project.clock.nowMs);
      return Promise.resolve([...uses]);
    };
    const client = project.stage("web").connect();
    await project.clock.advance(3 * idleTimeoutMs);
    assert.deepEqual(measuredAtMs, []);
    client.release();
    await project.clock.advance(idleTimeoutMs + 20);
    assert.deepEqual(project.states, { web: "asleep", db: "ready" });
    const [first = 0, second = 0, ...more] = measuredAtMs.map((atMs) => atMs - 3 * idleTimeoutMs);
    assert.ok(first <= 1_000 && second >= idleTimeoutMs, `measured at ${measuredAtMs}`);
    assert.ok(more.every((atMs) => atMs >= idleTimeoutMs));
    uses.pop();
    await project.clock.advance(idleTimeoutMs);
    assert.deepEqual(project.states, { web: "asleep", db: "asleep" });
    assert.equal(project.clock.pending, 0);
  });

  test("does not include traffic of a dependent during its stop", async () => {
    const long = { idleTimeoutMs: 2 * idleTimeoutMs };
    for (const policy of [{}, long]) {
      using project = new Project({
        web: { dependencies: ["db"] },
        db: { policy: { ...policy, directTrafficBytes: 0 } },
      });
      let bytes = 0;
      project.stage("db").target.keptAwakeBy = async (_most, _signal, { isHeld, isTrafficKnown } = {}) => {
        if (isHeld !== true && project.states["web"] === "ready") return ["web depends on it"];
        if (isTrafficKnown === true) return [];
        await new Promise((resolve) => setTimeout(resolve, 300));
        const uses = bytes === 0 ? [] : [`${bytes} bytes`];
        bytes = 0;
        return uses;
      };
      const { target } = project.stage("web");
      target.onStop = () => setTimeout(() => (bytes = 10_000), 100);
      target.stopTakesMs = 200;
      project.stage("web").connect((client) => client.release());
      await project.clock.advance(idleTimeoutMs + 550);
      assert.deepEqual(project.states, { web: "asleep", db: policy === long ? "ready" : "asleep" });
      await project.clock.advance(idleTimeoutMs);
      assert.deepEqual(project.states, { web: "asleep", db: "asleep" });
    }
  });

  test("is found if it ended before the last dependent was put to sleep", async () => {
    using project = new Project({ web: { dependencies: ["db"] }, db: {} });
    let uses: readonly string[] = [];
    project.stage("db").target.keptAwakeBy = () => {
      const found = uses;
      uses = [];
      return Promise.resolve(found);
    };
    project.stage("web").connect((client) => client.release());
    await project.clock.advance(idleTimeoutMs / 2);
    uses = ["12 kB of direct traffic"];
    await project.clock.advance(idleTimeoutMs / 2 + 20);
    assert.deepEqual(project.states, { web: "asleep", db: "ready" });
    assert.deepEqual(project.stage("db").activator.view.keptAwakeBy, ["12 kB of direct traffic"]);
    await project.clock.advance(idleTimeoutMs);
    assert.deepEqual(project.states, { web: "asleep", db: "asleep" });
  });

  test("between members of a group keeps them awake for at most one idle timeout", async () => {
    const group = new Group("shop");
    const policy = { directTrafficBytes: 0 };
    using project = new Project({ web: { group, dependencies: ["db"] }, worker: { group }, db: { group, policy } });
    // A worker that polls the database.
    project.stage("db").target.keptAwakeBy = async (_most, _signal, { isTrafficKnown } = {}) =>
      isTrafficKnown !== true && project.states["worker"] === "ready" ? ["9 kB of direct traffic"] : [];
    project.stage("web").connect((client) => client.release());
    await project.clock.advance(idleTimeoutMs + 100);
    assert.deepEqual(project.states, { web: "asleep", worker: "asleep", db: "ready" });
    await project.clock.advance(idleTimeoutMs);
    assert.deepEqual(project.states, { web: "asleep", worker: "asleep", db: "asleep" });
  });

  test("by a session in a member keeps its group and the dependencies awake", async () => {
    for (const used of ["web", "worker", "db"]) {
      const group = new Group("shop");
      using project = new Project({ web: { group, dependencies: ["db"] }, worker: { group }, db: { group } });
      const uses = ["an exec session"];
      for (const name of ["web", "db"]) project.stage(name).target.keptAwakeBy = () => Promise.resolve([]);
      project.stage(used).target.keptAwakeBy = () => Promise.resolve([...uses]);
      project.stage("web").connect((client) => client.release());
      await project.clock.advance(5 * idleTimeoutMs);
      assert.deepEqual(project.states, { web: "ready", worker: "ready", db: "ready" }, used);
      const held = used === "web" ? "worker" : "web";
      assert.deepEqual(project.stage(held).activator.view.keptAwakeBy, [`${used}: an exec session`]);
      uses.pop();
      await project.clock.advance(2 * idleTimeoutMs + 100);
      assert.deepEqual(project.states, { web: "asleep", worker: "asleep", db: "asleep" }, used);
      assert.equal(project.clock.pending, 0);
    }
  });

  test("is not measured while a client of a dependent reconnects", async () => {
    using project = new Project({ web: { dependencies: ["db"] }, db: {} });
    let measurements = 0;
    project.stage("db").target.keptAwakeBy = async () => {
      measurements += 1;
      return [];
    };
    const first = project.stage("web").connect();
    await project.clock.settle();
    first.release();
    await project.clock.advance(500);
    const second = project.stage("web").connect();
    await project.clock.advance(3 * idleTimeoutMs);
    assert.equal(measurements, 0);
    second.release();
    await project.clock.advance(idleTimeoutMs + 20);
    // At the beginning, before web is put to sleep, and afterwards.
    assert.deepEqual([project.states, measurements], [{ web: "asleep", db: "asleep" }, 3]);
  });
});

suite("a group", () => {
  const cycle = (group: Group): Readonly<Record<string, Part>> => ({
    a: { group, dependencies: ["b"] },
    b: { dependencies: ["c"] },
    c: { dependencies: ["d"] },
    d: { group },
  });

  for (const used of ["a", "b", "c", "d"]) {
    test(`with a cycle through other targets is woken by ${used}, and sleeps in order`, async () => {
      using project = new Project(cycle(new Group("shop")));
      const client = project.stage(used).connect();
      await project.clock.advance(3 * idleTimeoutMs);
      assert.deepEqual(project.states, { a: "ready", b: "ready", c: "ready", d: "ready" });
      client.release();
      await project.clock.advance(idleTimeoutMs + 20);
      assert.deepEqual(project.states, { a: "asleep", b: "asleep", c: "asleep", d: "asleep" });
      assert.deepEqual(project.fallenAsleep, ["a", "b", "c", "d"]);
      assert.equal(project.clock.pending, 0);
    });
  }

  test("sleeps, except a member that another target needs", async () => {
    const group = new Group("shop");
    const long = { idleTimeoutMs: 3 * idleTimeoutMs };
    using project = new Project({ a: { group }, d: { group }, report: { dependencies: ["d"], policy: long } });
    const client = project.stage("report").connect();
    await project.clock.settle();
    assert.deepEqual(project.states, { a: "ready", d: "ready", report: "ready" });
    client.release();
    await project.clock.advance(idleTimeoutMs + 20);
    assert.deepEqual(project.states, { a: "asleep", d: "ready", report: "ready" });
    await project.clock.advance(2 * idleTimeoutMs);
    assert.deepEqual(project.states, { a: "asleep", d: "asleep", report: "asleep" });
  });

  test("wakes if a member of another group needs one of its members, and both groups sleep after the last client", async () => {
    const [shop, tools] = [new Group("shop"), new Group("tools")];
    using project = new Project({
      web: { group: shop },
      api: { group: shop, dependencies: ["mail"] },
      mail: { group: tools },
      queue: { group: tools, dependencies: ["web"] },
    });
    const client = project.stage("web").connect();
    await project.clock.advance(3 * idleTimeoutMs);
    assert.deepEqual(project.states, { web: "ready", api: "ready", mail: "ready", queue: "ready" });
    client.release();
    await project.clock.advance(idleTimeoutMs + 20);
    assert.deepEqual(project.states, { web: "asleep", api: "asleep", mail: "asleep", queue: "asleep" });
  });

  test("is not woken by a member that was found running, whose dependencies are held", async () => {
    const group = new Group("shop");
    using project = new Project({ a: { group }, d: { group }, report: { dependencies: ["d"] } });
    project.stage("d").target.comeUp();
    project.stage("report").target.comeUp();
    await project.clock.settle();
    assert.deepEqual(project.states, { a: "asleep", d: "ready", report: "ready" });
    assert.deepEqual(project.stage("d").activator.view.dependents, ["report"]);
    await project.clock.advance(idleTimeoutMs + 20);
    assert.deepEqual(project.states, { a: "asleep", d: "asleep", report: "asleep" });
    assert.deepEqual(project.fallenAsleep, ["report", "d"]);
  });

  test("with a cycle is closed before the drain deadline", async () => {
    using project = new Project(cycle(new Group("shop")));
    project.stage("a").connect((client) => client.release());
    await project.clock.settle();
    assert.deepEqual(project.states, { a: "ready", b: "ready", c: "ready", d: "ready" });
    const closed = ["a", "b", "c", "d"].map((name) => project.stage(name).activator.close(drain));
    await project.clock.settle();
    assert.deepEqual(project.states, { a: "asleep", b: "asleep", c: "asleep", d: "asleep" });
    assert.deepEqual(project.fallenAsleep, ["a", "b", "c", "d"]);
    await Promise.all(closed);
  });
});

suite("a companion", () => {
  const pair = { web: { companions: ["worker"] }, worker: {} };

  test("wakes with its target and sleeps after it", async () => {
    using project = new Project(pair);
    const client = project.stage("web").connect();
    await project.clock.advance(3 * idleTimeoutMs);
    assert.deepEqual(project.states, { web: "ready", worker: "ready" });
    assert.deepEqual(project.stage("worker").activator.view.dependents, ["web"]);
    client.release();
    await project.clock.advance(idleTimeoutMs - 1);
    assert.deepEqual(project.states, { web: "ready", worker: "ready" });
    await project.clock.advance(20);
    assert.deepEqual(project.states, { web: "asleep", worker: "asleep" });
    assert.deepEqual(project.fallenAsleep, ["web", "worker"]);
    assert.equal(project.clock.pending, 0);
  });

  test("does not delay its target, and its failure does not affect the target", async () => {
    using project = new Project(pair);
    const { target } = project.stage("worker");
    target.isPrompt = false;
    const client = project.stage("web").connect();
    await project.clock.settle();
    assert.ok(client.isHeld);
    assert.deepEqual(project.states, { web: "ready", worker: "starting" });
    target.failStart(new TargetError("failed", "no such image"));
    await project.clock.settle();
    target.isPrompt = true;
    assert.equal(client.cutBy, undefined);
    assert.equal(project.states["web"], "ready");

    target.finishStop();
    await project.clock.advance(2_000);
    assert.equal(project.states["worker"], "asleep", "retried without a client");
    const next = project.stage("web").connect();
    await project.clock.settle();
    assert.deepEqual(project.states, { web: "ready", worker: "ready" });
    for (const one of [client, next]) one.release();
    await project.clock.advance(idleTimeoutMs + 20);
    assert.deepEqual(project.states, { web: "asleep", worker: "asleep" });
  });

  test("is started again after a crash, and not after exit code 0", async () => {
    using project = new Project(pair);
    const client = project.stage("web").connect();
    await project.clock.settle();
    project.stage("worker").target.goDown({ code: 3 });
    await project.clock.settle();
    assert.equal(project.states["worker"], "ready");
    project.stage("worker").target.goDown({ code: 0 });
    await project.clock.advance(120_000);
    assert.equal(project.states["worker"], "asleep");
    client.release();
    await project.clock.advance(idleTimeoutMs + 20);
    assert.deepEqual(project.states, { web: "asleep", worker: "asleep" });
  });

  test("of two targets is awake while one of the targets is", async () => {
    using project = new Project({ ...pair, api: { companions: ["worker"] } });
    const [first, second] = [project.stage("web").connect(), project.stage("api").connect()];
    await project.clock.settle();
    first.release();
    await project.clock.advance(3 * idleTimeoutMs);
    assert.deepEqual(project.states, { web: "asleep", worker: "ready", api: "ready" });
    second.release();
    await project.clock.advance(idleTimeoutMs + 20);
    assert.deepEqual(project.states, { web: "asleep", worker: "asleep", api: "asleep" });
  });

  test("stays awake while min_uptime or direct use keeps its target awake", async () => {
    using project = new Project({ ...pair, web: { ...pair.web, policy: { minUptimeMs: 3 * idleTimeoutMs } } });
    const uses = ["an exec session"];
    project.stage("web").target.keptAwakeBy = () => Promise.resolve([...uses]);
    project.stage("web").connect((client) => client.release());
    await project.clock.advance(5 * idleTimeoutMs);
    assert.deepEqual(project.states, { web: "ready", worker: "ready" });
    uses.pop();
    await project.clock.advance(2 * idleTimeoutMs);
    assert.deepEqual(project.states, { web: "asleep", worker: "asleep" });
  });

  test("that depends on its target sleeps before it, when the target's idle timeout expires", async () => {
    using project = new Project({ ...pair, worker: { dependencies: ["web"] } });
    const client = project.stage("web").connect();
    await project.clock.advance(3 * idleTimeoutMs);
    assert.deepEqual(project.states, { web: "ready", worker: "ready" });
    client.release();
    await project.clock.advance(idleTimeoutMs / 2);
    const next = project.stage("web").connect();
    await project.clock.advance(3 * idleTimeoutMs);
    assert.deepEqual(project.states, { web: "ready", worker: "ready" });
    next.release();
    await project.clock.advance(idleTimeoutMs - 1);
    assert.deepEqual(project.states, { web: "ready", worker: "ready" });
    await project.clock.advance(20);
    assert.deepEqual(project.states, { web: "asleep", worker: "asleep" });
    assert.deepEqual(project.fallenAsleep, ["worker", "web"]);
    assert.equal(project.clock.pending, 0);
  });

  test("wakes when its target, a dependency, is used again without having slept", async () => {
    const long = { idleTimeoutMs: 5 * idleTimeoutMs };
    using project = new Project({
      site: { dependencies: ["web"], policy: long },
      web: { companions: ["worker"] },
      worker: { dependencies: ["web"] },
    });
    const first = project.stage("site").connect();
    await project.clock.settle();
    first.release();
    await project.clock.advance(2 * idleTimeoutMs);
    assert.deepEqual(project.states, { site: "ready", web: "ready", worker: "asleep" });
    const second = project.stage("site").connect();
    await project.clock.settle();
    assert.deepEqual(project.states, { site: "ready", web: "ready", worker: "ready" });
    second.release();
    await project.clock.advance(5 * idleTimeoutMs + 20);
    assert.deepEqual(project.states, { site: "asleep", web: "asleep", worker: "asleep" });
  });

  test("of a target that was found running is held if it is running, and not started", async () => {
    using project = new Project(pair);
    project.stage("web").target.comeUp();
    await project.clock.settle();
    assert.deepEqual(project.states, { web: "ready", worker: "asleep" });
    project.stage("worker").target.comeUp();
    await project.clock.settle();
    assert.deepEqual(project.stage("worker").activator.view.dependents, ["web"]);
    await project.clock.advance(idleTimeoutMs + 20);
    assert.deepEqual(project.states, { web: "asleep", worker: "asleep" });
  });

  test("that depends on its target is closed with it, during use as soon as the use ends", async () => {
    for (const isUsed of [false, true]) {
      using project = new Project({ ...pair, worker: { dependencies: ["web"] } });
      const client = project.stage("web").connect();
      await project.clock.settle();
      if (!isUsed) client.release();
      const closed = ["web", "worker"].map((name) => project.stage(name).activator.close(drain));
      await project.clock.settle();
      if (isUsed) assert.deepEqual(project.states, { web: "draining", worker: "draining" });
      client.release();
      await project.clock.settle();
      assert.deepEqual(project.states, { web: "asleep", worker: "asleep" });
      await Promise.all(closed);
      assert.equal(project.clock.pending, 0);
    }
  });
});

suite("any project", () => {
  const NAMES = ["a", "b", "c", "d", "e"];
  const name = fc.constantFrom(...NAMES);
  const shape = fc.record({
    // Each depends only on later targets: cycles of dependencies alone are rejected.
    dependencies: fc.array(fc.tuple(fc.nat(3), fc.nat(3)), { maxLength: 6 }),
    companions: fc.array(fc.tuple(name, name), { maxLength: 3 }),
    groups: fc.array(fc.constantFrom(undefined, "shop", "tools"), { minLength: 5, maxLength: 5 }),
  });
  const step = fc.record({
    act: fc.constantFrom("come" as const, "leave" as const, "wait" as const),
    name,
    pick: fc.nat(9),
    ms: fc.constantFrom(0, 1, 1_000, idleTimeoutMs / 2, idleTimeoutMs, 3 * idleTimeoutMs),
  });

  test("serves each client, stops no needed target, and sleeps after the idle timeout or a close", async (t) => {
    const property = fc.asyncProperty(
      shape,
      fc.array(step, { maxLength: 12 }),
      fc.boolean(),
      async (parts, steps, closes) => {
        const groups = { shop: new Group("shop"), tools: new Group("tools") };
        const needsOf = (index: number): string[] => {
          const pairs = parts.dependencies.filter(([from, by]) => from === index && from + 1 + by < NAMES.length);
          return [...new Set(pairs.map(([from, by]) => NAMES[from + 1 + by] ?? ""))];
        };
        const project = NAMES.map((one, index): [string, Part] => {
          const group = parts.groups[index];
          const companions = parts.companions.filter(([leader, other]) => leader === one && other !== one);
          const named = {
            dependencies: needsOf(index),
            companions: [...new Set(companions.map(([, other]) => other))],
          };
          return [one, { ...named, ...(group && { group: groups[group] }) }];
        });
        using all = new Project(Object.fromEntries(project));
        const isNeeded = (one: string): boolean =>
          project.some(([other, { dependencies }]) => dependencies?.includes(one) && all.states[other] === "ready");
        for (const one of NAMES) {
          const { target } = all.stage(one);
          const { onStop } = target;
          target.onStop = () => {
            assert.ok(!isNeeded(one), `${one} was stopped although another target needs it`);
            onStop();
          };
        }
        const clients: { readonly name: string; readonly client: Client }[] = [];
        for (const { act, name: one, pick, ms } of steps) {
          if (act === "come") clients.push({ name: one, client: all.stage(one).connect() });
          if (act === "leave") clients.splice(pick % (clients.length || 1), 1)[0]?.client.release();
          await all.clock.advance(ms);
          for (const { client } of clients) assert.ok(client.isHeld);
        }
        const lastMs = all.clock.nowMs;
        const closed = closes ? NAMES.map((one) => all.stage(one).activator.close(drain)) : [];
        for (const { client } of clients) client.release();
        await all.clock.advance(closes ? 100 : idleTimeoutMs + 100);
        const asleep = Object.fromEntries(NAMES.map((one) => [one, "asleep"]));
        assert.deepEqual(all.states, asleep, `${all.clock.nowMs - lastMs} ms after the last client`);
        assert.equal(all.clock.pending, 0);
        await Promise.all(closed);
      },
    );
    await fc.assert(property, randomRuns(t, 300));
  });
});
