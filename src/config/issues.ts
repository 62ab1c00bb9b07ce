/** Puts what the schema found into words that a person can act on. */
import type { z } from "zod";
import { defaultsKeys, jsonSchema, serviceKeys } from "./schema.ts";
import { suggest } from "./suggest.ts";

export type Path = readonly PropertyKey[];

/** A problem that still names its place by path; `key` is set when it is about a key itself, not about its value. */
export interface Located {
  readonly path: Path;
  readonly key?: string;
  readonly message: string;
  readonly hint?: string;
}

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
    if (key in record(record(value)["services"]) || isMapping(at(value, [...path, key]))) {
      return `"defaults" holds settings, not services: put "${key}" under "services"`;
    }
    if (serviceKeys.has(key)) return `"${key}" belongs to one service: it cannot have a default`;
  }
  const near = suggest(key, keysAt(path));
  if (near !== undefined) return `did you mean "${near}"?`;
  if (isTop && isMapping(at(value, [key]))) return `services go under "services:"`;
  if (path.length === 2 && path[0] === "services" && defaultsKeys.has(key.replaceAll("-", "_"))) {
    return `did you mean "${key.replaceAll("-", "_")}"?`;
  }
  const known = keysAt(path);
  return known.length > 0 ? `known here: ${known.join(", ")}` : undefined;
}

function explainUnion(issue: Extract<Issue, { code: "invalid_union" }>, value: unknown): Located[] {
  const branches = issue.errors.map((issues) =>
    issues.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] })),
  );
  // The branch whose type was right is the one that was meant.
  const meant = branches.filter((issues) => !issues.some((inner) => isWrongKind(inner, issue.path)));
  const chosen = meant.toSorted((a, b) => a.length - b.length)[0];
  if (chosen !== undefined) {
    // With a key misspelt, that the right one is missing goes without saying.
    const unknown = chosen.filter((inner) => inner.code === "unrecognized_keys");
    return (unknown.length > 0 ? unknown : chosen).flatMap((inner) => explain(inner, value));
  }
  const wanted = [...new Set(branches.flatMap((issues) => issues.flatMap(expectedBy)))];
  const got = at(value, issue.path);
  if (got === undefined) return [missing(issue.path)];
  const message = `${place(issue.path)} is ${kindOf(got)}: expected ${listOf(wanted)}`;
  const near = typeof got === "string" ? suggest(got, wanted.map(unquote)) : undefined;
  return [{ path: issue.path, message, ...hintOf(near && `did you mean "${near}"?`) }];
}

function isWrongKind(issue: Issue, path: Path): boolean {
  const isAboutWhole = issue.path.length === path.length;
  return (
    isAboutWhole && (issue.code === "invalid_type" || issue.code === "invalid_value" || issue.code === "invalid_union")
  );
}

function expectedBy(issue: Issue): string[] {
  if (issue.code === "invalid_type") return [typeName(issue.expected)];
  if (issue.code === "invalid_value") return issue.values.map((value) => JSON.stringify(value));
  if (issue.code === "invalid_union") return issue.errors.flatMap((inner) => inner.flatMap(expectedBy));
  return [];
}

function wrongType(issue: Extract<Issue, { code: "invalid_type" }>, value: unknown): Located {
  const got = at(value, issue.path);
  if (got === undefined) return missing(issue.path);
  if (!issue.message.startsWith("Invalid input")) {
    return { path: issue.path, message: `${place(issue.path)}: ${issue.message}` };
  }
  return { path: issue.path, message: `${place(issue.path)} is ${kindOf(got)}: expected ${typeName(issue.expected)}` };
}

function wrongValue(issue: Extract<Issue, { code: "invalid_value" }>, value: unknown): Located {
  const got = at(value, issue.path);
  const known = issue.values.map(String);
  const near = typeof got === "string" ? suggest(got, known) : undefined;
  const message = `${place(issue.path)} is ${kindOf(got)}: expected ${listOf(known.map((word) => `"${word}"`))}`;
  return { path: issue.path, message, ...hintOf(near && `did you mean "${near}"?`) };
}

function missing(path: Path): Located {
  const parent = path.slice(0, -1);
  return { path: parent, message: `${place(parent)} needs "${String(path.at(-1))}"` };
}

function hintOf(hint: string | undefined): { hint?: string } {
  return hint ? { hint } : {};
}

/** The keys that the schema knows at `path`. */
function keysAt(path: Path): string[] {
  let found: unknown[] = [jsonSchema()];
  for (const part of path) {
    found = found.flatMap(alternatives).flatMap((schema) => {
      const properties = record(record(schema)["properties"]);
      const next = properties[String(part)] ?? record(schema)["additionalProperties"] ?? record(schema)["items"];
      return next === undefined ? [] : [next];
    });
  }
  return found.flatMap(alternatives).flatMap((schema) => Object.keys(record(record(schema)["properties"])));
}

function alternatives(schema: unknown): unknown[] {
  const anyOf = record(schema)["anyOf"];
  return Array.isArray(anyOf) ? anyOf.flatMap(alternatives) : [schema];
}

function at(value: unknown, path: Path): unknown {
  return path.reduce((current: unknown, part) => record(current)[String(part)], value);
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
