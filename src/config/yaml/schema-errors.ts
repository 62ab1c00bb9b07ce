/** Puts what the schema found into words that a person can act on. */
import type { z } from "zod";
import { defaultsKeys, jsonSchema, serviceKeys } from "../schema.ts";
import { composeKey, foreignKey, foreignProtocol } from "./foreign-keys.ts";
import { suggest } from "./suggest.ts";

/** A longer list of keys would hide the message. */
const MAX_KEYS_SHOWN = 12;

export type Path = readonly PropertyKey[];

/** A problem that still names its place by path; `key` is set when it is about a key itself, not about its value. */
export interface Located {
  readonly path: Path;
  readonly key?: string;
  readonly message: string;
  readonly hint?: string;
}

/** Takes a problem down. */
export type Report = (problem: Located) => void;

type Issue = z.core.$ZodIssue;

/** The problems that one issue of the schema stands for. `value` is the whole file's content. */
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

/** A path in words: `"idle_timeout" of service "ftp"`. */
export function place(path: Path): string {
  const [section, name, ...rest] = path.map(String);
  const key = rest.filter((part) => !/^\d+$/.test(part)).join(".");
  if (section === "services" && name !== undefined)
    return key === "" ? `service "${name}"` : `"${key}" of service "${name}"`;
  return section === undefined
    ? "the file"
    : `"${[section, name, ...rest].filter((part) => part !== undefined).join(".")}"`;
}

function unknownKey(path: Path, key: string, value: unknown): Located {
  const message = `unknown key "${key}" in ${place(path)}`;
  return { path, key, message, ...hintOf(unknownKeyHint(path, key, value)) };
}

function unknownKeyHint(path: Path, key: string, value: unknown): string | undefined {
  const isTop = path.length === 0;
  if (path.length === 1 && path[0] === "defaults") {
    if (Object.hasOwn(record(at(value, ["services"])), key) || isMapping(at(value, [...path, key]))) {
      return `"defaults" holds settings, not services: put "${key}" under "services"`;
    }
    if (serviceKeys.has(key)) return `"${key}" belongs to one service: it cannot have a default`;
  }
  const near = suggest(key, keysAt(path));
  if (near === key) return "not together with the other keys here";
  if (key === "name" && path.at(-1) === "container") return "a name stands alone: container: NAME";
  if (standsAlone.has(key) && path.includes("ready"))
    return `it stands alone: "${key}", which asks the first of "ports"`;
  const compose = namesContainer(path, value) ? composeKey(key) : undefined;
  if (compose !== undefined) return compose;
  const home = homeOf(path, key, value);
  if (home !== undefined) return home;
  const meant = isTop ? undefined : foreignKey(key);
  if (meant !== undefined) return `here that is ${meant}`;
  if (near !== undefined) return `did you mean "${near}"?`;
  // A service may be called "ftp".
  if (isTop && serviceKeys.has(key) && at(value, [key, "ports"]) === undefined) {
    const orDefaults = defaultsKeys.has(key) ? ', or in "defaults" for all' : "";
    return `it belongs in a service: services: { NAME: { ${key}: … } }${orDefaults}`;
  }
  if (isTop && isMapping(at(value, [key]))) return `services go under "services:"`;
  if (path.length === 2 && path[0] === "services" && defaultsKeys.has(key.replaceAll("-", "_"))) {
    return `did you mean "${key.replaceAll("-", "_")}"?`;
  }
  const section = isTop ? sections.find((name) => keysAt([name]).includes(key)) : undefined;
  if (section !== undefined) return `it belongs in "${section}"`;
  const known = keysAt(path);
  if (known.length > MAX_KEYS_SHOWN) return "see compose/wakeport.reference.yaml, or wakeport schema, for all keys";
  return known.length > 0 ? `known here: ${known.join(", ")}` : undefined;
}

/** Whether `path` is a service whose container is made by others, usually compose. */
function namesContainer(path: Path, value: unknown): boolean {
  if (path.length !== 2 || path[0] !== "services") return false;
  const container = at(value, [...path, "container"]);
  return typeof container === "string" || at(container, ["service"]) !== undefined;
}

/** Top-level keys that contain keys, except `services`. */
const sections: readonly string[] = ["docker", "log", "shutdown", "admin"];

