/** Values of a local program: its umask and resource limits. */
import { parseSize, UnitError } from "./units.ts";

/** The resource limits of setrlimit(2) that wakeport supports, with their units. */
export const limitUnits = {
  nofile: "number",
  as: "size",
  cpu: "number",
  data: "size",
  stack: "size",
  rss: "size",
  core: "size",
} as const;

export type LimitName = keyof typeof limitUnits;

/** In files, bytes or seconds. */
export interface ProgramLimit {
  readonly soft: number | "unlimited";
  readonly hard: number | "unlimited";
}

/** The limits that are set, in the order in which they are applied. */
export type ProgramLimits = { readonly [Name in LimitName]?: ProgramLimit | undefined };

/**
 * Parses a limit: a number, a size with its unit, or `unlimited`. Two values, `50:77`, are a soft and a hard limit.
 *
 * @throws UnitError
 */
export function parseLimit(text: string, unit: "number" | "size"): ProgramLimit {
  const [soft = "", hard = soft, ...more] = text.split(":");
  if (more.length > 0) throw new UnitError(`"${text}" is not a limit: write one value, or "soft:hard"`);
  const limit = { soft: parseBound(soft, unit), hard: parseBound(hard, unit) };
  if (amount(limit.soft) > amount(limit.hard)) throw new UnitError(`"${text}": the soft limit is above the hard one`);
  return limit;
}

function parseBound(text: string, unit: "number" | "size"): number | "unlimited" {
  if (text === "unlimited") return text;
  if (text === "0") return 0;
  if (unit === "size") return parseSize(text);
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new UnitError(`"${text}" is not a limit: write a whole number, or "unlimited"`);
}

function amount(bound: number | "unlimited"): number {
  return bound === "unlimited" ? Number.POSITIVE_INFINITY : bound;
}

/** Parses a umask in octal: `027`. @throws UnitError */
export function parseUmask(text: string): number {
  if (/^[0-7]{1,4}$/.test(text) && Number.parseInt(text, 8) <= 0o777) return Number.parseInt(text, 8);
  throw new UnitError(`"${text}" is not a umask: write it in octal, in quotes, for example "027"`);
}
