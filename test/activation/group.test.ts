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

/** Three activators of one group, in the same virtual time. Their targets start and stop at once. */
class Troupe implements Disposable {
  readonly clock: VirtualClock = new VirtualClock();
  readonly group: Group = new Group("shop");
  readonly stages: readonly Stage[] = [this.#stage(), this.#stage(), this.#stage()];

  get states(): string[] {
    return this.stages.map(({ state }) => state);
  }

  /** The number of leases of each member, without those of clients. */
  get groupClaims(): number[] {
    return this.stages.map(({ activator: { view } }, index) => view.held + view.waiting - (this.clients[index] ?? 0));
  }

  /** The number of clients of each member, set by the test. */
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
  test("is awake while a member is in use, and then each member sleeps by its own policy", async () => {
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

  test("reports the client that woke one member for all members", async () => {
    using troupe = new Troupe();
    const client = { client: "10.0.0.7:5512", service: "ftp" };
    void troupe.stage(1).activator.acquire(new AbortController().signal, CLIENT, client);
    await troupe.settle();
    const causes = troupe.stages.map(({ activator }) => activator.view.cause);
    assert.deepEqual(causes, all("woken by 10.0.0.7:5512 through ftp"));
  });

  test("counts the users of several members", async () => {
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

  test("does not keep itself awake by its own leases", async () => {
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

  test("is released by a client that leaves while it waits", async () => {
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

  test("is released by a client that leaves at the moment of the grant", async () => {
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

  test("wakes a member that is added during use, and releases one that is deleted", async () => {
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
  test("does not affect the others, and is retried for the next client", async () => {
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
    assert.equal(target.starts.length, 1, "retried without a client");
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

  test("rejects its own client, which releases the group", async () => {
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

  test("in its cooldown counts no user for a rejected lease", async () => {
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

suite("a member of a group that goes down during its leases", () => {
  test("is acquired again for the next client of any member", async () => {
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

  test("cuts its client, which releases the group in its callback: no lease is left", async () => {
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

  test("keeps the group awake if its client acquires a lease again at once", async () => {
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

  test("while its own dependencies are acquired is acquired again", async () => {
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
    // Another process started it, so its dependencies are not held yet.
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
    assert.equal(member.state, "ready", "a lease that was cut before its delivery counts as held");
    first.release();
    second.release();
    await clock.advance(policy.idleTimeoutMs + 1);
    assert.deepEqual([member.state, other.state, dependency.held], ["asleep", "asleep", 0]);
  });
});
