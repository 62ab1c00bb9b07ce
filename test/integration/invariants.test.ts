/** The checker of invariants: it finds each violation, and accepts a correct run. */
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

  /** The first violation, or all if there are several. */
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

test("a correct run has no violation", () => {
  assert.equal(new Story().verdict, "");
});

test("I1: a connection without a report is found", () => {
  const story = new Story();
  story.clients = 2;
  assert.match(story.verdict, /^I1: 2 clients connected, 1 were reported$/);
});

test("I1: a connection with two reports is found", () => {
  const story = new Story();
  story.clients = 2;
  story.counted = new Map([["relayed", 2]]);
  story.record.connections.push(connection(1, 1_200, 1_300));
  assert.match(story.verdict, /^I1: a connection was reported twice$/);
});

test("I1: different metrics are found", () => {
  const story = new Story();
  story.counted = new Map([["relayed", 0]]);
  assert.match(story.verdict, /^I1: metrics count 0 relayed, 1 were reported$/);
});

test("I3: a start without an activation is found", () => {
  const story = new Story();
  story.events.push(event("start", 4_000));
  assert.match(story.verdict, /^I3: 1 starts worked, the engine saw 2/);
});

test("I3: two starts for one activation are found", () => {
  const story = new Story();
  story.events.push(event("start", 1_070));
  story.record.calls.push({ operation: "start", code: "2xx", durationMs: 10, at: 1_070 });
  assert.match(story.verdict, /^I3: 2 starts for 1 activations$/);
});

test("I3: a start by the test itself is ignored", () => {
  const story = new Story();
  story.events.push(event("start", 4_000));
  story.acts.push({ verb: "start", id: "1", from: 3_990, to: 4_010 });
  assert.equal(story.verdict, "");
});

test("I4: a sleep during a connection is found", () => {
  const story = new Story();
  story.clients = 2;
  story.counted = new Map([["relayed", 2]]);
  story.record.connections.push(connection(2, 1_200, 3_500));
  assert.match(story.verdict, /^I4: container ftp was put to sleep while connection 2 was open$/);
});

test("I4: a client that connects during the stop is accepted", () => {
  const story = new Story();
  story.clients = 2;
  story.counted = new Map([["relayed", 2]]);
  story.record.connections.push(connection(2, 3_001, 3_500));
  assert.equal(story.verdict, "");
});

test("I4: a stop in the state ready is found", () => {
  const story = new Story();
  story.events.push(event("kill", 1_500));
  assert.match(story.verdict, /^I4: container ftp got a kill while it was ready$/);
});

test("I8: a stop of a container that is not a target is found", () => {
  const story = new Story();
  story.events.push(event("kill", 3_020, "2"));
  assert.match(story.verdict, /^I8: name of 2 is not a target, and got a kill$/);
});

test("I7: a wrong state is found", () => {
  assert.equal(contradiction("t", "ready", true), undefined);
  assert.equal(contradiction("t", "asleep", false), undefined);
  assert.match(contradiction("t", "ready", false) ?? "", /ready but not running/);
  assert.match(contradiction("t", "asleep", true) ?? "", /asleep but running/);
  assert.match(contradiction("t", "starting", true) ?? "", /still starting/);
});
