/**
 * What must hold after every test of wakeport on an engine, whatever the test was about. A recorder keeps all that
 * wakeport reports; the engine's journal tells the other side of the story; `violations` compares the two.
 */

import { readdirSync, readlinkSync } from "node:fs";
import type { StateName } from "../../../src/activation/machine.ts";
import type { ActivationReport, KeptAwakeReport, SleepReport, StateChange } from "../../../src/activation/reports.ts";
import type { ServiceStatus } from "../../../src/admin/api.ts";
import type { EngineCall, PullReport } from "../../../src/docker/reports.ts";
import { PeekError } from "../../../src/net/peek.ts";
import type { ConnectionReport } from "../../../src/proxy/reports.ts";
import { type Observer, observer } from "../../../src/telemetry/observer.ts";
import { type Act, type EngineEvent, now, type Verb } from "../engine/containers.ts";
import { portReservations } from "../free-port.ts";

/** A report, and when it came, as Unix time in milliseconds. */
export type Timed<T> = T & { readonly at: number };

/** Remembers everything that a wakeport reports. */
export class Recorder {
  readonly states: Timed<StateChange>[] = [];
  readonly activations: Timed<ActivationReport>[] = [];
  readonly sleeps: Timed<SleepReport>[] = [];
  readonly keptAwake: Timed<KeptAwakeReport>[] = [];
  readonly stopFailures: Timed<{ readonly target: string; readonly error: Error }>[] = [];
  readonly connections: Timed<ConnectionReport>[] = [];
  readonly calls: Timed<EngineCall>[] = [];
  readonly warnings: Timed<{ readonly event: string; readonly message: string }>[] = [];
  readonly pulls: Timed<PullReport>[] = [];
  readonly engine: Timed<{ readonly isUp: boolean; readonly error?: Error }>[] = [];

  readonly observer: Observer = observer({
    state: (change) => this.states.push(timed(change)),
    activation: (report) => this.activations.push(timed(report)),
    sleep: (report) => this.sleeps.push(timed(report)),
    keptAwake: (report) => this.keptAwake.push(timed(report)),
    stopFailed: ({ target, error }) => this.stopFailures.push(timed({ target, error })),
    connection: (report) => this.connections.push(timed(report)),
    engineCall: (call) => this.calls.push(timed(call)),
    pull: (report) => this.pulls.push(timed(report)),
    engineUp: () => this.engine.push(timed({ isUp: true })),
    warning: (event, message) => this.warnings.push(timed({ event, message })),
    engineDown: (error) => this.engine.push(timed({ isUp: false, error })),
  });
}

/** All that is known about one wakeport after a test. */
export interface Evidence {
  readonly record: Recorder;
  /** How many connections its clients opened. */
  readonly clients: number;
  /** Connections by outcome, as its metrics count them. */
  readonly counted: ReadonlyMap<string, number>;
  /** The containers it may start and stop: id, and the target's name in reports. */
  readonly targets: ReadonlyMap<string, string>;
  /** Absent when the engine itself was away at times. */
  readonly journal?: Journal;
}

/** The other side of the story. */
export interface Journal {
  /** What the engine says happened to the containers of the test, targets and others. */
  readonly events: readonly EngineEvent[];
  /** What the test itself did to them. */
  readonly acts: readonly Act[];
  /** Containers that the engine starts by itself, by their restart policy. */
  readonly selfStarting?: ReadonlySet<string>;
}

/** Everything that does not hold, in words; empty when all is well. The numbers are those of the project's invariants. */
export function violations(evidence: Evidence): string[] {
  const { journal } = evidence;
  const told = [...unaccounted(evidence), ...sleptUnderClients(evidence)];
  if (journal === undefined) return told;
  return [
    ...told,
    ...wrongStarts(evidence, journal),
    ...strangeStops(evidence, journal),
    ...foreignStops(evidence, journal),
  ];
}

/** I1: each accepted connection has exactly one outcome, and the metrics say the same. */
function unaccounted({ record, clients, counted }: Evidence): string[] {
  const ids = record.connections.map(({ id }) => id);
  const found: string[] = [];
  if (new Set(ids).size !== ids.length) found.push("I1: a connection was reported twice");
  if (ids.length !== clients) found.push(`I1: ${clients} clients connected, ${ids.length} were reported`);
  for (const [outcome, count] of counted) {
    const reported = record.connections.filter((one) => one.outcome === outcome).length;
    if (reported !== count) found.push(`I1: metrics count ${count} ${outcome}, ${reported} were reported`);
  }
  return found;
}

