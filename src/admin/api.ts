/** What wakeport tells about its services: the answer of /api/v1/services, which `wakeport status` prints. */

import type { StateName } from "../activation/machine.ts";
import type { ActivatorView } from "../activation/view.ts";
import { isWoken, type Service, type ServicePort } from "../config/config.ts";
import { formatRange } from "../config/values/ports.ts";
import type { Ban } from "../proxy/admission/ban-list.ts";
import { formatListenAddress } from "../proxy/listen/listener.ts";
import type { ConnectionView } from "../proxy/service-connections.ts";
import type { OutcomeCounts } from "../telemetry/metrics.ts";

/** One service. Times are RFC 3339, durations milliseconds. */
export interface ServiceStatus {
  readonly name: string;
  /** "missing" when it sleeps because its container does not exist; "listening" where there is nothing to wake. */
  readonly state: StateName | "disabled" | "missing" | "listening";
  /** Why the target is in this state, in words. */
  readonly cause?: string;
  /** Since when it is in this state. */
  readonly since?: string;
  /** Targets that need this one at this moment. */
  readonly dependents: readonly string[];
  /** What keeps the idle target awake: direct use, or why it must not be stopped. Absent if nothing does. */
  readonly kept_awake_by?: readonly string[];
  readonly target: string;
  /** Services with which this one is woken; absent if there are none. */
  readonly with?: readonly string[];
  readonly group?: string;
  /** Front addresses, each with the port of the target; empty for a service without ports. */
  readonly ports: readonly PortStatus[];
  readonly connections: number;
  readonly waiting: number;
  /** While it is starting: the parts of `ready` that do not hold yet, once the target is up. */
  readonly pending?: readonly string[];
  /** Absent where there is nothing to wake. */
  readonly idle_timeout_ms?: number;
  readonly start_timeout_ms?: number;
  /** When it will go to sleep; absent while it is in use or asleep. */
  readonly idle_deadline?: string;
  readonly last_activity?: string;
  /** Until when no start is tried, after one that failed. */
  readonly cooldown_until?: string;
  readonly last_error?: string;
  /** The last output before a failed start or a crash, oldest line first; absent after a successful start. */
  readonly last_lines?: readonly string[];
}

/** An entry of `ports` or `data`. */
export interface PortStatus {
  /** Of several in a row: `*:30000-30009`. */
  readonly listener: string;
  /** The first one, of several. */
  readonly target?: number;
  /** How many, of several in a row. */
  readonly count?: number;
  /** Whether it is for clients that are being served. */
  readonly data?: true;
  /** Of whom it gets only those who ask for these hosts, or names of TLS. */
  readonly host?: readonly string[];
  readonly sni?: readonly string[];
}

/** One client at this moment. */
export interface OpenConnection {
  readonly conn: number;
  /** With its port. */
  readonly client: string;
  /** Since when it is connected. */
  readonly since: string;
  readonly state: "waiting" | "served";
  /** Of the process that serves this client alone. */
  readonly pid?: number;
}

/** One service with who is connected to it, the oldest first and no more than a thousand. */
export interface ServiceDetails extends ServiceStatus, OutcomeCounts {
  readonly open: readonly OpenConnection[];
}

/** The engine behind the containers. */
export interface EngineStatus {
  readonly url: string;
  readonly up: boolean;
  /** Why it is not up, and what a socket proxy refuses; each with what to do about it. Absent when all is well. */
  readonly problems?: readonly string[];
}

/** A container that no service names, but that others depend on. */
export interface UnnamedStatus {
  readonly target: string;
  readonly state: StateName | "missing";
  readonly cause: string;
  readonly since: string;
  readonly dependents: readonly string[];
  readonly kept_awake_by?: readonly string[];
  readonly idle_deadline?: string;
}

/** Sources that sensors have banned from all services. */
export interface BansStatus {
  readonly count: number;
  /** The latest, at most 100. */
  readonly latest: readonly { readonly source: string; readonly until: string; readonly service: string }[];
}

export interface StatusReport {
  readonly version: string;
  /** Absent when no service needs an engine. */
  readonly engine?: EngineStatus;
  /** What is wrong with labels that should make services; absent when labels are not looked at. */
  readonly label_problems?: readonly { readonly container: string; readonly problem: string }[];
  readonly services: readonly ServiceStatus[];
  readonly unnamed?: readonly UnnamedStatus[];
  /** Absent when nobody is banned. */
  readonly bans?: BansStatus;
}

/** The part of a service that lives; absent for one that is not enabled. */
export interface LiveStatus {
  /** Undefined where there is nothing to wake. */
  readonly view: ActivatorView | undefined;
  readonly connections: number;
  readonly waiting: number;
}

