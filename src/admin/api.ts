/** The status of the services: the response of /api/v1/services, which `wakeport status` prints. */

import type { ActivatorView } from "../activation/activator-view.ts";
import type { StateName } from "../activation/machine.ts";
import { isWoken, type Service, type ServicePort } from "../config/config.ts";
import { formatRange } from "../config/values/ports.ts";
import type { DataPlaneView } from "../dataplane/data-plane.ts";
import type { Ban } from "../proxy/admission/ban-list.ts";
import { formatListenAddress } from "../proxy/listen/listener.ts";
import type { ConnectionView } from "../proxy/service-connections.ts";
import type { OutcomeCounts } from "../telemetry/metrics.ts";

/** One service. Times are RFC 3339, durations milliseconds. */
export interface ServiceStatus {
  readonly name: string;
  /** "missing" if the container does not exist; "listening" if the service has no target to start. */
  readonly state: StateName | "disabled" | "missing" | "listening";
  /** The cause of this state. */
  readonly cause?: string;
  /** When this state began. */
  readonly since?: string;
  /** Targets that currently need this target. */
  readonly dependents: readonly string[];
  /** Uses and reasons that keep the idle target awake; absent without any. */
  readonly kept_awake_by?: readonly string[];
  readonly target: string;
  /** Services with which this service starts; absent without any. */
  readonly with?: readonly string[];
  readonly group?: string;
  /** Listener addresses, each with the port of the target. */
  readonly ports: readonly PortStatus[];
  readonly connections: number;
  readonly waiting: number;
  /** Forwarding by the kernel; absent if the service is never forwarded. */
  readonly kernel_route?: KernelRouteStatus;
  /** The parts of `ready` that do not hold yet; only while the target is starting. */
  readonly pending?: readonly string[];
  /** Absent if the service has no target to start. */
  readonly idle_timeout_ms?: number;
  readonly start_timeout_ms?: number;
  /** When the idle timeout ends; absent while the target is in use or asleep. */
  readonly idle_deadline?: string;
  readonly last_activity?: string;
  /** When the pause after a failed start ends. */
  readonly cooldown_until?: string;
  readonly last_error?: string;
  /** The last output of a target that failed to start or crashed, oldest line first; absent after a successful start. */
  readonly last_lines?: readonly string[];
}

/** New connections either reach the target by rules of the kernel, or are relayed by wakeport. */
export interface KernelRouteStatus {
  readonly open: boolean;
  /** Why new connections are relayed; absent if the target is not ready, or the route is open. */
  readonly reason?: string;
  /** Forwarded TCP connections; also part of `connections`. */
  readonly flows: number;
}

/** An entry of `ports` or `data`. */
export interface PortStatus {
  /** `*:2121`, or `*:30000-30009` for a range. */
  readonly listener: string;
  /** The first port of a range. */
  readonly target?: number;
  /** The number of ports of a range. */
  readonly count?: number;
  /** Whether only clients with an open connection may use the port. */
  readonly data?: true;
  /** The HTTP hosts that are routed to the service. */
  readonly host?: readonly string[];
  /** The TLS names that are routed to the service. */
  readonly sni?: readonly string[];
}

/** A current connection. */
export interface OpenConnection {
  readonly conn: number;
  /** Address and port. */
  readonly client: string;
  /** When the client connected. */
  readonly since: string;
  readonly state: "waiting" | "served";
  /** The process that serves only this client. */
  readonly pid?: number;
}

/** One service with its open connections, oldest first, at most 1,000. */
export interface ServiceDetails extends ServiceStatus, OutcomeCounts {
  readonly open: readonly OpenConnection[];
}

/** The engine behind the containers. */
export interface EngineStatus {
  readonly url: string;
  readonly up: boolean;
  /** Why the engine is not up, and what a socket proxy denies, each with a remedy; absent without problems. */
  readonly problems?: readonly string[];
}

/** A container without a service that other targets depend on. */
export interface UnnamedStatus {
  readonly target: string;
  readonly state: StateName | "missing";
  readonly cause: string;
  readonly since: string;
  readonly dependents: readonly string[];
  readonly kept_awake_by?: readonly string[];
  readonly idle_deadline?: string;
}

/** Sources that sensors banned from all services. */
export interface BansStatus {
  readonly count: number;
  /** The latest, at most 100. */
  readonly latest: readonly { readonly source: string; readonly until: string; readonly service: string }[];
}

export interface StatusReport {
  readonly version: string;
  /** Absent when no service needs an engine. */
  readonly engine?: EngineStatus;
  /** The thread that relays connections. */
  readonly data_plane?: DataPlaneView;
  /** Errors in labels of services; absent without `docker.discover`. */
  readonly label_problems?: readonly { readonly container: string; readonly problem: string }[];
  readonly services: readonly ServiceStatus[];
  readonly unnamed?: readonly UnnamedStatus[];
  /** Absent if no source is banned. */
  readonly bans?: BansStatus;
}

/** The runtime part of an enabled service. */
export interface LiveStatus {
  /** Undefined if the service has no target to start. */
  readonly view: ActivatorView | undefined;
  readonly connections: number;
  readonly waiting: number;
  /** Absent if the service is not forwarded. */
  readonly route?: { readonly isOpen: boolean; readonly reason?: string; readonly flows: number };
}

/** @param live undefined for a service that is not enabled */
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
    ...(live?.route && { kernel_route: routeStatus(live.route) }),
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

function routeStatus({ isOpen, reason, flows }: NonNullable<LiveStatus["route"]>): KernelRouteStatus {
  return { open: isOpen, ...(reason !== undefined && { reason }), flows };
}

function keptAwakeBy(view: ActivatorView | undefined): Pick<ServiceStatus, "kept_awake_by"> {
  return view === undefined || view.keptAwakeBy.length === 0 ? {} : { kept_awake_by: view.keptAwakeBy };
}

function portStatus(port: ServicePort, hasTarget: boolean): PortStatus {
  const { target, count } = port;
  return { listener: listenerName(port), ...(hasTarget && { target }), ...(count !== undefined && { count }) };
}

/** Returns the names that are routed to the service on this port. */
function routedNames({ names }: Service, { protocol }: ServicePort): Pick<PortStatus, "host" | "sni"> {
  return names === undefined || protocol === "udp" ? {} : { [names.kind]: names.patterns };
}

/** wakeport chooses the port of a process that inherits its listener. */
function hasFixedPort(service: Service): boolean {
  const { target } = service;
  return isWoken(service) && !(target.kind === "process" && target.listen.port === undefined);
}

function stateOf(view: ActivatorView): StateName | "missing" {
  return view.state === "asleep" && view.missing !== undefined ? "missing" : view.state;
}

const MAX_BANS_LISTED = 100;

/** @param bans oldest first */
export function bansStatus(bans: readonly Ban[]): Pick<StatusReport, "bans"> {
  if (bans.length === 0) return {};
  const latest = bans.slice(-MAX_BANS_LISTED).toReversed();
  return { bans: { count: bans.length, latest: latest.map((ban) => ({ ...ban, until: rfc3339(ban.until) })) } };
}

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

export function openConnection({ id, client, since, isServed, pid }: ConnectionView): OpenConnection {
  return {
    conn: id,
    client,
    since: rfc3339(since),
    state: isServed ? "served" : "waiting",
    ...(pid !== undefined && { pid }),
  };
}

const MAX_NAMES_SHOWN = 3;

/** `*:80`, or `*:80 host app.localhost, *.app.localhost` for a listener that routes by name. */
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
