/**
 * Invariants that are checked after each test on an engine. A recorder stores all reports of wakeport, the journal all
 * events of the engine; `violations` compares the two.
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

/** A report with its Unix time in milliseconds. */
export type Timed<T> = T & { readonly at: number };

/** Stores all reports of a wakeport. */
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

/** The facts about one wakeport after a test. */
export interface Evidence {
  readonly record: Recorder;
  /** The number of connections of its clients. */
  readonly clients: number;
  /** Connections by outcome, as its metrics count them. */
  readonly counted: ReadonlyMap<string, number>;
  /** The containers it may start and stop: id, and the target's name in reports. */
  readonly targets: ReadonlyMap<string, string>;
  /** Absent if the engine was restarted. */
  readonly journal?: Journal;
}

/** What the engine and the test did. */
export interface Journal {
  /** Events of the engine for the containers of the test. */
  readonly events: readonly EngineEvent[];
  /** Actions of the test itself. */
  readonly acts: readonly Act[];
  /** Containers that the engine starts by itself, by their restart policy. */
  readonly selfStarting?: ReadonlySet<string>;
}

/** Returns a sentence for each violated invariant. */
export function violations(evidence: Evidence): string[] {
  const { journal } = evidence;
  const found = [...unaccounted(evidence), ...sleptUnderClients(evidence)];
  if (journal === undefined) return found;
  return [
    ...found,
    ...wrongStarts(evidence, journal),
    ...strangeStops(evidence, journal),
    ...foreignStops(evidence, journal),
  ];
}

/** I1: each accepted connection has exactly one outcome, and the metrics agree. */
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

/** I3: the engine saw exactly the starts that wakeport requested, at most one for each activation. */
function wrongStarts({ record, targets }: Evidence, { events, acts, selfStarting }: Journal): string[] {
  const seen = events.filter((event) => isStart(event, events) && targets.has(event.id));
  // While the test itself starts a container, the engine's event does not show which process caused it.
  const certain = seen.filter((event) => !isOurs(event, acts) && selfStarting?.has(event.id) !== true).length;
  const calls = record.calls.filter(({ operation }) => operation === "start" || operation === "unpause");
  const succeeded = calls.filter(({ code }) => code === "2xx").length;
  // The result of an aborted call is unknown.
  const unknown = calls.filter(({ code }) => code === "cancelled" || code === "timeout").length;
  // A target that the test pauses is unpaused for the next client, and one that it stops during a start is started again.
  const undone = acts.filter(({ verb, id }) => targets.has(id) && effects[verb].some((one) => one !== "start")).length;
  const needed = record.activations.filter(({ adopted }) => !adopted).length + undone;
  const found: string[] = [];
  if (succeeded > seen.length || certain > succeeded + unknown) {
    found.push(`I3: ${succeeded} starts worked, the engine saw ${certain} to ${seen.length}`);
  }
  if (succeeded > needed) found.push(`I3: ${succeeded} starts for ${needed} activations`);
  return found;
}

function isStart({ action, id, at }: EngineEvent, events: readonly EngineEvent[]): boolean {
  if (action !== "unpause") return action === "start";
  // The engine unpauses a container to stop it.
  const before = events.filter((event) => event.id === id && event.at <= at);
  return before.findLast((event) => event.action === "pause" || event.action === "kill")?.action !== "kill";
}

/** I4, by reports: no target is put to sleep while a connection of its services waits or is open. */
function sleptUnderClients({ record }: Evidence): string[] {
  return record.states
    .filter(({ event, to }) => event === "idle" && to === "stopping")
    .flatMap(({ at, target, services }) =>
      record.connections
        .filter(({ service }) => services.includes(service))
        .filter(keepsAwake)
        .filter((one) => one.at - one.durationMs < at && at < one.at)
        .filter((one) => !hasLostTarget(one, record, target, at))
        .map(({ id }) => `I4: ${target} was put to sleep while connection ${id} was open`),
    );
}

/** A probe, or a client that never sends its first bytes, keeps no target awake. */
function keepsAwake({ end, error }: ConnectionReport): boolean {
  return end !== "probe" && !(error?.cause instanceof PeekError);
}

/** A connection to a container that was renamed continues, but does not keep the next container of that name awake. */
function hasLostTarget(connection: Timed<ConnectionReport>, record: Recorder, target: string, until: number): boolean {
  const { at, durationMs, waitMs = durationMs } = connection;
  const servedAt = at - durationMs + waitMs;
  const exits = record.states.filter((change) => change.target === target && change.event === "exited");
  return exits.some((exit) => servedAt < exit.at && exit.at < until);
}

/** I4, by events of the engine: targets are stopped and paused only in the state "stopping". */
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

/** I8: only targets are stopped. */
function foreignStops({ targets }: Evidence, { events, acts }: Journal): string[] {
  return events
    .filter((event) => isStop(event) && !targets.has(event.id) && !isOurs(event, acts))
    .map(({ name, action }) => `I8: ${name} is not a target, and got a ${action}`);
}

/** I7: the state of a target agrees with the engine. */
export function contradiction(target: string, state: ServiceStatus["state"], isAwake: boolean): string | undefined {
  const isAsleep = state === "asleep" || state === "paused" || state === "missing";
  if (state === "ready" && !isAwake) return `I7: ${target} is ready but not running`;
  if (isAsleep && isAwake) return `I7: ${target} is ${state} but running`;
  if (state !== "ready" && !isAsleep) return `I7: ${target} is still ${state}`;
  return undefined;
}

/** I5: the number of open sockets of this process. */
export function openSockets(): number {
  const folder = "/proc/self/fd";
  const sockets = readdirSync(folder).filter((fd) => linkOf(`${folder}/${fd}`).startsWith("socket:"));
  return sockets.length - portReservations();
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    // The descriptor was closed meanwhile, such as the one of the folder itself.
    return "";
  }
}

function stateAt(record: Recorder, target: string, at: number): StateName {
  const before = record.states.filter((change) => change.target === target && change.at <= at);
  return before.at(-1)?.to ?? "asleep";
}

function isStop({ action }: EngineEvent): boolean {
  // `die` alone is not a stop: a program may exit by itself.
  return action === "kill" || action === "pause";
}

/** The events that an action may cause. */
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
  // The engine has the clock of this machine; the margin is for rounding.
  const covers = (act: Act): boolean => act.from - 1 <= at && at <= act.to + 1;
  return acts.some((act) => act.id === id && covers(act) && effects[act.verb].includes(action));
}

function timed<T>(report: T): Timed<T> {
  return { ...report, at: now() };
}
