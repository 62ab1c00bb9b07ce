import type { Service, TargetSpec } from "./config.ts";
import { formatDuration } from "./units.ts";

/** For people: `container vsftpd`, `process node server.js`. */
export function describeTarget(spec: TargetSpec): string {
  if (spec.kind === "process") return `process ${spec.command.map((part) => part.split("/").pop()).join(" ")}`;
  const { reference } = spec;
  return "name" in reference
    ? `container ${reference.name}`
    : `container ${[reference.project, reference.service].filter(Boolean).join("/")}`;
}

/** The times of a service in words. */
export function describePolicy({ idleTimeoutMs, startTimeoutMs }: Service): string {
  return `idle ${formatDuration(idleTimeoutMs)}   start ≤ ${formatDuration(startTimeoutMs)}`;
}
