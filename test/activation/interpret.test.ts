import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { existenceChange, type Finding, interpret } from "../../src/activation/interpret.ts";
import { type StateName, stateNames } from "../../src/activation/machine.ts";
import type { RunningStatus, TargetStatus } from "../../src/activation/target.ts";

const running: RunningStatus = { up: true, address: "10.0.0.1", incarnation: "first" };
const crash = { code: 3 };
const run = { incarnation: "fir", down: new AbortController().signal };

const statuses = {
  running,
  "running at another address": { ...running, address: "10.0.0.2" },
  "running at another port": { ...running, port: 8080 },
  "running without a route": { ...running, address: "", noRoute: new Error("no network") },
  restarted: { ...running, incarnation: "second" },
  renamed: { ...running, incarnation: "second", renamed: run },
  "renamed before": { ...running, renamed: { ...run, incarnation: "zeroth" } },
  "renamed and replaced by a container that is down": { up: false, renamed: run },
  paused: { up: false, pausedIncarnation: "first" },
  "restarted and paused": { up: false, pausedIncarnation: "second" },
  down: { up: false },
  crashed: { up: false, exit: crash },
  missing: { up: false, missing: "no such container" },
} as const satisfies Record<string, TargetStatus>;
type StatusName = keyof typeof statuses;

const nothing: Finding = { kind: "nothing" };
const found: Finding = { kind: "found" };
const foundPaused: Finding = { kind: "found-paused" };
const paused: Finding = { kind: "paused" };
const restarted: Finding = { kind: "exited", exit: {} };
const exited = (exit = {}, missing?: string): Finding => ({ kind: "exited", exit, missing });
const still = (name: StatusName, hasMoved: boolean): Finding => ({
  kind: "running",
  status: statuses[name] as RunningStatus,
  hasMoved,
});

const asleep: Record<StatusName, Finding> = {
  running: found,
  "running at another address": found,
  "running at another port": found,
  "running without a route": nothing,
  restarted: found,
  renamed: found,
  "renamed before": found,
  "renamed and replaced by a container that is down": nothing,
  paused: foundPaused,
  "restarted and paused": foundPaused,
  down: nothing,
  crashed: nothing,
  missing: nothing,
};

const awake: Record<StatusName, Finding> = {
  running: still("running", false),
  "running at another address": still("running at another address", true),
  "running at another port": still("running at another port", true),
  "running without a route": still("running without a route", true),
  restarted,
  renamed: { kind: "renamed", run },
  "renamed before": still("renamed before", false),
  "renamed and replaced by a container that is down": { kind: "renamed", run },
  paused,
  "restarted and paused": exited(),
  down: exited(),
  crashed: exited(crash),
  missing: exited({}, "no such container"),
};

/** In these states the start attempt or the stop inspects the target itself. */
const busy = Object.fromEntries(Object.keys(statuses).map((name) => [name, nothing])) as Record<StatusName, Finding>;

const table: Record<StateName, Record<StatusName, Finding>> = {
  asleep,
  paused: {
    ...asleep,
    paused: nothing,
    "restarted and paused": nothing,
    down: exited(),
    "renamed and replaced by a container that is down": exited(),
    crashed: exited(crash),
    missing: exited({}, "no such container"),
  },
  starting: busy,
  ready: awake,
  draining: awake,
  stopping: busy,
};

suite("interpret()", () => {
  for (const state of stateNames) {
    const known = { state, running: state === "ready" || state === "draining" ? running : undefined };
    for (const [name, finding] of Object.entries(table[state])) {
      test(`returns "${finding.kind}" for a target that is ${name}, in state ${state}`, () => {
        assert.deepEqual(interpret(statuses[name as StatusName], known), finding);
      });
    }
  }
});

suite("existenceChange()", () => {
  const missing = "no such container";
  test("returns undefined while the target exists or is missing", () => {
    assert.equal(existenceChange(undefined, { up: false }), undefined);
    assert.equal(existenceChange(undefined, running), undefined);
    assert.equal(existenceChange(missing, { up: false, missing }), undefined);
  });

  test("returns whether the target was created or removed", () => {
    assert.equal(existenceChange(missing, { up: false }), "created");
    assert.equal(existenceChange(missing, running), "created");
    assert.equal(existenceChange(undefined, { up: false, missing }), "removed");
  });
});
