import type { ActivationObserver } from "../activation/reports.ts";
import type { EngineObserver } from "../docker/reports.ts";
import type { RouteObserver } from "../kernel-route/reports.ts";
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
export interface Observer extends ActivationObserver, ProxyObserver, EngineObserver, RouteObserver, TargetObserver {
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
  forwarded: () => {},
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
  const methods = Object.keys(silent).map((name) => {
    const all = observers.map((each) => each[name as keyof Observer] as (...report: unknown[]) => void);
    return [name, (...report: unknown[]) => all.forEach((method) => method(...report))];
  });
  return Object.fromEntries(methods);
}
