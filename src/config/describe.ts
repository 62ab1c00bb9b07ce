import type { ContainerReference, TargetSpec } from "./config.ts";
import { maskCommand } from "./mask.ts";
import { formatDuration } from "./values/units.ts";

/** In characters; it is one column of tables, and in many lines of the log. */
const MAX_COMMAND = 50;

/** For people: `container vsftpd`, `container web (nginx:1.27)` for one made on demand, `process node server.js`, `builtin echo`. */
export function describeTarget(spec: TargetSpec): string {
  if (spec.kind === "process") return `process ${inShort(spec.command)}`;
  if (spec.kind === "inetd") return `inetd ${inShort(spec.command)}`;
  if (spec.kind === "created") return `container ${spec.service} (${spec.image})`;
  if (spec.kind === "forward") return `${spec.host.includes(":") ? `[${spec.host}]` : spec.host}:${spec.port}`;
  if (spec.kind === "builtin") return `builtin ${spec.builtin}`;
  if (spec.kind === "sensor") return `sensor (ban ${formatDuration(spec.banMs)})`;
  return describeReference(spec.reference);
}

function inShort(command: readonly string[]): string {
  const words = maskCommand(command)
    .map((part) => part.split("/").pop())
    .join(" ");
  return words.length > MAX_COMMAND ? `${words.slice(0, MAX_COMMAND - 1)}…` : words;
}

/** For people: `container vsftpd`, `container shop/db`. */
export function describeReference(reference: ContainerReference): string {
  if ("service" in reference) return `container ${[reference.project, reference.service].filter(Boolean).join("/")}`;
  // An id as people write it.
  return `container ${/^[0-9a-f]{64}$/.test(reference.name) ? reference.name.slice(0, 12) : reference.name}`;
}
