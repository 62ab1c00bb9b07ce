/** The values of `limits.rate` and `limits.rate_per_source`. */
import { UnitError } from "./units.ts";

/** So many in so long a time. */
export interface Rate {
  readonly count: number;
  readonly perMs: number;
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };
const MOST = 1_000_000;

/** Reads a rate: `50/s`, `10/m`, `100/h`. @throws UnitError */
export function parseRate(text: string): Rate {
  const [, digits, unit] = /^(\d{1,9})\s*\/\s*([a-z0-9]*)$/i.exec(text.trim()) ?? [];
  if (digits === undefined || unit === undefined) throw new UnitError(hintFor(text));
  const perMs = UNIT_MS[unit];
  const count = Number(digits);
  if (perMs === undefined)
    throw new UnitError(`"${text}": a rate is per s, m or h: write "${count}/${shortUnit(unit)}"`);
  if (count < 1)
    throw new UnitError(`"${text}" lets nobody in: write "1${text.trim().slice(digits.length)}", or "enabled: false"`);
  if (count > MOST) throw new UnitError(`"${text}" is more than ${MOST}`);
  return { count, perMs };
}

/** Writes a rate as `parseRate` reads it. */
export function formatRate({ count, perMs }: Rate): string {
  const unit = Object.keys(UNIT_MS).find((name) => UNIT_MS[name] === perMs);
  return `${count}/${unit ?? `${perMs}ms`}`;
}

/** The unit that a longer word most likely means. */
function shortUnit(word: string): string {
  const [first = ""] = word.toLowerCase();
  return Object.hasOwn(UNIT_MS, first) && !/^(ms|mo)/i.test(word) ? first : "s";
}

function hintFor(text: string): string {
  const [, fraction, unit] = /^(\d{1,5}\.\d{1,3})\s*\/\s*([sm])$/.exec(text.trim()) ?? [];
  if (fraction !== undefined) {
    const larger = unit === "s" ? "m" : "h";
    return `"${text}": a rate is a whole number: write "${Math.max(1, Math.round(Number(fraction) * 60))}/${larger}"`;
  }
  if (/^\d{1,9}$/.test(text.trim())) return `"${text}" has no unit: write "${text.trim()}/s" or "${text.trim()}/m"`;
  return `"${text}" is no rate: write it like "50/s", "10/m" or "100/h"`;
}