/** I3: the engine saw the starts that wakeport asked for, no others, and at most one for each activation. */
function wrongStarts({ record, targets }: Evidence, { events, acts, selfStarting }: Journal): string[] {
  const seen = events.filter((event) => isStart(event, events) && targets.has(event.id));
  // While the test itself starts a container, the engine does not say whose start it was.
  const surely = seen.filter((event) => !isOurs(event, acts) && selfStarting?.has(event.id) !== true).length;
  const calls = record.calls.filter(({ operation }) => operation === "start" || operation === "unpause");
  const asked = calls.filter(({ code }) => code === "2xx").length;
  // Nobody waited for the answer: they may have worked or not.
  const unknown = calls.filter(({ code }) => code === "cancelled" || code === "timeout").length;
  // What the test pauses is thawed for the next client, and what it stops during a start is started once more.
  const undone = acts.filter(({ verb, id }) => targets.has(id) && effects[verb].some((one) => one !== "start")).length;
  const needed = record.activations.filter(({ adopted }) => !adopted).length + undone;
  const found: string[] = [];
  if (asked > seen.length || surely > asked + unknown) {
    found.push(`I3: ${asked} starts worked, the engine saw ${surely} to ${seen.length}`);
  }
  if (asked > needed) found.push(`I3: ${asked} starts for ${needed} activations`);
  return found;
}

function isStart({ action, id, at }: EngineEvent, events: readonly EngineEvent[]): boolean {
  if (action !== "unpause") return action === "start";
  // The engine thaws what it stops.
  const before = events.filter((event) => event.id === id && event.at <= at);
  return before.findLast((event) => event.action === "pause" || event.action === "kill")?.action !== "kill";
}

/** I4, as wakeport tells it: no target goes to sleep while a connection of its services waits or is open. */
function sleptUnderClients({ record }: Evidence): string[] {
  return record.states
    .filter(({ event, to }) => event === "idle" && to === "stopping")
    .flatMap(({ at, target, services }) =>
      record.connections
        .filter(({ service }) => services.includes(service))
        .filter(wantedSomething)
        .filter((one) => one.at - one.durationMs < at && at < one.at)
        .map(({ id }) => `I4: ${target} went to sleep while connection ${id} was open`),
    );
}

/** A probe, or a client that has to speak first and never does, keeps nothing awake. */
function wantedSomething({ end, error }: ConnectionReport): boolean {
  return end !== "probe" && !(error?.cause instanceof PeekError);
}

/** I4, as the engine tells it: targets are stopped and paused only while wakeport says that it does that. */
function strangeStops({ record, targets }: Evidence, { events, acts }: Journal): string[] {
  return events
    .filter((event) => isStop(event) && !isOurs(event, acts))
    .flatMap(({ id, action, at }) => {
      const target = targets.get(id);
      if (target === undefined) return [];
      const state = stateAt(record, target, at);
      return state === "stopping" ? [] : [`I4: ${target} got a ${action} while it was ${state}`];
    });
}

/** I8: nothing is stopped that is no target. */
function foreignStops({ targets }: Evidence, { events, acts }: Journal): string[] {
  return events
    .filter((event) => isStop(event) && !targets.has(event.id) && !isOurs(event, acts))
    .map(({ name, action }) => `I8: ${name} is no target, and got a ${action}`);
}

/** I7: what wakeport says of a target is what the engine says. */
export function contradiction(target: string, state: ServiceStatus["state"], isAwake: boolean): string | undefined {
  const isCalledAsleep = state === "asleep" || state === "paused" || state === "missing";
  if (state === "ready" && !isAwake) return `I7: ${target} is called ready, and does not run`;
  if (isCalledAsleep && isAwake) return `I7: ${target} is called ${state}, and runs`;
  if (state !== "ready" && !isCalledAsleep) return `I7: ${target} is still ${state}`;
  return undefined;
}

/** I5: how many sockets this process has open. */
export function openSockets(): number {
  const folder = "/proc/self/fd";
  const sockets = readdirSync(folder).filter((fd) => linkOf(`${folder}/${fd}`).startsWith("socket:"));
  return sockets.length - portReservations();
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    // Closed meanwhile; the folder itself is one of those.
    return "";
  }
}

function stateAt(record: Recorder, target: string, at: number): StateName {
  const before = record.states.filter((change) => change.target === target && change.at <= at);
  return before.at(-1)?.to ?? "asleep";
}

function isStop({ action }: EngineEvent): boolean {
  // `die` alone says nothing: a program may end by itself.
  return action === "kill" || action === "pause";
}

/** Which events an act may cause. */
const effects: Readonly<Record<Verb, readonly string[]>> = {
  start: ["start"],
  stop: ["kill", "unpause"],
  restart: ["kill", "start"],
  kill: ["kill"],
  pause: ["pause"],
  unpause: ["unpause"],
  rename: [],
  remove: ["kill", "unpause"],
};

function isOurs({ id, action, at }: EngineEvent, acts: readonly Act[]): boolean {
  // The engine's clock is this machine's; the margin is for rounding.
  const covers = (act: Act): boolean => act.from - 1 <= at && at <= act.to + 1;
  return acts.some((act) => act.id === id && covers(act) && effects[act.verb].includes(action));
}

function timed<T>(report: T): Timed<T> {
  return { ...report, at: now() };
}
