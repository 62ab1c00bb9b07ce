/** Everything that wakeport knows of itself at one moment: what SIGUSR2 logs, as xinetd's state dump. */
import { isWoken, type Service } from "../config/config.ts";
import { type AccessTimes, formatTimes } from "../config/keys/access-times.ts";
import { formatRange } from "../config/keys/ports.ts";
import { formatRate, type Rate } from "../config/keys/rates.ts";
import { formatDuration } from "../config/keys/units.ts";
import { maskUrl } from "../config/mask.ts";
import { printable } from "../net/escape.ts";
import { formatNetwork, type Network } from "../net/ip.ts";
import { type Counts, formatCounts, type OutcomeCounts } from "../telemetry/tally.ts";
import { listenerWords, type OpenConnection, type PortStatus, type ServiceStatus, type StatusReport } from "./api.ts";

/** More connections than this are counted, not listed, in all: the dump is written in one piece. */
const MAX_LISTED = 1_000;

/** How much of a banner is told, in characters. */
const MAX_BANNER = 200;

/** What a service without a target to wake has no use for. */
const WOKEN_ONLY: ReadonlySet<string> = new Set([
  "ready",
  "idleTimeoutMs",
  "sleep",
  "thenStop",
  "minUptimeMs",
  "directTrafficBytes",
  "stopGraceMs",
  "releasePace",
  "wakeOn",
  "udp",
  "dependsOn",
  "group",
]);

export interface StateReport extends Omit<StatusReport, "services"> {
  readonly pid: number;
  /** Since when it serves. */
  readonly since: string;
  readonly connections: number;
  readonly connection_limit: number;
  readonly services: readonly ServiceState[];
}

export interface ServiceState extends ServiceStatus {
  /** As the configuration has them; durations end in "Ms" and are milliseconds. */
  readonly policies: Readonly<Record<string, unknown>>;
  /** How connections ended so far. */
  readonly outcomes: Counts;
  /** Why clients were turned away so far. */
  readonly denials: Counts;
  /** Connections under way; of all services together no more than a thousand are listed. */
  readonly open: readonly OpenConnection[];
}

/** What is put together to a StateReport. */
export interface StateParts {
  readonly status: StatusReport;
  readonly pid: number;
  /** Unix time in milliseconds. */
  readonly since: number;
  readonly connections: number;
  readonly connectionLimit: number;
  readonly services: readonly Service[];
  readonly tallied: (service: string) => OutcomeCounts;
  /** The first `most` of a service's connections. */
  readonly open: (service: string, most: number) => readonly OpenConnection[];
}

export function stateReport(parts: StateParts): StateReport {
  const { status, pid, since, connections, connectionLimit, tallied } = parts;
  const configured = new Map(parts.services.map((service) => [service.name, service]));
  let places = MAX_LISTED;
  const services = status.services.map((service): ServiceState => {
    const open = parts.open(service.name, places);
    places -= open.length;
    return { ...service, policies: policiesOf(configured.get(service.name)), ...tallied(service.name), open };
  });
  const at = new Date(since).toISOString();
  return { ...status, pid, since: at, connections, connection_limit: connectionLimit, services };
}

/** The report for people, a line each. */
export function stateLines(report: StateReport): string[] {
  const { version, pid, since, connections, connection_limit: limit, engine, services } = report;
  const { label_problems: labels = [], unnamed = [], bans } = report;
  return [
    `state of wakeport ${version}, pid ${pid}, which serves since ${since}`,
    `connections = ${connections} of at most ${limit}`,
    ...(engine === undefined ? [] : [`engine = ${engine.url}, ${engine.up ? "up" : "down"}`]),
    ...(engine?.problems ?? []).map((problem) => `engine problem = ${problem}`),
    ...(bans === undefined ? [] : [`bans = ${bans.count}`]),
    ...indented((bans?.latest ?? []).map(({ source, until }) => `${source} until ${until}`)),
    ...services.flatMap(serviceLines),
    ...unnamed.flatMap(({ target, state, cause, since: at, dependents, kept_awake_by = [] }) => [
      target,
      ...indented([
        `state = ${state}: ${cause}, since ${at}`,
        ...list("needed by", dependents),
        ...list("kept awake by", kept_awake_by),
      ]),
    ]),
    ...labels.map(({ container, problem }) => `label problem = ${container}: ${problem}`),
    "end of state",
  ].map(printable);
}

