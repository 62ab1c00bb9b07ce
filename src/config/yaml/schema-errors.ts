/** Makes messages and hints from the issues that the schema found. */
import type { z } from "zod";
import { defaultsKeys, serviceKeys } from "../keys/service-keys.ts";
import { jsonSchema } from "../schema.ts";
import type { Located, Path } from "./config-error.ts";
import { composeKeyHint, protocolHint, replacementOf } from "./foreign-keys.ts";
import { suggest } from "./suggest.ts";

/** A longer list of keys would hide the message. */
const MAX_KEYS_SHOWN = 12;

type Issue = z.core.$ZodIssue;
type IssueOf<Code extends Issue["code"]> = Extract<Issue, { code: Code }>;

/** Returns the problems of one issue. @param value the content of the whole file */
export function explain(issue: Issue, value: unknown): Located[] {
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => unknownKey(issue.path, key, value));
    case "invalid_union":
      return explainUnion(issue, value);
    case "invalid_type":
      return [wrongType(issue, value)];
    case "invalid_value":
      return [wrongValue(issue, value)];
    case "too_small":
      return [tooSmall(issue, value)];
    case "too_big":
      return [wrong(issue.path, value, `at most ${issue.maximum}`)];
    case "invalid_key":
      return issue.issues.map(({ message }) => ({ path: issue.path, message: `${place(issue.path)}: ${message}` }));
    default:
      return [{ path: issue.path, message: `${place(issue.path)}: ${issue.message}` }];
  }
}

/** A path as text: `"idle_timeout" of service "ftp"`. */
function place(path: Path): string {
  const [section, name, ...rest] = path.map(String);
  const key = rest.filter((part) => !/^\d+$/.test(part)).join(".");
  if (section === "services" && name !== undefined)
    return key === "" ? `service "${name}"` : `"${key}" of service "${name}"`;
  return section === undefined ? "the file" : `"${path.map(String).join(".")}"`;
}

function unknownKey(path: Path, key: string, value: unknown): Located {
  const message = `unknown key "${key}" in ${place(path)}`;
  return { path, key, message, ...hintOf(unknownKeyHint(path, key, value)) };
}

function unknownKeyHint(path: Path, key: string, value: unknown): string | undefined {
  const misplaced = misplacedKeyHint(path, key, value);
  if (misplaced !== undefined) return misplaced;
  const known = keysAt(path);
  const near = suggest(key, known);
  if (near === key) return "it cannot be combined with the other keys here";
  if (key === "name" && path.at(-1) === "container") return "write the name directly: container: NAME";
  const compose = namesContainer(path, value) ? composeKeyHint(key) : undefined;
  if (compose !== undefined) return compose;
  const replacement = path.length === 0 ? undefined : replacementOf(key);
  if (replacement !== undefined) return `use ${replacement}`;
  if (near !== undefined) return `did you mean "${near}"?`;
  if (path.length === 0 && isMapping(at(value, [key]))) return 'write it below "services:", indented';
  const section = sectionHint(path, key, known);
  if (section !== undefined) return section;
  if (known.length > MAX_KEYS_SHOWN) return "see docs/configuration.md for all keys";
  return known.length > 0 ? `known keys: ${known.join(", ")}` : undefined;
}

/** Returns a hint for a key that is valid in another section. */
function misplacedKeyHint(path: Path, key: string, value: unknown): string | undefined {
  if (path.length === 1 && path[0] === "defaults") {
    if (Object.hasOwn(record(at(value, ["services"])), key) || isMapping(at(value, [...path, key])))
      return `"defaults" contains settings: put service "${key}" under "services"`;
    if (Object.hasOwn(serviceKeys, key)) return `"${key}" belongs to one service: it cannot have a default`;
  }
  // A service may have the name of a key, such as "ftp".
  if (path.length === 0 && Object.hasOwn(serviceKeys, key) && at(value, [key, "ports"]) === undefined) {
    const orDefaults = Object.hasOwn(defaultsKeys, key) ? ', or in "defaults" for all' : "";
    return `write it in a service: services: { NAME: { ${key}: … } }${orDefaults}`;
  }
  return undefined;
}

/** Returns a hint for a key of a section at the same place: `rate`, which belongs to `limits`. */
function sectionHint(path: Path, key: string, sections: readonly string[]): string | undefined {
  const [section, ...others] = sections.filter((name) => keysAt([...path, name]).includes(key));
  if (section === undefined) return undefined;
  if (others.length === 0) return `write it in "${section}": ${section}: { ${key}: … }`;
  return `write it in ${listOf([section, ...others].map((name) => `"${name}"`))}`;
}

/** Returns whether `path` is a service whose container exists already, usually made by compose. */
function namesContainer(path: Path, value: unknown): boolean {
  if (path.length !== 2 || path[0] !== "services") return false;
  const container = at(value, [...path, "container"]);
  return typeof container === "string" || at(container, ["service"]) !== undefined;
}

