/** The valid part of a file with schema errors, on which the checks between services still run. */
import type { z } from "zod";
import { targetKinds } from "./keys/key.ts";
import { serviceKeys } from "./keys/service-keys.ts";
import { replacementOf } from "./yaml/foreign-keys.ts";
import { suggest } from "./yaml/suggest.ts";

export interface ValidPart {
  /** The content without invalid keys, services and sections. */
  readonly value: unknown;
  /** Services that lost a known or misspelt key: their other errors may be a consequence. */
  readonly trimmed: ReadonlySet<string>;
}

type Issue = z.core.$ZodIssue;
type Content = Readonly<Record<string, unknown>>;

/** Removes the keys that have `issues`. @returns undefined if no services remain */
export function validPartOf(value: unknown, issues: readonly Issue[]): ValidPart | undefined {
  if (!isMapping(value) || !isMapping(value["services"])) return undefined;
  const invalid = new Set(issues.flatMap(({ path: [section] }) => (section === undefined ? [] : [String(section)])));
  const unknown = new Set(issues.flatMap((issue) => (issue.path.length === 0 ? unknownKeys(issue) : [])));
  const sections = Object.entries(value).filter(
    ([name]) => name !== "services" && !invalid.has(name) && !unknown.has(name),
  );
  const trimmed = new Set<string>();
  const services = Object.entries(value["services"]).flatMap(([name, service]) => {
    const own = issues.filter(({ path }) => path[0] === "services" && path[1] === name);
    const kept = own.length === 0 ? service : withoutInvalidKeys(name, service, own, trimmed);
    return kept === undefined ? [] : [[name, kept]];
  });
  return { value: { ...Object.fromEntries(sections), services: Object.fromEntries(services) }, trimmed };
}

/** Removes the services that have `issues`. */
export function withoutServices({ value, trimmed }: ValidPart, issues: readonly Issue[]): ValidPart {
  if (!isMapping(value) || !isMapping(value["services"])) return { value, trimmed };
  const invalid = new Set(issues.map(({ path }) => String(path[1])));
  const services = Object.entries(value["services"]).filter(([name]) => !invalid.has(name));
  return { value: { ...value, services: Object.fromEntries(services) }, trimmed };
}

/** Returns undefined if the whole service is invalid. */
function withoutInvalidKeys(name: string, service: unknown, issues: readonly Issue[], trimmed: Set<string>): unknown {
  if (!isMapping(service)) return undefined;
  const invalid = new Set<string>();
  for (const issue of issues) {
    const key = issue.path[2];
    const keys = key === undefined ? unknownKeys(issue) : [String(key)];
    if (keys.length === 0) return undefined;
    if (key !== undefined || keys.some(mayBeWakingKey)) trimmed.add(name);
    for (const one of keys) invalid.add(one);
  }
  // Without its names, a shared port would be reported as a conflict.
  if ([...invalid].some(mayBeNameKey)) return undefined;
  const kept = Object.fromEntries(Object.entries(service).filter(([key]) => !invalid.has(key)));
  if (targetKinds.some((key) => key in kept)) return kept;
  // The ports of a service are compared only if it has a target.
  trimmed.add(name);
  return { ...kept, container: `${name}.unusable` };
}

/** Returns whether a key is similar to a key by which services share a port. */
function mayBeNameKey(key: string): boolean {
  return ["host", "sni"].includes(intendedKey(key));
}

/** Returns whether a key is similar to a key that makes a service wakeable. */
function mayBeWakingKey(key: string): boolean {
  return ["ports", "with", "group"].includes(intendedKey(key));
}

function intendedKey(key: string): string {
  return suggest(key, Object.keys(serviceKeys)) ?? replacementOf(key)?.split(":")[0] ?? key;
}

function unknownKeys(issue: Issue): readonly string[] {
  return issue.code === "unrecognized_keys" ? issue.keys : [];
}

function isMapping(value: unknown): value is Content {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
