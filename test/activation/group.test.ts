import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { DependencyLeases } from "../../src/activation/dependency-leases.ts";
import { Group } from "../../src/activation/group.ts";
import { CLIENT } from "../../src/activation/lease-set.ts";
import { TargetError } from "../../src/errors.ts";
import { FakeDependency } from "../support/activation/fake-dependency.ts";
import { policy, Stage } from "../support/activation/stage.ts";
import { VirtualClock } from "../support/activation/virtual-clock.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const clientLeft = new Error("the client left");

/** Three activators of one group, in one time. Their targets start and stop at once. */
class Troupe implements Disposable {
  readonly clock: VirtualClock = new VirtualClock();
  readonly group: Group = new Group("shop");
  readonly stages: readonly Stage[] = [this.#stage(), this.#stage(), this.#stage()];

  get states(): string[] {
    return this.stages.map(({ state }) => state);
  }

  /** How many claims each has that are no client's. */
  get groupClaims(): number[] {
    return this.stages.map(({ activator: { view } }, index) => view.held + view.waiting - (this.clients[index] ?? 0));
  }

  /** How many clients each stage has, as the test tells. */
  clients: number[] = [0, 0, 0];

  stage(index: number): Stage {
    const stage = this.stages[index];
    assert.ok(stage);
    return stage;
  }

  settle(): Promise<void> {
    return this.clock.settle();
  }

  [Symbol.dispose](): void {
    this.clock[Symbol.dispose]();
  }

  #stage(): Stage {
    const stage = new Stage({}, { group: this.group, clock: this.clock });
    stage.target.isPrompt = true;
    stage.activator.open();
    this.group.add(stage.activator);
    return stage;
  }
}

const all = (state: string): string[] => [state, state, state];

suite("a group", () => {
  test("is awake while anybody claims one of it, and each sleeps by its own policy after that", async () => {
    using troupe = new Troupe();
    const client = troupe.stage(1).connect();
    await troupe.settle();
    assert.deepEqual(troupe.states, all("ready"));
    await troupe.clock.advance(policy.idleTimeoutMs * 5);
    assert.deepEqual(troupe.states, all("ready"));

    client.release();
    await troupe.clock.advance(policy.idleTimeoutMs - 1);
    assert.deepEqual(troupe.states, all("ready"));
    await troupe.clock.advance(2);
    assert.deepEqual(troupe.states, all("asleep"));
  });

  test("passes the client that woke one member on to the reports of all", async () => {
    using troupe = new Troupe();
    const client = { client: "10.0.0.7:5512", service: "ftp" };
    void troupe.stage(1).activator.acquire(new AbortController().signal, CLIENT, client);
    await troupe.settle();
    const causes = troupe.stages.map(({ activator }) => activator.view.cause);
    assert.deepEqual(causes, all("woken by 10.0.0.7:5512 through ftp"));
  });

  test("counts its users: many of one, and some of others", async () => {
    using troupe = new Troupe();
    const leases = [0, 0, 1, 2, 1].map((index) => troupe.stage(index).connect());
    await troupe.settle();
    assert.ok(leases.every((client) => client.isHeld));
    troupe.clients = [2, 2, 1];
    assert.deepEqual(troupe.groupClaims, [1, 1, 1]);
    for (const client of leases.slice(1)) client.release();
    await troupe.clock.advance(policy.idleTimeoutMs * 2);
    assert.deepEqual(troupe.states, all("ready"));
    leases[0]?.release();
    await troupe.settle();
    troupe.clients = [0, 0, 0];
    assert.deepEqual(troupe.groupClaims, [0, 0, 0]);
    await troupe.clock.advance(policy.idleTimeoutMs + 1);
    assert.deepEqual(troupe.states, all("asleep"));
    assert.equal(troupe.clock.pending, 0);
  });

  test("does not keep itself awake by its own claims", async () => {
    using troupe = new Troupe();
    const client = troupe.stage(0).connect();
    await troupe.settle();
    client.release();
    await troupe.clock.advance(policy.idleTimeoutMs * 3);
    assert.deepEqual(troupe.states, all("asleep"));
    assert.deepEqual(
      troupe.stages.map(({ target }) => target.starts.length),
      [1, 1, 1],
    );
  });

  test("a client who leaves while it waits leaves the group as well", async () => {
    using troupe = new Troupe();
    for (const { target } of troupe.stages) target.isPrompt = false;
    const client = troupe.stage(0).connect();
    await troupe.settle();
    assert.deepEqual(troupe.states, all("starting"));
    client.leave(clientLeft);
    await troupe.settle();
    assert.deepEqual(troupe.groupClaims, [0, 0, 0]);
    for (const { target } of troupe.stages) target.finishStart();
    await troupe.settle();
    assert.deepEqual(troupe.groupClaims, [0, 0, 0]);
    for (const { target } of troupe.stages) target.isPrompt = true;
    await troupe.clock.advance(policy.idleTimeoutMs + 1);
    assert.deepEqual(troupe.states, all("asleep"));
  });

  test("a client who leaves in the very moment of the grant leaves no claim behind", async () => {
    using troupe = new Troupe();
    troupe.stage(2).target.isPrompt = false;
    const client = troupe.stage(0).connect();
    await troupe.settle();
    assert.deepEqual(troupe.states, ["ready", "ready", "starting"]);
    troupe.stage(2).target.finishStart();
    client.release();
    await troupe.settle();
    assert.deepEqual(troupe.groupClaims, [0, 0, 0]);
  });

  test("a member that comes while it is in use is woken; one that goes is let go", async () => {
    using troupe = new Troupe();
    const client = troupe.stage(0).connect();
    await troupe.settle();
    const late = new Stage({}, { group: troupe.group, clock: troupe.clock });
    late.target.isPrompt = true;
    late.activator.open();
    troupe.group.add(late.activator);
    await troupe.settle();
    assert.equal(late.state, "ready");

    troupe.group.delete(late.activator);
    await troupe.clock.advance(policy.idleTimeoutMs + 1);
    assert.equal(late.state, "asleep");
    assert.deepEqual(troupe.states, all("ready"));
    client.release();
    await troupe.clock.advance(policy.idleTimeoutMs + 1);
    assert.deepEqual(troupe.states, all("asleep"));
  });
});

