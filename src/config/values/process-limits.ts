/** How wakeport.yaml writes what a local program is given: its umask and its limits. */
import { parseSize, UnitError } from "./units.ts";

/** The limits that a program can have, as setrlimit(2) calls them, and what each of them counts. */
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

/** Of each limit that is set; in the order in which they are to be. */
export type ProgramLimits = { readonly [Name in LimitName]?: ProgramLimit | undefined };

/**
 * Reads a limit: a number, a size with its unit, or `unlimited`; two of them, `50:77`, are a soft and a hard limit.
 *
 * @throws UnitError
 */
export function parseLimit(text: string, unit: "number" | "size"): ProgramLimit {
  const [soft = "", hard = soft, ...more] = text.split(":");
  if (more.length > 0) throw new UnitError(`"${text}" is no limit: write one value, or "soft:hard"`);
  const limit = { soft: parseBound(soft, unit), hard: parseBound(hard, unit) };
  if (amount(limit.soft) > amount(limit.hard)) throw new UnitError(`"${text}": the soft limit is above the hard one`);
  return limit;
}

function parseBound(text: string, unit: "number" | "size"): number | "unlimited" {
  if (text === "unlimited") return text;
  if (text === "0") return 0;
  if (text === "-1" || text === "infinity") throw new UnitError(`"${text}" is no limit: write "unlimited"`);
  if (unit === "size") return parseSize(text);
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new UnitError(`"${text}" is no limit: write a whole number, or "unlimited"`);
}

function amount(bound: number | "unlimited"): number {
  return bound === "unlimited" ? Number.POSITIVE_INFINITY : bound;
}

/** Reads a umask in octal: `027`. @throws UnitError */
export function parseUmask(text: string): number {
  if (/^[0-7]{1,4}$/.test(text) && Number.parseInt(text, 8) <= 0o777) return Number.parseInt(text, 8);
  throw new UnitError(`"${text}" is no umask: write it in octal, in quotes, like "027"`);
}
