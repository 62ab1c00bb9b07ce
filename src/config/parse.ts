import { type Document, type ErrorCode, isAlias, parseDocument, visit } from "yaml";
import type { z } from "zod";
import type { Config } from "./config.ts";
import { interpolate } from "./interpolate.ts";
import { explain, type Located } from "./issues.ts";
import { locate } from "./locate.ts";
import { ConfigError, type Problem } from "./problem.ts";
import { type ResolveContext, resolve } from "./resolve.ts";
import { configSchema } from "./schema.ts";

/** The YAML parser takes time quadratic in the number of keys: more than any real configuration, 0.3 s. */
const LARGEST_FILE = 256 * 1024;
const MOST_ALIASES = 100;
const MOST_SYNTAX_PROBLEMS = 5;

export interface ParseContext extends ResolveContext {
  /** For `${VAR}`. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Reads a configuration.
 *
 * @param source the file's name, for messages
 * @throws ConfigError that names every problem, each with its place
 */
export function parseConfig(bytes: Uint8Array, source: string, context: ParseContext): Config {
  if (bytes.length > LARGEST_FILE) {
    throw new ConfigError(source, "", [
      { message: `the file has ${bytes.length} bytes; at most ${LARGEST_FILE} are read` },
    ]);
  }
  const text = decode(bytes, source);
  const document = parseDocument(text, { prettyErrors: false });
  const fail = (problems: readonly Problem[]): never => {
    throw new ConfigError(source, text, problems);
  };
  const syntax = [...syntaxProblems(document, text), ...aliasProblems(document)];
  if (syntax.length > 0) fail(syntax);
  if (document.contents === null) {
    fail([{ message: "the file is empty", hint: 'it needs at least "services:" with one service' }]);
  }

  const unset = interpolate(document, context.env);
  const value = contentOf(document, fail);
  const { config, problems } = check(value, source, context);
  const isUnset = (problem: Problem): boolean => unset.some(({ span }) => span?.start === problem.span?.start);
  const located = problems.map((problem) => locate(document, problem)).filter((problem) => !isUnset(problem));
  if (config === undefined || unset.length + located.length > 0) return fail([...unset, ...located]);
  return config;
}

function decode(bytes: Uint8Array, source: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ConfigError(source, "", [{ message: "the file is not UTF-8 text", hint: "save it as UTF-8" }]);
  }
}

/** One a line, and not many: after the first mistake in the syntax most of what follows is its consequence. */
function syntaxProblems(document: Document.Parsed, text: string): Problem[] {
  const lineOf = (offset: number): number => text.slice(0, offset).split("\n").length;
  const faults = [...document.errors, ...document.warnings];
  const firsts = faults.filter(
    ({ pos }, index) => faults.findIndex((one) => lineOf(one.pos[0]) === lineOf(pos[0])) === index,
  );
  return firsts.slice(0, MOST_SYNTAX_PROBLEMS).map(({ code, message, pos: [start, end] }) => {
    const hint = syntaxHint(code, text.slice(text.lastIndexOf("\n", start) + 1, start + 1));
    const words = code === "MULTIPLE_DOCS" ? "the file holds several documents; only one is read" : message;
    return { message: words, span: { start, end }, ...(hint !== undefined && { hint }) };
  });
}

function syntaxHint(code: ErrorCode, before: string): string | undefined {
  switch (code) {
    case "MULTIPLE_DOCS":
      return 'remove the "---" and what follows';
    case "TAB_AS_INDENT":
      return "indent with spaces";
    case "DUPLICATE_KEY":
      return "each key may be there once";
    default:
      return before.endsWith("${") || before.endsWith("$")
        ? 'between braces a variable needs quotes: "${VAR}"'
        : undefined;
  }
}

function aliasProblems(document: Document.Parsed): Problem[] {
  const problems: Problem[] = [];
  let count = 0;
  visit(document, {
    Alias(_key, node) {
      count += 1;
      const [start, end] = node.range ?? [0, 0];
      if (node.resolve(document) === undefined) {
        problems.push({ message: `there is no anchor "&${node.source}" before this alias`, span: { start, end } });
      }
      if (count === MOST_ALIASES + 1)
        problems.push({ message: `more than ${MOST_ALIASES} aliases`, span: { start, end } });
    },
    Pair(_key, pair) {
      return isAlias(pair.key) ? visit.SKIP : undefined;
    },
  });
  return problems;
}

function contentOf(document: Document.Parsed, fail: (problems: readonly Problem[]) => never): unknown {
  try {
    return document.toJS({ maxAliasCount: MOST_ALIASES });
  } catch (error) {
    return fail([
      { message: error instanceof Error ? error.message : String(error), hint: "aliases may not multiply" },
    ]);
  }
}

/** Shape first, then what only the whole can tell; a part of the wrong shape does not hide what is wrong elsewhere. */
function check(value: unknown, source: string, context: ParseContext): { config?: Config; problems: Located[] } {
  const shaped = configSchema.safeParse(value);
  if (shaped.success) return resolve(shaped.data, source, context);
  const { issues } = shaped.error;
  const problems = issues.flatMap((issue) => explain(issue, value));
  const rest = configSchema.safeParse(withoutBroken(value, issues));
  const isWorthIt = rest.success && Object.keys(rest.data.services).length > 0;
  return { problems: isWorthIt ? [...problems, ...resolve(rest.data, source, context).problems] : problems };
}

/** Leaves out the services and sections that have a problem of their own. */
function withoutBroken(value: unknown, issues: readonly z.core.$ZodIssue[]): unknown {
  if (typeof value !== "object" || value === null || !("services" in value)) return value;
  const { services } = value;
  if (typeof services !== "object" || services === null) return value;
  const isBroken = (...path: string[]): boolean =>
    issues.some((issue) => path.every((part, at) => issue.path[at] === part));
  const unknown = issues.flatMap((issue) =>
    issue.code === "unrecognized_keys" && issue.path.length === 0 ? issue.keys : [],
  );
  const sections = Object.entries(value).filter(
    ([name]) => name !== "services" && !isBroken(name) && !unknown.includes(name),
  );
  const whole = Object.entries(services).filter(([name]) => !isBroken("services", name));
  return { ...Object.fromEntries(sections), services: Object.fromEntries(whole) };
}
