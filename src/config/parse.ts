import { type Document, isAlias, parseDocument, visit } from "yaml";
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
  const syntax = [...syntaxProblems(document), ...aliasProblems(document)];
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

function syntaxProblems(document: Document.Parsed): Problem[] {
  return [...document.errors, ...document.warnings].map(({ code, message, pos }) => ({
    message: code === "MULTIPLE_DOCS" ? "the file holds several documents; only one is read" : message,
    span: { start: pos[0], end: pos[1] },
    ...(code === "MULTIPLE_DOCS" && { hint: 'remove the "---" and what follows' }),
    ...(code === "TAB_AS_INDENT" && { hint: "indent with spaces" }),
    ...(code === "DUPLICATE_KEY" && { hint: "each key may be there once" }),
  }));
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

/** Shape first, then what only the whole can tell; services of the wrong shape do not hide what is wrong with others. */
function check(value: unknown, source: string, context: ParseContext): { config?: Config; problems: Located[] } {
  const shaped = configSchema.safeParse(value);
  if (shaped.success) return resolve(shaped.data, source, context);
  const { issues } = shaped.error;
  const problems = issues.flatMap((issue) => explain(issue, value));
  const rest = configSchema.safeParse(withoutServices(value, issues));
  const isWorthIt = rest.success && Object.keys(rest.data.services).length > 0;
  return { problems: isWorthIt ? [...problems, ...resolve(rest.data, source, context).problems] : problems };
}

function withoutServices(value: unknown, issues: readonly { readonly path: readonly PropertyKey[] }[]): unknown {
  if (typeof value !== "object" || value === null || !("services" in value)) return value;
  const { services } = value;
  if (typeof services !== "object" || services === null) return value;
  const broken = new Set(issues.filter(({ path }) => path[0] === "services").map(({ path }) => String(path[1])));
  const whole = Object.entries(services).filter(([name]) => !broken.has(name));
  return { ...value, services: Object.fromEntries(whole) };
}