function serviceLines(service: ServiceState): string[] {
  const { name, state, cause, since, target, ports, policies, connections, waiting, open } = service;
  const listeners = ports.map(wayWords);
  const rest = connections + waiting - open.length;
  return [
    `service ${name}`,
    ...indented([
      `state = ${state}${cause === undefined ? "" : `: ${cause}`}${since === undefined ? "" : `, since ${since}`}`,
      `target = ${target}`,
      ...list("ports", listeners),
      ...list("needed by", service.dependents),
      ...list("kept awake by", service.kept_awake_by ?? []),
      ...list("waits for", service.pending ?? []),
      ...optional("sleeps at", service.idle_deadline),
      ...optional("last activity", service.last_activity),
      ...optional("no start before", service.cooldown_until),
      ...optional("last error", service.last_error),
      ...Object.entries(policies).map(([key, value]) => policyLine(key, value)),
      `ended = ${formatCounts(service.outcomes) || "none"}`,
      `denied = ${formatCounts(service.denials) || "none"}`,
      `connections = ${connections} served, ${waiting} waiting`,
      ...indented(open.map(connectionLine)),
      ...(rest > 0 && open.length > 0 ? indented([`and ${rest} more`]) : []),
    ]),
  ];
}

function wayWords(port: PortStatus): string {
  const { target, count, data } = port;
  const way = `${listenerWords(port)}${target === undefined ? "" : ` to ${formatRange(target, count)}`}`;
  return data ? `${way} (data)` : way;
}

function connectionLine({ conn, client, state, since, pid }: OpenConnection): string {
  return `${client} ${state} since ${since}, conn ${conn}${pid === undefined ? "" : `, pid ${pid}`}`;
}

/** What the configuration says of a service besides where it listens and what it leads to. */
function policiesOf(service: Service | undefined): Readonly<Record<string, unknown>> {
  if (service === undefined) return {};
  const {
    name: _name,
    ports: _ports,
    names: _names,
    data: _data,
    target: _target,
    enabled: _enabled,
    ...policies
  } = service;
  const meant = Object.entries(policies).filter(([key]) => isWoken(service) || !WOKEN_ONLY.has(key));
  return Object.fromEntries(meant.map(([key, value]) => [key, written(value)]));
}

/** As somebody would write it: networks, times and rates as text, and the beginning of banners. */
function written(value: unknown): unknown {
  if (typeof value === "string") return maskUrl(value);
  if (typeof value !== "object" || value === null) return value;
  if (Buffer.isBuffer(value)) return value.toString().slice(0, MAX_BANNER);
  if (isNetwork(value)) return formatNetwork(value);
  if (isTimes(value)) return formatTimes(value);
  if (isRate(value)) return formatRate(value);
  if (Array.isArray(value)) return value.map(written);
  // Values of headers may be secrets.
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [key, key === "headers" ? Object.keys(one) : written(one)]),
  );
}

/** `idleTimeoutMs: 300000` is "idle timeout = 5m". */
function policyLine(key: string, value: unknown): string {
  return `${keyWords(key)} = ${valueWords(key, value)}`;
}

function keyWords(key: string): string {
  return key.replace(/Ms$/, "").replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function valueWords(key: string, value: unknown): string {
  if (typeof value === "number" && key.endsWith("Ms")) return formatDuration(value);
  if (typeof value === "string" && key !== "") return /\s/.test(value) ? JSON.stringify(value) : value;
  if (typeof value !== "object" || value === null) return String(value);
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.map((one) => valueWords("", one)).join("; ");
  const entries = Object.entries(value).map(([name, one]) => `${keyWords(name)} ${valueWords(name, one)}`);
  return entries.length === 0 ? "none" : entries.join(", ");
}

function isTimes(value: object): value is AccessTimes {
  return "days" in value && "spans" in value;
}

function isRate(value: object): value is Rate {
  return "count" in value && "perMs" in value;
}

function isNetwork(value: object): value is Network {
  return "bytes" in value && "family" in value && "prefix" in value;
}

function list(key: string, values: readonly string[]): string[] {
  return values.length === 0 ? [] : [`${key} = ${values.join(", ")}`];
}

function optional(key: string, value: string | undefined): string[] {
  return value === undefined ? [] : [`${key} = ${value}`];
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => `    ${line}`);
}