function explainUnion(issue: IssueOf<"invalid_union">, value: unknown): Located[] {
  const { path } = issue;
  const branches = branchesOf(issue).map((issues) =>
    issues.map((inner) => ({ ...inner, path: [...path, ...inner.path] })),
  );
  // Of the branches whose type matches, the closest was intended: report its issues only.
  const matching = branches.filter((issues) => !issues.some((inner) => isWrongKind(inner, path)));
  const [intended] = matching.toSorted((a, b) => unknownKeysIn(a) - unknownKeysIn(b) || a.length - b.length);
  if (intended !== undefined) {
    // A missing key is a consequence of an unknown one.
    const unknown = intended.filter((inner) => inner.code === "unrecognized_keys");
    return (unknown.length > 0 ? unknown : intended).flatMap((inner) => explain(inner, value));
  }
  const expected = [...new Set(branches.flatMap((issues) => issues.flatMap(expectedBy)))];
  const got = at(value, path);
  if (got === undefined) return [missing(path)];
  const message = `${place(path)} is ${kindOf(got)}: expected ${listOf(expected)}`;
  return [{ path, message, ...hintOf(unionHint(path, got, expected)) }];
}

/** @param expected what each branch accepts */
function unionHint(path: Path, got: unknown, expected: readonly string[]): string | undefined {
  // Values of this type are names: a number or "true" needs quotes.
  const isText = expected.includes("text") && !expected.includes("a list");
  if (isText && (typeof got === "number" || typeof got === "boolean")) return quotesHint(got);
  if (path.at(-1) === "hold" && got === "loading") return removedHoldLoading;
  if (path.includes("ready") && typeof got === "string" && got.startsWith("/")) return `write { http: ${got} }`;
  const example = path.includes("ready") && typeof got === "string" ? probeExamples.get(got) : undefined;
  if (example !== undefined) return `write ${example}`;
  if ((path.includes("ports") || path.includes("data")) && isMapping(got)) return shortPortHint(record(got));
  const near = typeof got === "string" ? suggest(got, expected.map(unquote)) : undefined;
  return near && `did you mean "${near}"?`;
}

/** Probes that need a value. */
const probeExamples: ReadonlyMap<string, string> = new Map([
  ["http", "{ http: /path }"],
  ["banner", '{ banner: "220" }'],
  ["log", '{ log: "regular expression" }'],
]);

/** Hint for a value of `hold` that existed before version 0.1.0. */
const removedHoldLoading = 'use "auto": clients of Redis wait until the target is ready';

/** Hint for the long syntax of compose. */
function shortPortHint({ host_ip, published, target, protocol }: Record<string, unknown>): string | undefined {
  const parts = [host_ip, published ?? target, target].filter((part) => part !== undefined);
  return parts.length < 2 ? undefined : `write "${parts.join(":")}${protocol === "udp" ? "/udp" : ""}"`;
}

/** Returns the issues of each branch. A branch that is a union itself counts as several. */
function branchesOf(issue: IssueOf<"invalid_union">): Issue[][] {
  return issue.errors.flatMap((issues) => {
    const [only, ...others] = issues;
    const isUnion = only?.code === "invalid_union" && only.path.length === 0 && others.length === 0;
    return isUnion ? branchesOf(only) : [issues];
  });
}

function unknownKeysIn(issues: readonly Issue[]): number {
  return issues.flatMap((issue) => (issue.code === "unrecognized_keys" ? issue.keys : [])).length;
}

function isWrongKind(issue: Issue, path: Path): boolean {
  const isAboutWhole = issue.path.length === path.length;
  return isAboutWhole && (issue.code === "invalid_type" || issue.code === "invalid_value");
}

function expectedBy(issue: Issue): string[] {
  if (issue.code === "invalid_type") return [typeName(issue.expected)];
  if (issue.code === "invalid_value") return issue.values.map((value) => JSON.stringify(value));
  return [];
}

function wrongType(issue: IssueOf<"invalid_type">, value: unknown): Located {
  const got = at(value, issue.path);
  if (got === undefined) return missing(issue.path);
  if (!issue.message.startsWith("Invalid input"))
    return { path: issue.path, message: `${place(issue.path)}: ${issue.message}` };
  const hint = typeHint(issue.expected, issue.path, got, value);
  return { ...wrong(issue.path, value, typeName(issue.expected)), ...hintOf(hint) };
}

