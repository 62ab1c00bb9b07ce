import type { ActivationObserver } from "../activation/reports.ts";
import type { EngineObserver } from "../docker/reports.ts";
import type { DenialReason } from "../proxy/admission/denial.ts";
import type { ProxyObserver } from "../proxy/reports.ts";
import type { UnroutedReason } from "../proxy/unrouted.ts";
import type { TargetObserver } from "../targets/reports.ts";

/** The result of a reload. Services are identified by their names. */
export type ReloadReport =
  | {
      readonly outcome: "success";
      readonly added: readonly string[];
      readonly removed: readonly string[];
      readonly changed: readonly string[];
      readonly unchanged: number;
      /** Keys whose new values take effect after a restart. */
      readonly afterRestart: readonly string[];
    }
  | { readonly outcome: "failure"; readonly error: Error };

/** Denials that are not reported one by one. */
export interface DenialSummary extends Unreported {
  readonly service: string;
  readonly reason: DenialReason;
}

/** Unrouted clients that are not reported one by one. */
export interface UnroutedSummary extends Unreported {
  readonly listener: string;
  readonly reason: UnroutedReason;
}

export interface Unreported {
  readonly count: number;
  /** The period in milliseconds. */
  readonly overMs: number;
}

/** Receives every report of every layer. Logs and metrics are made from these reports only. */
export interface Observer extends ActivationObserver, ProxyObserver, EngineObserver, TargetObserver {
  /** Denied clients without a line of their own in the log. */
  denials(summary: DenialSummary): void;
  /** Clients that were not routed, without a line of their own in the log. */
  moreUnrouted(summary: UnroutedSummary): void;
  reload(report: ReloadReport): void;
}

const silent: Observer = {
  state: () => {},
  activation: () => {},
  sleep: () => {},
  keptAwake: () => {},
  stopFailed: () => {},
  connectionOpened: () => {},
  connection: () => {},
  denials: () => {},
  unrouted: () => {},
  moreUnrouted: () => {},
  banned: () => {},
  userId: () => {},
  engineCall: () => {},
  engineUp: () => {},
  engineDown: () => {},
  eventsReconnected: () => {},
  pull: () => {},
  orphanRemoved: () => {},
  reload: () => {},
  output: () => {},
  warning: () => {},
};

/** Returns an observer that ignores the reports that `parts` does not handle. */
export function observer(parts: Partial<Observer> = {}): Observer {
  return { ...silent, ...parts };
}

/** Returns an observer that passes each report to `observers`, in order. */
export function fanOut(...observers: readonly Observer[]): Observer {
  return {
    state: (change) => observers.forEach((o) => o.state(change)),
    activation: (report) => observers.forEach((o) => o.activation(report)),
    sleep: (report) => observers.forEach((o) => o.sleep(report)),
    keptAwake: (report) => observers.forEach((o) => o.keptAwake(report)),
    stopFailed: (report) => observers.forEach((o) => o.stopFailed(report)),
    connectionOpened: (facts) => observers.forEach((o) => o.connectionOpened(facts)),
    connection: (report) => observers.forEach((o) => o.connection(report)),
    denials: (summary) => observers.forEach((o) => o.denials(summary)),
    unrouted: (report) => observers.forEach((o) => o.unrouted(report)),
    moreUnrouted: (summary) => observers.forEach((o) => o.moreUnrouted(summary)),
    banned: (report) => observers.forEach((o) => o.banned(report)),
    userId: (report) => observers.forEach((o) => o.userId(report)),
    engineCall: (call) => observers.forEach((o) => o.engineCall(call)),
    engineUp: (description) => observers.forEach((o) => o.engineUp(description)),
    engineDown: (error) => observers.forEach((o) => o.engineDown(error)),
    eventsReconnected: () => observers.forEach((o) => o.eventsReconnected()),
    pull: (report) => observers.forEach((o) => o.pull(report)),
    orphanRemoved: (container, service) => observers.forEach((o) => o.orphanRemoved(container, service)),
    reload: (report) => observers.forEach((o) => o.reload(report)),
    output: (target, line) => observers.forEach((o) => o.output(target, line)),
    warning: (event, message) => observers.forEach((o) => o.warning(event, message)),
  };
}