suite("a member of a group that fails", () => {
  test("fails alone, and is tried again for the next claim", async () => {
    using troupe = new Troupe();
    const { target } = troupe.stage(2);
    target.isPrompt = false;
    const first = troupe.stage(0).connect();
    await troupe.settle();
    target.failStart(new TargetError("failed", "no such image"));
    await troupe.settle();
    target.finishStop();
    await troupe.settle();
    assert.deepEqual(troupe.states, ["ready", "ready", "asleep"]);
    assert.ok(first.isHeld);

    // Its cooldown is over.
    await troupe.clock.advance(2_000);
    assert.equal(target.starts.length, 1, "tried again for nobody");
    const second = troupe.stage(1).connect();
    await troupe.settle();
    target.finishStart();
    await troupe.settle();
    assert.deepEqual(troupe.states, all("ready"));
    target.isPrompt = true;
    first.release();
    second.release();
    await troupe.clock.advance(policy.idleTimeoutMs + 1);
    assert.deepEqual(troupe.states, all("asleep"));
  });

  test("and is the one that is claimed: the claim fails, and the group is left", async () => {
    using troupe = new Troupe();
    const { target } = troupe.stage(0);
    target.isPrompt = false;
    const client = troupe.stage(0).connect();
    await troupe.settle();
    target.failStart(new TargetError("failed", "no such image"));
    await troupe.settle();
    assert.ok(client.error instanceof Error);
    assert.deepEqual(troupe.groupClaims, [0, 0, 0]);
    target.finishStop();
    await troupe.clock.advance(policy.idleTimeoutMs + 1);
    assert.deepEqual(troupe.states, all("asleep"));
  });

  test("in its cooldown counts no user for a claim that it refuses", async () => {
    using troupe = new Troupe();
    const { target } = troupe.stage(0);
    target.isPrompt = false;
    troupe.stage(0).connect();
    await troupe.settle();
    target.failStart(new TargetError("failed", "no such image"));
    await troupe.settle();
    target.finishStop();
    await troupe.settle();
    const refused = troupe.stage(0).connect();
    await troupe.settle();
    assert.ok(refused.error instanceof Error);
    assert.deepEqual(troupe.groupClaims, [0, 0, 0]);
    await troupe.clock.advance(policy.idleTimeoutMs + 1);
    assert.deepEqual(troupe.states, all("asleep"));
  });
});

