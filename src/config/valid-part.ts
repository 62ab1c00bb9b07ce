/** Keeps the valid part of a refused file, so that checks between services run although its schema has errors. */
import type { z } from "zod";
import { serviceKeys } from "./schema.ts";
import { foreignKey } from "./yaml/foreign-keys.ts";
import { suggest } from "./yaml/suggest.ts";

export interface Salvaged {
  /** The content without refused keys, unusable services and unusable sections. */
  readonly value: unknown;
  /** Services that lost a known key: further errors of these may be a consequence. */
  readonly trimmed: ReadonlySet<string>;
}

type Issue = z.core.$ZodIssue;
type Content = Readonly<Record<string, unknown>>;

const targetKeys = ["container", "process", "inetd", "forward", "builtin", "sensor"] as const;

/** Removes the keys that have `issues`. @returns undefined if no services remain to check */
export function salvage(value: unknown, issues: readonly Issue[]): Salvaged | undefined {
  if (!isMapping(value) || !isMapping(value["services"])) return undefined;
  const broken = new Set(issues.flatMap(({ path: [section] }) => (section === undefined ? [] : [String(section)])));
  const unknown = new Set(issues.flatMap((issue) => (issue.path.length === 0 ? unknownKeys(issue) : [])));
  const sections = Object.entries(value).filter(
    ([name]) => name !== "services" && !broken.has(name) && !unknown.has(name),
  );
  const trimmed = new Set<string>();
  const services = Object.entries(value["services"]).flatMap(([name, service]) => {
    const own = issues.filter(({ path }) => path[0] === "services" && path[1] === name);
    const kept = own.length === 0 ? service : withoutRefused(name, service, own, trimmed);
    return kept === undefined ? [] : [[name, kept]];
  });
  return { value: { ...Object.fromEntries(sections), services: Object.fromEntries(services) }, trimmed };
}

/** Removes the services that have `issues`. */
export function withoutServices({ value, trimmed }: Salvaged, issues: readonly Issue[]): Salvaged {
  if (!isMapping(value) || !isMapping(value["services"])) return { value, trimmed };
  const refused = new Set(issues.map(({ path }) => String(path[1])));
  const services = Object.entries(value["services"]).filter(([name]) => !refused.has(name));
  return { value: { ...value, services: Object.fromEntries(services) }, trimmed };
}

/** Undefined for a service that is refused as a whole. */
function withoutRefused(name: string, service: unknown, issues: readonly Issue[], trimmed: Set<string>): unknown {
  if (!isMapping(service)) return undefined;
  const refused = new Set<string>();
  for (const issue of issues) {
    const key = issue.path[2];
    const keys = key === undefined ? unknownKeys(issue) : [String(key)];
    if (keys.length === 0) return undefined;
    if (key !== undefined) trimmed.add(name);
    for (const one of keys) refused.add(one);
  }
  // Without its names, a port that the service shares would look like a conflict.
  if ([...refused].some(mayBeNames)) return undefined;
  const kept = Object.fromEntries(Object.entries(service).filter(([key]) => !refused.has(key)));
  if (targetKeys.some((key) => key in kept)) return kept;
  // A unique target, because the ports of a service are compared only if it has one.
  trimmed.add(name);
  return { ...kept, container: `${name}.unusable` };
}

/** Whether a refused key is, or resembles, a key by which services share a port. */
function mayBeNames(key: string): boolean {
  const meant = suggest(key, [...serviceKeys]) ?? foreignKey(key)?.split(":")[0];
  return meant === "host" || meant === "sni";
}

function unknownKeys(issue: Issue): readonly string[] {
  return issue.code === "unrecognized_keys" ? issue.keys : [];
}

function isMapping(value: unknown): value is Content {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
