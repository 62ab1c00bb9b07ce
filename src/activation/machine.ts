/**
 * The state machine of one target as a table: for each state and event the next state and the effects, which the
 * Activator performs.
 *
 * `leases` counts waiting and held leases; `reject-waiting` and `cut` end all of their kind, `reject-newcomer` only the
 * new lease. Once `closing` is set, no lease is granted.
 */
import { InvariantError } from "./errors.ts";

export const stateNames = ["asleep", "paused", "starting", "ready", "draining", "stopping"] as const;
export type StateName = (typeof stateNames)[number];

export const eventNames = [
  "acquire", // a lease was requested
  "release", // a waiting or held lease ended
  "found", // running, although the activator did not start it
  "started", // the start or adoption succeeded, with its readiness probe
  "failed", // the start or stop failed
  "idle", // the idle timeout expired
  "paused", // paused, by the activator or by another process
  "exited", // went down without a stop by the activator
  "lost", // exited while it was being adopted
  "stopped", // the stop succeeded
  "denied", // the engine denied the stop, or a stop rule did after a failed start
  "kept", // a stop rule denied the stop: the target is in use
  "close", // the activator shuts down
  "deadline", // the drain deadline expired
] as const;
export type EventName = (typeof eventNames)[number];

export type EffectName =
  | "start" // start the target, then probe it
  | "adopt" // probe the running target
  | "abort" // abort the start under way
  | "sleep" // put the target to sleep with the action of its policy
  | "stop"
  | "stop-again" // retry the last sleep or stop after a delay
  | "hurry" // retry without the delay
  | "grant" // grant all waiting leases
  | "reject-newcomer"
  | "reject-waiting"
  | "cut" // end all held leases
  | "arm" // start the idle timeout, or the timer of the second sleep step
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

/** Receives the previous state, with `leases` and `closing` updated by the event. */
type Rule = (after: State) => Move;

const go = (to: StateName, ...effects: EffectName[]): Move => ({ to, effects });

const table = {
  asleep: {
    acquire: (s) => (s.closing ? go("asleep", "reject-newcomer") : go("starting", "start")),
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
    failed: () => go("stopping", "reject-waiting", "stop"),
    exited: () => go("stopping", "reject-waiting", "abort", "stop"),
    // The target was found running, so a restart by another process may follow.
    lost: (s) => (s.leases > 0 ? go("starting", "start") : go("asleep")),
    close: () => go("stopping", "reject-waiting", "abort", "stop"),
  },
  ready: {
    acquire: () => go("ready", "disarm", "grant"),
    release: (s) => (s.leases > 0 ? go("ready") : go("ready", "arm")),
    found: () => go("ready"),
    idle: () => go("stopping", "sleep"),
    // A pause by another process ends no connection: traffic continues after the unpause.
    paused: (s) => (s.leases > 0 ? go("ready") : go("paused", "disarm", "arm")),
    exited: () => go("asleep", "disarm", "cut"),
    close: (s) => (s.leases > 0 ? go("draining", "disarm") : go("stopping", "disarm", "stop")),
  },
  draining: {
    acquire: () => go("draining", "reject-newcomer"),
    release: (s) => (s.leases > 0 ? go("draining") : go("stopping", "stop")),
    found: () => go("draining"),
    exited: () => go("asleep", "cut"),
    paused: () => go("draining"),
    close: () => go("draining"),
    deadline: () => go("stopping", "cut", "stop"),
  },
  stopping: {
    acquire: (s) => (s.closing ? go("stopping", "reject-newcomer") : go("stopping", "hurry")),
    release: () => go("stopping"),
    found: () => go("stopping"),
    failed: (s) => (s.closing ? go("asleep") : go("stopping", "stop-again")),
    // The target stays up, so waiting leases can be granted.
    denied: (s) => (s.closing ? go("asleep") : s.leases > 0 ? go("starting", "adopt") : go("stopping", "stop-again")),
    kept: (s) => (s.closing ? go("asleep") : go("starting", "adopt")),
    exited: () => go("stopping"),
    stopped: (s) => (s.leases > 0 ? go("starting", "start") : go("asleep")),
    // The sleep action was a pause, and it succeeded.
    paused: (s) => (s.closing ? go("stopping", "stop") : s.leases > 0 ? go("starting", "start") : go("paused", "arm")),
    close: () => go("stopping", "reject-waiting"),
  },
} satisfies Record<StateName, Partial<Record<EventName, Rule>>>;

export const initialState: State = { name: "asleep", leases: 0, closing: false };

/**
 * Applies one event.
 *
 * @throws InvariantError for a pair that the table does not contain, a release without a lease, and an idle timeout
 *   during a lease
 */
export function transition(state: State, event: EventName): { state: State; effects: readonly EffectName[] } {
  const rules: Partial<Record<EventName, Rule>> = table[state.name];
  const rule = rules[event];
  if (rule === undefined) throw new InvariantError(`"${event}" cannot happen in state "${state.name}"`);
  if (event === "release" && state.leases === 0) throw new InvariantError("a release without a lease");
  if (event === "idle" && state.leases > 0) throw new InvariantError("the idle timeout expired during a lease");

  const counted: State = {
    name: state.name,
    leases: state.leases + (event === "acquire" ? 1 : event === "release" ? -1 : 0),
    closing: state.closing || event === "close",
  };
  const move = rule(counted);
  return { state: { ...counted, name: move.to, leases: leasesAfter(counted.leases, move) }, effects: move.effects };
}

function leasesAfter(leases: number, move: Move): number {
  if (move.effects.includes("reject-waiting") || move.effects.includes("cut")) return 0;
  return move.effects.includes("reject-newcomer") ? leases - 1 : leases;
}
