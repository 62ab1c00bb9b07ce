import type { ContainerReference, TargetSpec } from "./config.ts";
import { maskCommand } from "./mask.ts";
import { formatDuration } from "./values/units.ts";

/** In characters. Commands are shown in tables and log lines. */
const MAX_COMMAND = 50;

/** Returns a short text: `container vsftpd`, `container web (nginx:1.27)` if created, `process node server.js`, `builtin echo`. */
export function describeTarget(spec: TargetSpec): string {
  if (spec.kind === "process") return `process ${shorten(spec.command)}`;
  if (spec.kind === "inetd") return `inetd ${shorten(spec.command)}`;
  if (spec.kind === "created") return `container ${spec.service} (${spec.image})`;
  if (spec.kind === "forward") return `${spec.host.includes(":") ? `[${spec.host}]` : spec.host}:${spec.port}`;
  if (spec.kind === "builtin") return `builtin ${spec.builtin}`;
  if (spec.kind === "sensor") return `sensor (ban ${formatDuration(spec.banMs)})`;
  return describeReference(spec.reference);
}

function shorten(command: readonly string[]): string {
  const text = maskCommand(command)
    .map((part) => part.split("/").pop())
    .join(" ");
  return text.length > MAX_COMMAND ? `${text.slice(0, MAX_COMMAND - 1)}…` : text;
}

/** Returns a short text: `container vsftpd`, `container shop/db`. */
export function describeReference(reference: ContainerReference): string {
  if ("service" in reference) return `container ${[reference.project, reference.service].filter(Boolean).join("/")}`;
  // Docker shows 12 digits of an id.
  return `container ${/^[0-9a-f]{64}$/.test(reference.name) ? reference.name.slice(0, 12) : reference.name}`;
}
