import type { Document } from "yaml";
import type { z } from "zod";
import type { Config } from "./config.ts";
import { address } from "./keys/schema-parts.ts";
import { type ResolveContext, resolve } from "./resolve.ts";
import { configSchema } from "./schema.ts";
import { salvage, withoutServices } from "./valid-part.ts";
import { ConfigError, type Problem } from "./yaml/config-error.ts";
import { interpolate } from "./yaml/interpolate.ts";
import { explain, type Located } from "./yaml/schema-errors.ts";
import { MAX_ALIASES, readYaml } from "./yaml/yaml.ts";
import { locate } from "./yaml/yaml-positions.ts";

/** More than any real configuration. Reading that much takes a second or two at worst. */
const MAX_FILE = 256 * 1024;

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
  if (bytes.length > MAX_FILE) {
    throw new ConfigError(source, "", [
      { message: `the file has ${bytes.length} bytes; at most ${MAX_FILE} are read` },
    ]);
  }
  const text = decode(bytes, source);
  const { document, problems: faults } = readYaml(text);
  let admin = context.adminListen;
  const fail = (problems: readonly Problem[]): never => {
    throw new ConfigError(source, text, problems, { admin });
  };
  if (faults.length > 0) fail(faults);
  if (document.contents === null) {
    fail([{ message: "the file is empty", hint: 'it needs at least "services:" with one service' }]);
  }

  const unset = interpolate(document, context.env);
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
    throw new ConfigError(source, "", [{ message: "the file is not UTF-8 text", hint: "save it as UTF-8" }]);
  }
}

function contentOf(document: Document.Parsed, fail: (problems: readonly Problem[]) => never): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    return fail([
      { message: error instanceof Error ? error.message : String(error), hint: "aliases may not multiply" },
    ]);
  }
}

/** Shape first, then what only the whole can tell; a part of the wrong shape does not hide what is wrong elsewhere. */
function check(value: unknown, source: string, context: ParseContext): { config?: Config; problems: Located[] } {
  const shaped = configSchema.safeParse(value);
  if (shaped.success) return resolve(shaped.data, source, { ...context, writtenDefaults: defaultsIn(value) });
  const { issues } = shaped.error;
  const problems = issues.flatMap((issue) => explain(issue, value));
  return { problems: [...problems, ...problemsOfRest(value, issues, source, context)] };
}

/** Problems in the part of the file that the schema accepts. */
function problemsOfRest(
  value: unknown,
  issues: readonly z.core.$ZodIssue[],
  source: string,
  context: ParseContext,
): readonly Located[] {
  const first = salvage(value, issues);
  if (first === undefined) return [];
  const retried = configSchema.safeParse(first.value);
  // A service that is still refused without the wrong keys lacks a key: it is left out.
  const usable = retried.success ? first : withoutServices(first, retried.error.issues);
  const rest = configSchema.safeParse(usable.value);
  if (!rest.success || Object.keys(rest.data.services).length === 0) return [];
  const names = Object.keys((value as { services: object }).services);
  return resolve(rest.data, source, { ...context, names, trimmed: usable.trimmed }).problems;
}

/** Where the admin server is to listen, also in a file that cannot be used. */
function adminIn(value: unknown): ParseContext["adminListen"] | undefined {
  const admin = typeof value === "object" && value !== null && "admin" in value ? value.admin : undefined;
  const listen = typeof admin === "object" && admin !== null && "listen" in admin ? admin.listen : undefined;
  const read = address.safeParse(listen);
  return read.success ? read.data : undefined;
}

function defaultsIn(value: unknown): unknown {
  return typeof value === "object" && value !== null && "defaults" in value ? value.defaults : {};
}
