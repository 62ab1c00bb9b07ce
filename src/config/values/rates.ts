/** Values of `limits.rate` and `limits.rate_per_source`. */
import { UnitError } from "./units.ts";

/** A number of connections per unit of time. */
export interface Rate {
  readonly count: number;
  readonly perMs: number;
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };
const MAX_COUNT = 1_000_000;

/** Parses a rate: `50/s`, `10/m`, `100/h`. @throws UnitError */
export function parseRate(text: string): Rate {
  const [, digits, unit = ""] = /^(\d{1,9})\s*\/\s*([smh])$/.exec(text.trim()) ?? [];
  const perMs = UNIT_MS[unit];
  const count = Number(digits);
  if (perMs === undefined) throw new UnitError(`"${text}" is not a rate: write it as "50/s", "10/m" or "100/h"`);
  if (count < 1) throw new UnitError(`"${text}" rejects all clients: write "1/${unit}", or "enabled: false"`);
  if (count > MAX_COUNT) throw new UnitError(`"${text}" is more than ${MAX_COUNT}`);
  return { count, perMs };
}

/** Formats a rate in the syntax of `parseRate`. */
export function formatRate({ count, perMs }: Rate): string {
  const unit = Object.keys(UNIT_MS).find((name) => UNIT_MS[name] === perMs);
  return `${count}/${unit ?? `${perMs}ms`}`;
}
