import { formatListener, type ServiceStatus } from "../../admin/api.ts";
import { formatRange } from "../../config/values/ports.ts";
import { formatDuration } from "../../config/values/units.ts";
import { printable } from "../../net/escape.ts";

/** Returns one line per port. The first line of a service also has its state, if known, and its timeouts. */
export function formatPlan(services: readonly PlannedService[]): string[] {
  return table(services.flatMap(rowsOf)).map((line) => `  ${line}`);
}

type PlannedService = Omit<ServiceStatus, "state"> & { readonly state?: ServiceStatus["state"] };

function rowsOf(service: PlannedService): string[][] {
  const { name, ports, target, state, idle_timeout_ms, start_timeout_ms } = service;
  const idle = idle_timeout_ms === undefined ? "" : `idle ${formatDuration(idle_timeout_ms)}`;
  const start = start_timeout_ms === undefined ? "" : `start ≤ ${formatDuration(start_timeout_ms)}`;
  const rest = [...(state === undefined ? [] : [state]), idle, start];
  if (ports.length === 0) return [[name, `${startedBy(service)} → ${target}`, ...rest]];
  return ports.map((port, index) => {
    const route = `${formatListener(port)} → ${target}${port.target === undefined ? "" : `:${formatRange(port.target, port.count)}`}${port.data ? " (data)" : ""}`;
    return index === 0 ? [name, route, ...rest] : ["", route];
  });
}

/** Returns the services or the group that start a service without ports. */
function startedBy({ with: leaders = [], group }: PlannedService): string {
  const wakers = [leaders.length > 0 && `with ${leaders.join(", ")}`, group !== undefined && `group ${group}`];
  return wakers.filter((part) => part !== false).join(", ") || "no ports";
}

/** Pads columns to the same width and escapes their text. */
export function table(cells: readonly (readonly string[])[]): string[] {
  const rows = cells.map((row) => row.map(printable));
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("   ")
      .trimEnd(),
  );
}