/** Ways to be ready that need nothing said, and those that do. */
const standsAlone: ReadonlySet<string> = new Set(["protocol", "tcp", "healthy"]);
const examples: Readonly<Record<string, string>> = {
  http: "{ http: /path }",
  banner: '{ banner: "220" }',
  log: '{ log: "a line of its output" }',
};

/** Where else in the same service a key of that name stands. */
function homeOf(path: Path, key: string, value: unknown): string | undefined {
  const owner = path[0] === "services" ? path.slice(0, 2) : path[0] === "defaults" ? path.slice(0, 1) : [];
  if (owner.length === 0) return undefined;
  if (path.length > owner.length && keysAt(owner).includes(key)) {
    return `it stands beside "${String(path[owner.length])}", not in it`;
  }
  const homes = keysAt(owner).filter((section) => keysAt([...owner, section]).includes(key));
  const present = homes.filter((section) => at(value, [...owner, section]) !== undefined);
  const found = present.length > 0 ? present : homes;
  if (found.length === 0 || found.includes(String(path[owner.length]))) return undefined;
  return `it belongs in ${listOf(found.map((section) => `"${section}"`))}`;
}

/** Hint for a value of `hold` that existed before version 0.1.0. */
const removedHoldLoading = 'use "auto": clients of Redis wait until the target is ready';

function explainUnion(issue: Extract<Issue, { code: "invalid_union" }>, value: unknown): Located[] {
  const branches = branchesOf(issue).map((issues) =>
    issues.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] })),
  );
  // The branch whose type was right is the one that was meant.
  const meant = branches.filter((issues) => !issues.some((inner) => isWrongKind(inner, issue.path)));
  const chosen = meant.toSorted((a, b) => strangersIn(a) - strangersIn(b) || a.length - b.length)[0];
  if (chosen !== undefined) {
    // With a key misspelt, that the right one is missing goes without saying.
    const unknown = chosen.filter((inner) => inner.code === "unrecognized_keys");
    return (unknown.length > 0 ? unknown : chosen).flatMap((inner) => explain(inner, value));
  }
  const { path } = issue;
  const wanted = [...new Set(branches.flatMap((issues) => issues.flatMap(expectedBy)))];
  const got = at(value, path);
  if (got === undefined) return [missing(path)];
  const message = `${place(path)} is ${kindOf(got)}: expected ${listOf(wanted)}`;
  const example = exampleFor(path, got);
  const near = typeof got === "string" ? suggest(got, wanted.map(unquote)) : undefined;
  // Where there may be several, text is a name or an address, and never a number or "true".
  const isBare = wanted.includes("text") && !wanted.includes("a list") && ["number", "boolean"].includes(typeof got);
  const hint = example !== undefined ? `write ${example}` : near && `did you mean "${near}"?`;
  const removed = path.at(-1) === "hold" && got === "loading" ? removedHoldLoading : undefined;
  return [{ path, message, ...hintOf(isBare ? inQuotes(got as number | boolean) : (removed ?? hint)) }];
}

/** Returns how to write a value that has another form in other files, or undefined if unknown. */
function exampleFor(path: Path, got: unknown): string | undefined {
  if (path.includes("ready") && typeof got === "string") {
    return got.startsWith("/") ? `{ http: ${got} }` : examples[got];
  }
  // The long syntax of compose.
  if (!(path.includes("ports") || path.includes("data")) || !isMapping(got)) return undefined;
  const { host_ip, published, target, protocol } = record(got);
  const parts = [host_ip, published ?? target, target].filter((part) => part !== undefined);
  return parts.length < 2 ? undefined : `"${parts.join(":")}${protocol === "udp" ? "/udp" : ""}"`;
}

/** How many keys an alternative does not know: of two kinds of mapping, the one that knows more of them was meant. */
function strangersIn(issues: readonly Issue[]): number {
  return issues.flatMap((issue) => (issue.code === "unrecognized_keys" ? issue.keys : [])).length;
}

