/** An invalid value. The message contains the value and what to write. */
export class UnitError extends Error {
  override readonly name = "UnitError";
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
/** Timers of Node are limited to 2³¹ − 1 ms. */
const MAX_DELAY_MS = 24 * 24 * UNIT_MS["h"]!;
/** A unit after a space, or as a word: `10 min`. */
const WITH_WORD = /^(\d+)\s*(ms|s|m|h)(?:illiseconds?|ec|ecs|econds?|in|ins|inutes?|r|rs|ours?)?$/;
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h)/y;

/**
 * Parses a duration in the syntax of Go, Docker Compose and Prometheus: `500ms`, `90s`, `1h30m`.
 *
 * @returns milliseconds, 0 to 24 days
 * @throws UnitError
 * @see https://pkg.go.dev/time#ParseDuration
 */
export function parseDuration(text: string): number {
  let ms = 0;
  PART.lastIndex = 0;
  if (text === "0") return 0;
  while (PART.lastIndex < text.length || text === "") {
    const part = PART.exec(text);
    if (part === null) throw new UnitError(hintFor(text));
    ms += Number(part[1]) * UNIT_MS[part[2]!]!;
  }
  if (ms > MAX_DELAY_MS) throw new UnitError(tooLong(text));
  return Math.round(ms);
}

function hintFor(text: string): string {
  if (/^\d+(\.\d+)?$/.test(text)) return `"${text}" has no unit: write "${text}s" or "${text}m"`;
  const hours = /^\d+d$/.test(text) ? Number.parseInt(text, 10) * 24 : 0;
  if (hours * UNIT_MS["h"]! > MAX_DELAY_MS) return tooLong(text);
  if (hours > 0) return `"${text}": days are not a unit: write "${hours}h"`;
  const [, number, unit] = WITH_WORD.exec(text) ?? [];
  if (number !== undefined && unit !== undefined) return `"${text}" is not a duration: write "${number}${unit}"`;
  return `"${text}" is not a duration: write it as "500ms", "90s", "5m" or "1h30m", at most "576h"`;
}

function tooLong(text: string): string {
  return `"${text}" is longer than the limit of 24 days (576h)`;
}

const UNIT_BYTES: Readonly<Record<string, number>> = { b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

/**
 * Parses a size in the syntax of compose: `512m`, `1.5g`, `2gb`.
 *
 * @returns bytes
 * @throws UnitError
 */
export function parseSize(text: string): number {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?)(?:(b|[kmg])b?)?$/i.exec(text) ?? [];
  if (number === undefined) throw new UnitError(`"${text}" is not a size: write it as "512m" or "1.5g"`);
  const factor = UNIT_BYTES[unit.toLowerCase()];
  if (factor === undefined) throw new UnitError(`"${text}" has no unit: write "${text}m" or "${text}g"`);
  return Math.round(Number(number) * factor);
}

/** Formats milliseconds in the syntax of `parseDuration`: `1h30m`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return "0s";
  const hours = Math.floor(ms / UNIT_MS["h"]!);
  const minutes = Math.floor((ms % UNIT_MS["h"]!) / UNIT_MS["m"]!);
  const seconds = Math.floor((ms % UNIT_MS["m"]!) / UNIT_MS["s"]!);
  const parts = [
    hours && `${hours}h`,
    minutes && `${minutes}m`,
    seconds && `${seconds}s`,
    ms % 1_000 && `${ms % 1_000}ms`,
  ];
  return parts.filter(Boolean).join("");
}
