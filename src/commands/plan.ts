import { frontWords, type ServiceStatus } from "../admin/api.ts";
import { formatRange } from "../config/ports.ts";
import { formatDuration } from "../config/units.ts";

/** One line a port: where it listens and where that leads; on a service's first line its state, if known, and times. */
export function planLines(services: readonly PlannedService[]): string[] {
  return table(services.flatMap(rowsOf)).map((line) => `  ${line}`);
}

type PlannedService = Omit<ServiceStatus, "state"> & { readonly state?: ServiceStatus["state"] };

function rowsOf({ name, ports, target, state, idle_timeout_ms, start_timeout_ms }: PlannedService): string[][] {
  const idle = idle_timeout_ms === undefined ? "" : `idle ${formatDuration(idle_timeout_ms)}`;
  const start = start_timeout_ms === undefined ? "" : `start ≤ ${formatDuration(start_timeout_ms)}`;
  return ports.map((port, index) => {
    const way = `${frontWords(port)} → ${target}${port.target === undefined ? "" : `:${formatRange(port.target, port.count)}`}${port.data ? " (data)" : ""}`;
    return index === 0 ? [name, way, ...(state === undefined ? [] : [state]), idle, start] : ["", way];
  });
}

/** Pads columns to the same width. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("   ")
      .trimEnd(),
  );
}
