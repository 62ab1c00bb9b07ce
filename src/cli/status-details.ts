/** The report of `wakeport status SERVICE`, for people. */
import {
  formatListener,
  type KernelRouteStatus,
  type OpenConnection,
  type PortStatus,
  type ServiceDetails,
} from "../admin/api.ts";
import { formatRange } from "../config/values/ports.ts";
import { formatDuration } from "../config/values/units.ts";
import { printable } from "../net/escape.ts";
import { table } from "./check/plan.ts";

/** Further clients are only counted. */
const MAX_CLIENTS_SHOWN = 20;

/** One fact per line; facts that a service does not have are left out. `now` is Unix time in milliseconds. */
export function formatDetails(service: ServiceDetails, now: number): string {
  const { name, state, cause, since, target, ports, connections, waiting, open, group } = service;
  const { with: leaders = [], pending = [], kept_awake_by = [], dependents, last_lines = [] } = service;
  const rows = [
    ...row("state", [state, cause !== state && cause, since && `for ${ago(since, now)}`].filter(Boolean).join(", ")),
    ...row("target", target),
    ...rowsOf("ports", ports.map(formatPort)),
    ...row("woken with", leaders.join(", ")),
    ...row("group", group),
    ...row("connections", `${connections} served, ${waiting} waiting`),
    ...row("kernel route", service.kernel_route && formatRoute(service.kernel_route)),
    ...row("waiting for", pending.join(", ")),
    ...row("kept awake by", kept_awake_by.join(", ")),
    ...row("needed by", dependents.join(", ")),
    ...row("sleeps in", service.idle_deadline && inTime(service.idle_deadline, now)),
    ...row("idle timeout", service.idle_timeout_ms && formatDuration(service.idle_timeout_ms)),
    ...row("start timeout", service.start_timeout_ms && formatDuration(service.start_timeout_ms)),
    ...row("last activity", service.last_activity && `${ago(service.last_activity, now)} ago`),
    ...row("next start in", service.cooldown_until && inTime(service.cooldown_until, now)),
    ...row("last error", service.last_error),
    ...rowsOf("last output", last_lines),
    ...row("ended so far", formatCounts(service.outcomes)),
    ...row("denied so far", formatCounts(service.denials)),
    ...rowsOf("clients", clientLines(open, connections + waiting, now)),
  ];
  return [printable(name), ...table(rows).map((line) => `  ${line}`)].join("\n");
}

/** `2 address, 1 rate`; empty if there are no counts. */
function formatCounts(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([key, count]) => `${count} ${key}`)
    .join(", ");
}

function formatRoute({ open, reason, flows }: KernelRouteStatus): string {
  const state = open ? "open" : `closed${reason === undefined ? "" : `: ${reason}`}`;
  return flows === 0 ? state : `${state}, ${flows} forwarded connection${flows === 1 ? "" : "s"}`;
}

function row(key: string, value: string | 0 | undefined): string[][] {
  return value ? [[key, value]] : [];
}

/** Returns a row for each value. Only the first one has the key. */
function rowsOf(key: string, values: readonly string[]): string[][] {
  return values.map((value, index) => [index === 0 ? key : "", value]);
}

function formatPort(port: PortStatus): string {
  const { target, count, data } = port;
  return `${formatListener(port)}${target === undefined ? "" : ` → ${formatRange(target, count)}`}${data ? " (data)" : ""}`;
}

function clientLines(open: readonly OpenConnection[], count: number, now: number): string[] {
  const shown = open.slice(0, MAX_CLIENTS_SHOWN);
  const rows = shown.map(({ client, state, since, pid }) => {
    return `${client} ${state} for ${ago(since, now)}${pid === undefined ? "" : ` (pid ${pid})`}`;
  });
  const more = count - shown.length;
  return more > 0 && shown.length > 0 ? [...rows, `and ${more} more`] : rows;
}

function ago(time: string, now: number): string {
  return duration(now - Date.parse(time));
}

function inTime(time: string, now: number): string {
  return duration(Date.parse(time) - now);
}

/** Rounds to seconds. A negative duration, as with another clock, is 0. */
export function duration(ms: number): string {
  return formatDuration(Math.max(0, Math.round(ms / 1000) * 1000));
}
