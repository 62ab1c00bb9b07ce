import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { ContainerFacts } from "../../src/docker/container-facts.ts";
import type { ContainerEvent } from "../../src/docker/events.ts";
import { KnownFacts, mayHaveChanged } from "../../src/targets/known-facts.ts";

const base: ContainerFacts = {
  id: "a".repeat(64),
  name: "web",
  image: "web",
  pid: 0,
  isRunning: false,
  isPaused: false,
  isRestarting: false,
  createdAt: "",
  startedAt: "",
  finishedAt: "",
  exitCode: 0,
  oomKilled: false,
  networkMode: "default",
  networks: [],
  publishedPorts: [],
  bindings: [],
  links: [],
  mounts: [],
  execIds: [],
  hasHealthcheck: false,
  isAutoRemoved: false,
  hasTty: false,
  restartPolicy: "no",
  dependsOn: [],
};
const states = {
  down: base,
  restarting: { ...base, isRestarting: true },
  running: { ...base, isRunning: true },
  paused: { ...base, isRunning: true, isPaused: true },
};

function event(action: string, id: string = base.id): ContainerEvent {
  return { action, id, attributes: {} };
}

suite("mayHaveChanged()", () => {
  const changing: Readonly<Record<string, readonly (keyof typeof states)[]>> = {
    kill: [],
    start: ["down", "restarting"],
    die: ["running", "paused"],
    connect: ["running", "paused"],
    disconnect: ["running", "paused"],
    pause: ["down", "restarting", "running"],
    unpause: ["paused"],
    oom: ["down", "restarting", "running", "paused"],
    create: ["down", "restarting", "running", "paused"],
    destroy: ["down", "restarting", "running", "paused"],
    rename: ["down", "restarting", "running", "paused"],
    health_status: ["down", "restarting", "running", "paused"],
  };
  for (const [action, expected] of Object.entries(changing)) {
    test(`${action} may change a container that is ${expected.join(", ") || "in no state"}`, () => {
      const found = Object.entries(states).filter(([, facts]) => mayHaveChanged(event(action), facts));
      assert.deepEqual(
        found.map(([state]) => state),
        expected,
      );
    });
  }

  test("is true for each event of another container", () => {
    assert.ok(mayHaveChanged(event("start", "b".repeat(64)), states.running));
  });
});

suite("KnownFacts", () => {
  /** Facts that are inspected by the test. */
  class Stage {
    readonly events = { isFollowed: true };
    readonly known: KnownFacts = new KnownFacts(() => this.events);
    changes = 0;

    watch(): Disposable {
      return this.known.watch(() => {
        this.changes += 1;
      });
    }

    /** Begins an inspection. @returns answers it */
    inspect(): PromiseWithResolvers<ContainerFacts | undefined> & { readonly done: Promise<unknown> } {
      const answer = Promise.withResolvers<ContainerFacts | undefined>();
      const done = this.known.inspect(
        () => answer.promise,
        (facts) => facts,
      );
      return { ...answer, done };
    }

    async inspected(facts: ContainerFacts | undefined): Promise<void> {
      const { resolve, done } = this.inspect();
      resolve(facts);
      await done;
    }
  }

  test("are current after an inspection, until an event contradicts them", async () => {
    const stage = new Stage();
    using _watch = stage.watch();
    await stage.inspected(states.down);
    stage.known.onEvent(event("die"));
    assert.equal(stage.known.current, states.down);
    assert.equal(stage.changes, 0);
    stage.known.onEvent(event("start"));
    assert.equal(stage.known.current, undefined);
    assert.equal(stage.changes, 1);
  });

  test("are outdated if events may have been lost, and while events are not followed", async () => {
    const stage = new Stage();
    using _watch = stage.watch();
    await stage.inspected(states.down);
    stage.events.isFollowed = false;
    assert.equal(stage.known.current, undefined);
    stage.events.isFollowed = true;
    stage.known.onEvent(undefined);
    assert.equal(stage.known.current, undefined);
    assert.equal(stage.changes, 1);
  });

  test("are unknown without a watch, and at its beginning", async () => {
    const stage = new Stage();
    await stage.inspected(states.down);
    assert.equal(stage.known.current, undefined);
    using _watch = stage.watch();
    assert.equal(stage.known.current, undefined);
  });

  test("report an event during an inspection only if its result contradicts the event", async () => {
    const stage = new Stage();
    using _watch = stage.watch();
    stage.known.update(states.running);
    const agreeing = stage.inspect();
    stage.known.onEvent(event("start"));
    agreeing.resolve(states.running);
    await agreeing.done;
    assert.equal(stage.changes, 0);
    assert.equal(stage.known.current, states.running);
    const older = stage.inspect();
    stage.known.update(states.down);
    stage.known.onEvent(event("die"));
    assert.equal(stage.changes, 0);
    older.resolve(states.running);
    await older.done;
    assert.equal(stage.changes, 1);
    assert.equal(stage.known.current, undefined);
  });

  test("report an event at once that contradicts them, also during an inspection", async () => {
    const stage = new Stage();
    using _watch = stage.watch();
    await stage.inspected(states.running);
    const { resolve, done } = stage.inspect();
    stage.known.onEvent(event("die"));
    assert.equal(stage.changes, 1);
    resolve(states.down);
    await done;
    assert.equal(stage.changes, 1);
    assert.equal(stage.known.current, states.down);
  });

  test("agree with the event of a call whose answer is known", async () => {
    const stage = new Stage();
    using _watch = stage.watch();
    stage.known.update(states.running);
    stage.known.onEvent(event("start"));
    stage.known.update(states.paused);
    stage.known.onEvent(event("pause"));
    assert.equal(stage.changes, 0);
    assert.equal(stage.known.current, states.paused);
  });

  test("are not replaced by an answer that reports what an inspection has reported", async () => {
    const stage = new Stage();
    using _watch = stage.watch();
    await stage.inspected(states.running);
    stage.known.update({ ...states.running, startedAt: "before" });
    assert.equal(stage.known.current, states.running);
  });

  test("report an event during an inspection that fails", async () => {
    const stage = new Stage();
    using _watch = stage.watch();
    await stage.inspected(states.down);
    const { reject, done } = stage.inspect();
    stage.known.onEvent(event("start"));
    reject(new Error("no answer"));
    await assert.rejects(done);
    assert.ok(stage.changes > 0);
    assert.equal(stage.known.current, undefined);
  });

  test("report each event of a container that was not found", async () => {
    const stage = new Stage();
    using _watch = stage.watch();
    await stage.inspected(undefined);
    stage.known.onEvent(event("die"));
    assert.equal(stage.changes, 1);
  });
});