/** Puts together what is told of one service. */
export function serviceStatus(service: Service, target: string, live: LiveStatus | undefined): ServiceStatus {
  const view = live?.view;
  return {
    name: service.name,
    state: live === undefined ? "disabled" : view === undefined ? "listening" : stateOf(view),
    dependents: view?.dependents ?? [],
    ...keptAwakeBy(view),
    ...(view !== undefined && { cause: view.missing ?? view.cause, since: rfc3339(view.since) }),
    target,
    ...(service.wakesWith.length > 0 && { with: service.wakesWith }),
    ...(service.group !== undefined && { group: service.group }),
    ports: [
      ...service.ports.map((port) => ({ ...portStatus(port, hasFixedPort(service)), ...routedNames(service, port) })),
      ...service.data.map((port) => ({ ...portStatus(port, true), data: true as const })),
    ],
    connections: live?.connections ?? 0,
    waiting: live?.waiting ?? 0,
    ...(view?.pending !== undefined && { pending: view.pending }),
    ...(isWoken(service) && {
      idle_timeout_ms: service.idleTimeoutMs,
      start_timeout_ms: service.startTimeoutMs,
    }),
    ...(view?.idleDeadline !== undefined && { idle_deadline: rfc3339(view.idleDeadline) }),
    ...(view?.lastActivity !== undefined && { last_activity: rfc3339(view.lastActivity) }),
    ...(view?.cooldownUntil !== undefined && { cooldown_until: rfc3339(view.cooldownUntil) }),
    ...(view?.lastError !== undefined && { last_error: view.lastError }),
    ...(view?.lastLines !== undefined && { last_lines: view.lastLines }),
  };
}

function keptAwakeBy(view: ActivatorView | undefined): Pick<ServiceStatus, "kept_awake_by"> {
  return view === undefined || view.keptAwakeBy.length === 0 ? {} : { kept_awake_by: view.keptAwakeBy };
}

function portStatus(port: ServicePort, hasTarget: boolean): PortStatus {
  const { target, count } = port;
  return { listener: listenerName(port), ...(hasTarget && { target }), ...(count !== undefined && { count }) };
}

/** The names by which a port leads to a service, where there are any. */
function routedNames({ names }: Service, { protocol }: ServicePort): Pick<PortStatus, "host" | "sni"> {
  return names === undefined || protocol === "udp" ? {} : { [names.kind]: names.patterns };
}

/** A process that is handed its listener may have it on any free port. */
function hasFixedPort(service: Service): boolean {
  const { target } = service;
  return isWoken(service) && !(target.kind === "process" && target.listen.port === undefined);
}

function stateOf(view: ActivatorView): StateName | "missing" {
  return view.state === "asleep" && view.missing !== undefined ? "missing" : view.state;
}

const MAX_BANS_LISTED = 100;

/** What is told of bans, oldest first. */
export function bansStatus(bans: readonly Ban[]): Pick<StatusReport, "bans"> {
  if (bans.length === 0) return {};
  const latest = bans.slice(-MAX_BANS_LISTED).toReversed();
  return { bans: { count: bans.length, latest: latest.map((ban) => ({ ...ban, until: rfc3339(ban.until) })) } };
}

/** What is told of a container that no service names. */
export function unnamedStatus(view: ActivatorView): UnnamedStatus {
  const { target, cause, missing, since, dependents, idleDeadline } = view;
  return {
    target,
    dependents,
    ...keptAwakeBy(view),
    state: stateOf(view),
    cause: missing ?? cause,
    since: rfc3339(since),
    ...(idleDeadline !== undefined && { idle_deadline: rfc3339(idleDeadline) }),
  };
}

/** What is told of one connection. */
export function openConnection({ id, client, since, isServed, pid }: ConnectionView): OpenConnection {
  return {
    conn: id,
    client,
    since: rfc3339(since),
    state: isServed ? "served" : "waiting",
    ...(pid !== undefined && { pid }),
  };
}

/** How many names are told in a line. */
const MAX_NAMES_SHOWN = 3;

/** A front with the names by which it leads to a service: `*:80`, `*:80 host app.localhost, *.app.localhost`. */
export function formatListener({ listener, host, sni }: PortStatus): string {
  const [kind, names] = host !== undefined ? ["host", host] : ["sni", sni ?? []];
  if (names.length === 0) return listener;
  const more = names.length - MAX_NAMES_SHOWN;
  return `${listener} ${kind} ${names.slice(0, MAX_NAMES_SHOWN).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

export function listenerName({ address, listen: listener, count, protocol }: ServicePort): string {
  const host = formatListenAddress({ port: listener, ...(address !== undefined && { address }) }).replace(/\d+$/, "");
  return `${host}${formatRange(listener, count)}${protocol === "udp" ? "/udp" : ""}`;
}

function rfc3339(unixMs: number): string {
  return new Date(unixMs).toISOString();
}