/** What each alternative finds wrong; an alternative that has alternatives itself counts as each of them. */
function branchesOf(issue: Extract<Issue, { code: "invalid_union" }>): Issue[][] {
  return issue.errors.flatMap((issues) => {
    const [only, ...others] = issues;
    const isUnion = only?.code === "invalid_union" && only.path.length === 0 && others.length === 0;
    return isUnion ? branchesOf(only) : [issues];
  });
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

function wrongType(issue: Extract<Issue, { code: "invalid_type" }>, value: unknown): Located {
  const got = at(value, issue.path);
  if (got === undefined) return missing(issue.path);
  if (!issue.message.startsWith("Invalid input")) {
    return { path: issue.path, message: `${place(issue.path)}: ${issue.message}` };
  }
  const hint = remedyOf(issue.expected, issue.path, got);
  return { ...wrong(issue.path, value, typeName(issue.expected)), ...hintOf(hint) };
}

/** How to write a value of another kind as the expected one. */
function remedyOf(expected: string, path: Path, got: unknown): string | undefined {
  if (expected === "string") {
    return typeof got === "number" || typeof got === "boolean" ? inQuotes(got) : undefined;
  }
  const word = typeof got === "string" ? got.trim().toLowerCase() : undefined;
  if (expected === "boolean" && word !== undefined) {
    if (["yes", "on", "true"].includes(word)) return "write true";
    return ["no", "off", "false"].includes(word) ? "write false" : undefined;
  }
  if ((expected === "number" || expected === "int") && word !== undefined) {
    if (/^-?\d+(\.\d+)?$/.test(word)) return `without quotes it is a number: ${word}`;
    return ["unlimited", "infinity", "none"].includes(word) ? "leave it out where there is no limit" : undefined;
  }
  if (expected === "array") {
    const entries = isMapping(got) ? Object.keys(record(got)) : [got];
    return entries.length === 0 ? undefined : `write a list: [${entries.join(", ")}]`;
  }
  if (path.length === 1 && path[0] === "services") return "write each service under its name: NAME: { … }";
  // Of the file, or of a service, there would be too many.
  const isSmall = path.length > (path[0] === "services" ? 2 : 0);
  if (!isSmall || (expected !== "object" && expected !== "record")) return undefined;
  const keys = keysAt(path);
  if (keys.length > 0) return `its keys: ${keys.join(", ")}`;
  return path.length > 1 ? "write it as { NAME: value }" : undefined;
}

function inQuotes(value: number | boolean): string {
  return `in quotes it is text: "${String(value)}"`;
}

function tooSmall({ path, origin, minimum }: Extract<Issue, { code: "too_small" }>, value: unknown): Located {
  if (origin === "array") return { path, message: `${place(path)} is an empty list` };
  if (origin === "string") return { path, message: `${place(path)} is empty` };
  return wrong(path, value, `at least ${minimum}`);
}

function wrong(path: Path, value: unknown, expected: string): Located {
  return { path, message: `${place(path)} is ${kindOf(at(value, path))}: expected ${expected}` };
}

function wrongValue(issue: Extract<Issue, { code: "invalid_value" }>, value: unknown): Located {
  const got = at(value, issue.path);
  const known = issue.values.map(String);
  const near = typeof got === "string" ? suggest(got, known) : undefined;
  const message = `${place(issue.path)} is ${kindOf(got)}: expected ${listOf(known.map((word) => `"${word}"`))}`;
  const foreign = issue.path.at(-1) === "protocol" ? foreignProtocol(got, near) : undefined;
  return { path: issue.path, message, ...hintOf(foreign ?? (near && `did you mean "${near}"?`)) };
}

function missing(path: Path): Located {
  const parent = path.slice(0, -1);
  if (typeof path.at(-1) === "number") return { path: parent, message: `${place(parent)} is an empty list` };
  return { path: parent, message: `${place(parent)} needs "${String(path.at(-1))}"` };
}

function hintOf(hint: string | undefined): { hint?: string } {
  return hint ? { hint } : {};
}

const schema = jsonSchema();

/** The keys that the schema knows at `path`. */
function keysAt(path: Path): string[] {
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

function typeName(expected: string): string {
  const names: Record<string, string> = {
    string: "text",
    boolean: "true or false",
    object: "a mapping",
    record: "a mapping",
    array: "a list",
    int: "a whole number",
    tuple: "a list",
  };
  return names[expected] ?? `a ${expected}`;
}

function listOf(words: readonly string[]): string {
  return words.length < 2 ? (words[0] ?? "something else") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

function unquote(word: string): string {
  return word.replace(/^"|"$/g, "");
}