/** Returns how to write the value as the expected type, or undefined. */
function typeHint(expected: string, path: Path, got: unknown, value: unknown): string | undefined {
  const text = typeof got === "string" ? got.trim().toLowerCase() : "";
  switch (expected) {
    case "string":
      return typeof got === "number" || typeof got === "boolean" ? quotesHint(got) : undefined;
    case "boolean":
      if (["yes", "on", "true"].includes(text)) return "write true";
      return ["no", "off", "false"].includes(text) ? "write false" : undefined;
    case "number":
    case "int":
      return /^-?\d+(\.\d+)?$/.test(text) ? `write it without quotes: ${text}` : undefined;
    case "array":
      return listHint(isMapping(got) ? Object.keys(record(got)) : [got]);
    default:
      return mappingHint(path, got, value);
  }
}

function listHint(entries: readonly unknown[]): string | undefined {
  return entries.length === 0 ? undefined : `write a list: [${entries.join(", ")}]`;
}

function mappingHint(path: Path, got: unknown, value: unknown): string | undefined {
  if (path.length === 1 && path[0] === "services") return "write each service under its name: NAME: { … }";
  if (path.length === 2 && path[0] === "services") {
    if (got === null) return "write its keys below it, indented further";
    // An empty service and a key at its level: the keys are not indented further than the name.
    const isBesideEmpty = Object.values(record(at(value, ["services"]))).includes(null);
    const isKey = Object.hasOwn(serviceKeys, String(path[1]));
    return isKey && isBesideEmpty ? "indent this key further than the name of its service" : undefined;
  }
  const keys = keysAt(path);
  if (keys.length > MAX_KEYS_SHOWN || path.length === 0) return undefined;
  if (keys.length > 0) return `known keys: ${keys.join(", ")}`;
  return path.length > 2 ? "write it as { NAME: value }" : undefined;
}

function quotesHint(value: number | boolean): string {
  return `write it in quotes: "${String(value)}"`;
}

function tooSmall({ path, origin, minimum }: IssueOf<"too_small">, value: unknown): Located {
  if (origin === "array") return { path, message: `${place(path)} is an empty list` };
  if (origin === "string") return { path, message: `${place(path)} is empty` };
  return wrong(path, value, `at least ${minimum}`);
}

function wrong(path: Path, value: unknown, expected: string): Located {
  return { path, message: `${place(path)} is ${kindOf(at(value, path))}: expected ${expected}` };
}

function wrongValue(issue: IssueOf<"invalid_value">, value: unknown): Located {
  const got = at(value, issue.path);
  const known = issue.values.map(String);
  const near = typeof got === "string" ? suggest(got, known) : undefined;
  const hint = issue.path.at(-1) === "protocol" ? protocolHint(got, near) : undefined;
  const expected = listOf(known.map((name) => `"${name}"`));
  return { ...wrong(issue.path, value, expected), ...hintOf(hint ?? (near && `did you mean "${near}"?`)) };
}

function missing(path: Path): Located {
  const parent = path.slice(0, -1);
  if (typeof path.at(-1) === "number") return { path: parent, message: `${place(parent)} is an empty list` };
  return { path: parent, message: `${place(parent)} needs "${String(path.at(-1))}"` };
}

function hintOf(hint: string | undefined): { hint?: string } {
  return hint ? { hint } : {};
}

/** Created for the first error: it takes longer than the check of a small file. */
let schema: object | undefined;

/** Returns the keys that the schema accepts at a path. */
function keysAt(path: Path): string[] {
  schema ??= jsonSchema();
  let found: unknown[] = [schema];
  for (const part of path) {
    found = found.flatMap(alternatives).flatMap((one) => {
      const next = at(one, ["properties", part]) ?? at(one, ["additionalProperties"]) ?? at(one, ["items"]);
      return next === undefined ? [] : [next];
    });
  }
  return found.flatMap(alternatives).flatMap((one) => Object.keys(record(at(one, ["properties"]))));
}

function alternatives(one: unknown): unknown[] {
  const anyOf = at(one, ["anyOf"]);
  return Array.isArray(anyOf) ? anyOf.flatMap(alternatives) : [one];
}

function at(value: unknown, path: Path): unknown {
  return path.reduce((current: unknown, part) => {
    const found = record(current);
    return Object.hasOwn(found, part) ? found[String(part)] : undefined;
  }, value);
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function isMapping(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function kindOf(value: unknown): string {
  if (value === null) return "empty";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "a mapping" : JSON.stringify(value);
}

const typeNames: Readonly<Record<string, string>> = {
  string: "text",
  boolean: "true or false",
  object: "a mapping",
  record: "a mapping",
  array: "a list",
  int: "a whole number",
  tuple: "a list",
};

function typeName(expected: string): string {
  return typeNames[expected] ?? `a ${expected}`;
}

function listOf(items: readonly string[]): string {
  return items.length < 2 ? (items[0] ?? "another value") : `${items.slice(0, -1).join(", ")} or ${items.at(-1)}`;
}

function unquote(text: string): string {
  return text.replace(/^"|"$/g, "");
}
