/** The checker itself: each breach is found, and a run without one is not complained about. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { EventName, StateName } from "../../src/activation/machine.ts";
import type { ActivationReport } from "../../src/activation/reports.ts";
import type { ConnectionReport } from "../../src/proxy/reports.ts";
import {
  contradiction,
  type Evidence,
  type Journal,
  Recorder,
  type Timed,
  violations,
} from "../support/activation/invariants.ts";
import type { EngineEvent } from "../support/engine/containers.ts";

const TARGET = "container ftp";
const services = ["ftp"];

/** One wake at 1000, a client from 990 to 2000, and a sleep from 3000 to 3100. */
class Story {
  readonly record: Recorder = new Recorder();
  readonly events: EngineEvent[] = [event("start", 1_050), event("kill", 3_010), event("die", 3_050)];
  readonly acts: Journal["acts"][number][] = [];
  clients = 1;
  counted: ReadonlyMap<string, number> = new Map([["relayed", 1]]);

  constructor() {
    this.moves("starting", "acquire", 1_000);
    this.moves("ready", "started", 1_100);
    this.moves("stopping", "idle", 3_000);
    this.moves("asleep", "stopped", 3_100);
    this.record.calls.push({ operation: "start", code: "2xx", durationMs: 50, at: 1_050 });
    const activation: ActivationReport = {
      target: TARGET,
      services,
      outcome: "ready",
      adopted: false,
      durationMs: 100,
    };
    this.record.activations.push({ ...activation, at: 1_100 });
    this.record.connections.push(connection(1, 990, 2_000));
  }

  moves(to: StateName, cause: EventName, at: number): void {
    this.record.states.push({ target: TARGET, services, from: "asleep", to, event: cause, at });
  }

  /** The first violation, or all of them when there are several. */
  get verdict(): string {
    const { record, clients, counted, events, acts } = this;
    const targets = new Map([["1", TARGET]]);
    const evidence: Evidence = { record, clients, counted, targets, journal: { events, acts } };
    return violations(evidence).join("; ");
  }
}

function event(action: string, at: number, id = "1"): EngineEvent {
  return { action, id, at, heardAt: at, name: `name of ${id}` };
}

function connection(id: number, from: number, to: number): Timed<ConnectionReport> {
  const addresses = { client: "c", listener: "f", bytesIn: 0, bytesOut: 0 };
  return { ...addresses, id, service: "ftp", outcome: "relayed", start: "cold", durationMs: to - from, at: to };
}

test("a run in which all is well", () => {
  assert.equal(new Story().verdict, "");
});

test("I1: a connection that is not reported", () => {
  const story = new Story();
  story.clients = 2;
  assert.match(story.verdict, /^I1: 2 clients connected, 1 were reported$/);
});

test("I1: a connection that is reported twice", () => {
  const story = new Story();
  story.clients = 2;
  story.counted = new Map([["relayed", 2]]);
  story.record.connections.push(connection(1, 1_200, 1_300));
  assert.match(story.verdict, /^I1: a connection was reported twice$/);
});

test("I1: metrics that count otherwise", () => {
  const story = new Story();
  story.counted = new Map([["relayed", 0]]);
  assert.match(story.verdict, /^I1: metrics count 0 relayed, 1 were reported$/);
});

test("I3: a start that nobody asked for", () => {
  const story = new Story();
  story.events.push(event("start", 4_000));
  assert.match(story.verdict, /^I3: 1 starts worked, the engine saw 2/);
});

test("I3: two starts for one activation", () => {
  const story = new Story();
  story.events.push(event("start", 1_070));
  story.record.calls.push({ operation: "start", code: "2xx", durationMs: 10, at: 1_070 });
  assert.match(story.verdict, /^I3: 2 starts for 1 activations$/);
});

test("I3: a start of the test itself is none of wakeport's", () => {
  const story = new Story();
  story.events.push(event("start", 4_000));
  story.acts.push({ verb: "start", id: "1", from: 3_990, to: 4_010 });
  assert.equal(story.verdict, "");
});

test("I4: sleep while a connection is open", () => {
  const story = new Story();
  story.clients = 2;
  story.counted = new Map([["relayed", 2]]);
  story.record.connections.push(connection(2, 1_200, 3_500));
  assert.match(story.verdict, /^I4: container ftp went to sleep while connection 2 was open$/);
});

test("I4: who comes during the stop is no breach", () => {
  const story = new Story();
  story.clients = 2;
  story.counted = new Map([["relayed", 2]]);
  story.record.connections.push(connection(2, 3_001, 3_500));
  assert.equal(story.verdict, "");
});

test("I4: a stop while wakeport says that the target is ready", () => {
  const story = new Story();
  story.events.push(event("kill", 1_500));
  assert.match(story.verdict, /^I4: container ftp got a kill while it was ready$/);
});

test("I8: a stop of something that is no target", () => {
  const story = new Story();
  story.events.push(event("kill", 3_020, "2"));
  assert.match(story.verdict, /^I8: name of 2 is no target, and got a kill$/);
});

test("I7: what is said and what is true", () => {
  assert.equal(contradiction("t", "ready", true), undefined);
  assert.equal(contradiction("t", "asleep", false), undefined);
  assert.match(contradiction("t", "ready", false) ?? "", /does not run/);
  assert.match(contradiction("t", "asleep", true) ?? "", /runs/);
  assert.match(contradiction("t", "starting", true) ?? "", /still starting/);
});
