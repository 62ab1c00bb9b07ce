import type { Document } from "yaml";
import type { z } from "zod";
import type { Config } from "./config.ts";
import { validPartOf, withoutServices } from "./error-recovery.ts";
import { address } from "./keys/common.ts";
import { type ResolveContext, resolve } from "./resolve.ts";
import { configSchema } from "./schema.ts";
import type { Located, Problem } from "./yaml/config-error.ts";
import { configError } from "./yaml/format-problems.ts";
import { interpolate } from "./yaml/interpolate.ts";
import { explain } from "./yaml/schema-errors.ts";
import { MAX_ALIASES, parseYaml } from "./yaml/yaml.ts";
import { locate } from "./yaml/yaml-positions.ts";

/** In bytes. A file of this size takes up to 2 s to parse. */
const MAX_FILE = 256 * 1024;

export interface ParseContext extends ResolveContext {
  /** Values of `${VAR}`. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Parses a configuration.
 *
 * @param source the name of the file, for messages
 * @throws ConfigError with all problems and their places
 */
export function parseConfig(bytes: Uint8Array, source: string, context: ParseContext): Config {
  if (bytes.length > MAX_FILE) {
    throw configError(source, "", [{ message: `the file has ${bytes.length} bytes; the limit is ${MAX_FILE}` }]);
  }
  const text = decode(bytes, source);
  const { document, problems: syntaxProblems } = parseYaml(text);
  let admin = context.adminListen;
  const fail = (problems: readonly Problem[]): never => {
    throw configError(source, text, problems, { admin });
  };
  if (syntaxProblems.length > 0) fail(syntaxProblems);
  if (document.contents === null) {
    fail([{ message: "the file is empty", hint: 'write "services:" with at least one service' }]);
  }

  // A backslash may escape a dollar sign.
  const unset = /[$\\]/.test(text) ? interpolate(document, context.env) : [];
  const value = contentOf(document, fail);
  admin = adminIn(value) ?? admin;
  const { config, problems } = check(value, source, context);
  const unsetAt = new Set(unset.map(({ span }) => span?.start));
  const located = problems.map((problem) => locate(document, problem)).filter(({ span }) => !unsetAt.has(span?.start));
  if (config === undefined || unset.length + located.length > 0) return fail([...unset, ...located]);
  return config;
}

function decode(bytes: Uint8Array, source: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw configError(source, "", [{ message: "the file is not UTF-8 text", hint: "save it as UTF-8" }]);
  }
}

function contentOf(document: Document.Parsed, fail: (problems: readonly Problem[]) => never): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    return fail([
      { message: error instanceof Error ? error.message : String(error), hint: "use fewer aliases of aliases" },
    ]);
  }
}

/** Checks the schema, then keys against each other. A schema error does not hide problems in other parts. */
function check(value: unknown, source: string, context: ParseContext): { config?: Config; problems: Located[] } {
  const parsed = configSchema.safeParse(value);
  if (parsed.success) return resolve(parsed.data, source, { ...context, writtenDefaults: defaultsIn(value) });
  const { issues } = parsed.error;
  const problems = issues.flatMap((issue) => explain(issue, value));
  return { problems: [...problems, ...problemsOfRest(value, issues, source, context)] };
}

/** Returns problems in the valid part of a file with schema errors. */
function problemsOfRest(
  value: unknown,
  issues: readonly z.core.$ZodIssue[],
  source: string,
  context: ParseContext,
): readonly Located[] {
  const first = validPartOf(value, issues);
  if (first === undefined) return [];
  const retried = configSchema.safeParse(first.value);
  // A service that is still invalid without its invalid keys lacks a key: it is left out.
  const usable = retried.success ? first : withoutServices(first, retried.error.issues);
  const rest = configSchema.safeParse(usable.value);
  if (!rest.success || Object.keys(rest.data.services).length === 0) return [];
  const names = Object.keys((value as { services: object }).services);
  return resolve(rest.data, source, { ...context, names, trimmed: usable.trimmed }).problems;
}

/** Returns the address of the admin server, also from an invalid file. */
function adminIn(value: unknown): ParseContext["adminListen"] | undefined {
  const admin = typeof value === "object" && value !== null && "admin" in value ? value.admin : undefined;
  const listen = typeof admin === "object" && admin !== null && "listen" in admin ? admin.listen : undefined;
  const parsed = address.safeParse(listen);
  return parsed.success ? parsed.data : undefined;
}

function defaultsIn(value: unknown): unknown {
  return typeof value === "object" && value !== null && "defaults" in value ? value.defaults : {};
}
