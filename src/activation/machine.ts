/**
 * The life of one target as a table: what each event means in each state. Pure: effects are names that the Activator
 * performs. A pair that the table does not list cannot happen, and raises InvariantError.
 *
 * `leases` counts live claims, waiting or held. `reject` (everyone who waits) and `cut` (everyone who holds) void
 * theirs, so the count drops to 0; `refuse` turns away the newcomer alone. Once `closing`, no claim is taken any more.
 */
import { InvariantError } from "./errors.ts";

export const stateNames = ["asleep", "paused", "starting", "ready", "draining", "stopping"] as const;
export type StateName = (typeof stateNames)[number];

export const eventNames = [
  "acquire", // somebody wants the target
  "release", // a live claim ended
  "found", // seen running although we did not start it
  "started", // our start, or the adoption of a running target, is through its probe
  "failed", // our start, or our stop, did not succeed
  "idle", // the idle timer ran out
  "paused", // is frozen: by our own sleep, or by somebody else
  "exited", // went down by itself
  "lost", // went down by itself while it was being adopted
  "stopped", // our stop is done
  "denied", // our stop was refused by the engine, or by the stop rule after a failed start
  "kept", // our stop was refused: the target may not be stopped now
  "close", // the service ends
  "deadline", // the drain took too long
] as const;
export type EventName = (typeof eventNames)[number];

export type EffectName =
  | "start" // bring the target up, then probe it
  | "adopt" // it is up already: probe it
  | "abort" // give up the start under way
  | "sleep" // put it away as its next sleep says
  | "stop" // take it down
  | "stop-again" // what was tried last, after a while
  | "hurry" // do not wait for that while
  | "grant" // those who wait now hold
  | "refuse"
  | "reject"
  | "cut"
  | "arm" // the idle timer; what is paused already may have a deeper sleep to come, or none
  | "disarm";

export interface State {
  readonly name: StateName;
  readonly leases: number;
  readonly closing: boolean;
}

export interface Move {
  readonly to: StateName;
  readonly effects: readonly EffectName[];
}

/** Given the state as it was, with `leases` and `closing` already counting the event. */
type Rule = (after: State) => Move;

const go = (to: StateName, ...effects: EffectName[]): Move => ({ to, effects });

const table = {
  asleep: {
    acquire: (s) => (s.closing ? go("asleep", "refuse") : go("starting", "start")),
    found: (s) => (s.closing ? go("asleep") : go("starting", "adopt")),
    exited: () => go("asleep"),
    paused: (s) => (s.closing ? go("asleep") : go("paused", "arm")),
    close: () => go("asleep"),
  },
  paused: {
    acquire: () => go("starting", "disarm", "start"),
    found: () => go("starting", "disarm", "adopt"),
    paused: () => go("paused"),
    exited: () => go("asleep", "disarm"),
    idle: () => go("stopping", "sleep"),
    close: () => go("stopping", "disarm", "stop"),
  },
  starting: {
    acquire: () => go("starting"),
    release: () => go("starting"),
    found: () => go("starting"),
    started: (s) => (s.leases > 0 ? go("ready", "grant") : go("ready", "arm")),
    failed: () => go("stopping", "reject", "stop"),
    exited: () => go("stopping", "reject", "abort", "stop"),
    // Not ours to stop: whoever took it down may be about to start it again.
    lost: (s) => (s.leases > 0 ? go("starting", "start") : go("asleep")),
    close: () => go("stopping", "reject", "abort", "stop"),
  },
  ready: {
    acquire: () => go("ready", "disarm", "grant"),
    release: (s) => (s.leases > 0 ? go("ready") : go("ready", "arm")),
    found: () => go("ready"),
    idle: () => go("stopping", "sleep"),
    // Somebody else's pause ends no connection: what it froze goes on when it thaws.
    paused: (s) => (s.leases > 0 ? go("ready") : go("paused", "disarm", "arm")),
    exited: () => go("asleep", "disarm", "cut"),
    close: (s) => (s.leases > 0 ? go("draining", "disarm") : go("stopping", "disarm", "stop")),
  },
  draining: {
    acquire: () => go("draining", "refuse"),
    release: (s) => (s.leases > 0 ? go("draining") : go("stopping", "stop")),
    found: () => go("draining"),
    exited: () => go("asleep", "cut"),
    paused: () => go("draining"),
    close: () => go("draining"),
    deadline: () => go("stopping", "cut", "stop"),
  },
  stopping: {
    acquire: (s) => (s.closing ? go("stopping", "refuse") : go("stopping", "hurry")),
    release: () => go("stopping"),
    found: () => go("stopping"),
    failed: (s) => (s.closing ? go("asleep") : go("stopping", "stop-again")),
    // It stays up: those who wait for it are to have it.
    denied: (s) => (s.closing ? go("asleep") : s.leases > 0 ? go("starting", "adopt") : go("stopping", "stop-again")),
    kept: (s) => (s.closing ? go("asleep") : go("starting", "adopt")),
    exited: () => go("stopping"),
    stopped: (s) => (s.leases > 0 ? go("starting", "start") : go("asleep")),
    // Its sleep is a pause, and done.
    paused: (s) => (s.closing ? go("stopping", "stop") : s.leases > 0 ? go("starting", "start") : go("paused", "arm")),
    close: () => go("stopping", "reject"),
  },
} satisfies Record<StateName, Partial<Record<EventName, Rule>>>;

export const initialState: State = { name: "asleep", leases: 0, closing: false };

/**
 * Applies one event.
 *
 * @throws InvariantError for a pair that the table does not list, for a release without a lease, and for an idle
 *   timer that runs out under a lease
 */
export function transition(state: State, event: EventName): { state: State; effects: readonly EffectName[] } {
  const rules: Partial<Record<EventName, Rule>> = table[state.name];
  const rule = rules[event];
  if (rule === undefined) throw new InvariantError(`"${event}" cannot happen in state "${state.name}"`);
  if (event === "release" && state.leases === 0) throw new InvariantError("a lease was released that nobody held");
  if (event === "idle" && state.leases > 0) throw new InvariantError("the idle timer ran out under a lease");

  const counted: State = {
    name: state.name,
    leases: state.leases + (event === "acquire" ? 1 : event === "release" ? -1 : 0),
    closing: state.closing || event === "close",
  };
  const move = rule(counted);
  return { state: { ...counted, name: move.to, leases: leasesAfter(counted.leases, move) }, effects: move.effects };
}

function leasesAfter(leases: number, move: Move): number {
  if (move.effects.includes("reject") || move.effects.includes("cut")) return 0;
  return move.effects.includes("refuse") ? leases - 1 : leases;
}