suite("a member of a group that goes down under its claims", () => {
  test("is claimed again with the next claim of any of them", async () => {
    using troupe = new Troupe();
    const first = troupe.stage(0).connect();
    await troupe.settle();
    troupe.stage(2).target.goDown({ code: 3 });
    await troupe.settle();
    assert.deepEqual(troupe.states, ["ready", "ready", "asleep"]);
    const second = troupe.stage(1).connect();
    await troupe.settle();
    assert.deepEqual(troupe.states, all("ready"));
    first.release();
    second.release();
    await troupe.clock.advance(policy.idleTimeoutMs + 1);
    assert.deepEqual(troupe.states, all("asleep"));
  });

  test("cuts its client, who leaves the group in the middle of that: nobody is left with a claim", async () => {
    using troupe = new Troupe();
    const client = troupe.stage(0).connect();
    await troupe.settle();
    troupe.stage(0).target.goDown({ code: 3 });
    await troupe.settle();
    assert.ok(client.cutBy instanceof Error);
    client.release();
    await troupe.settle();
    assert.deepEqual(troupe.groupClaims, [0, 0, 0]);
    await troupe.clock.advance(policy.idleTimeoutMs + 1);
    assert.deepEqual(troupe.states, all("asleep"));
  });

  test("and whose client claims again at once: the group stays awake without a gap", async () => {
    using troupe = new Troupe();
    const first = troupe.stage(0).connect();
    await troupe.settle();
    let second: ReturnType<Stage["connect"]> | undefined;
    first.lease?.signal.addEventListener("abort", () => {
      second = troupe.stage(0).connect();
    });
    troupe.stage(0).target.goDown({ code: 3 });
    await troupe.settle();
    assert.ok(second?.isHeld);
    await troupe.clock.advance(policy.idleTimeoutMs * 2);
    assert.deepEqual(troupe.states, all("ready"));
    troupe.clients = [1, 0, 0];
    assert.deepEqual(troupe.groupClaims, [1, 1, 1]);
    second.release();
    await troupe.clock.advance(policy.idleTimeoutMs + 1);
    assert.deepEqual(troupe.states, all("asleep"));
  });

  test("while it gets what it needs itself is claimed again all the same", async () => {
    using clock = new VirtualClock();
    const group = new Group("shop");
    const dependency = new FakeDependency("db");
    const dependencies = new DependencyLeases({ resolve: async () => [dependency], onFailure: () => {} });
    const [member, other] = [new Stage({}, { group, clock, dependencies }), new Stage({}, { group, clock })];
    for (const { target, activator } of [member, other]) {
      target.isPrompt = true;
      activator.open();
      group.add(activator);
    }
    // Somebody else started it, so that nothing was claimed for it yet.
    member.target.comeUp();
    await clock.settle();
    assert.equal(member.state, "ready");
    const first = other.connect();
    await clock.settle();
    assert.equal(dependency.leases.length, 1);
    member.target.goDown({ code: 3 });
    await clock.settle();
    assert.equal(member.state, "asleep");

    const second = other.connect();
    await clock.settle();
    dependency.leases.at(-1)?.grant();
    await clock.settle();
    assert.equal(member.state, "ready", "a claim that was cut on its way counts as held");
    first.release();
    second.release();
    await clock.advance(policy.idleTimeoutMs + 1);
    assert.deepEqual([member.state, other.state, dependency.held], ["asleep", "asleep", 0]);
  });
});
