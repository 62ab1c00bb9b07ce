/** Values of `access.times` and `access.timezone`. */
import { suggest } from "../yaml/suggest.ts";
import { UnitError } from "./units.ts";

/** When clients may connect: on each of `days`, in each of `spans`. */
export interface AccessTimes {
  /** 0 is Sunday. */
  readonly days: readonly number[];
  readonly spans: readonly Span[];
}

/** Minutes since the start of the day, without `to`. Values above 1440 are in the next day. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

const NAMES: readonly string[] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const EVERY_DAY: readonly number[] = [0, 1, 2, 3, 4, 5, 6];
const DAY: number = 24 * 60;
/** Limit of an entry, in characters. */
const MAX_LENGTH = 1_000;

/**
 * Parses days, times, or both: `mon-fri 08:00-20:00`, `sat,sun`, `22:00-06:00`, `mon-fri 08:00-12:00,13:00-17:00`. No
 * days are every day, and no times the whole day. A span that ends before it begins crosses midnight, and belongs to
 * the day of its start.
 *
 * @throws UnitError
 */
export function parseTimes(text: string): AccessTimes {
  if (text.length > MAX_LENGTH) throw new UnitError(`the entry is longer than ${MAX_LENGTH} characters`);
  const parts = text
    .toLowerCase()
    .replace(/\s*([,-])\s*/g, "$1")
    .trim()
    .split(/\s+/);
  const [first = "", second, ...more] = parts;
  if (first === "") throw new UnitError('the entry is empty: write it as "mon-fri 08:00-20:00"');
  if (more.length > 0) {
    throw new UnitError(
      `"${text}" has too many parts: write days, then times, for example "mon-fri 08:00-12:00,13:00-17:00"`,
    );
  }
  if (second !== undefined) return { days: parseDays(first, text), spans: parseSpans(second, text) };
  return /^\d/.test(first)
    ? { days: EVERY_DAY, spans: parseSpans(first, text) }
    : { days: parseDays(first, text), spans: [{ from: 0, to: DAY }] };
}

/** Formats an entry in the syntax of `parseTimes`. */
export function formatTimes({ days, spans }: AccessTimes): string {
  const clock = (minutes: number): string =>
    `${String(Math.floor(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
  const end = (minutes: number): string => clock(minutes > DAY ? minutes - DAY : minutes);
  const times = spans.map(({ from, to }) => `${clock(from)}-${end(to)}`).join(",");
  return days.length === EVERY_DAY.length ? times : `${formatDays(days)} ${times}`;
}

/** Returns `mon-wed,fri`. */
function formatDays(days: readonly number[]): string {
  const runs: { first: number; last: number }[] = [];
  for (const day of days) {
    const run = runs.at(-1);
    if (run !== undefined && run.last === day - 1) run.last = day;
    else runs.push({ first: day, last: day });
  }
  return runs
    .map(({ first, last }) => (first === last ? `${NAMES[first]}` : `${NAMES[first]}-${NAMES[last]}`))
    .join(",");
}

function parseDays(list: string, text: string): number[] {
  const days = list.split(",").flatMap((part) => {
    const [first = "", last = first, ...more] = part.split("-");
    if (more.length > 0) throw new UnitError(`"${text}": "${part}" is not a range of days: write "mon-fri"`);
    const [from, to] = [parseDay(first, text), parseDay(last, text)];
    return EVERY_DAY.slice(0, ((to - from + 7) % 7) + 1).map((days) => (from + days) % 7);
  });
  return [...new Set(days)].toSorted((a, b) => a - b);
}

function parseDay(part: string, text: string): number {
  const day = NAMES.indexOf(part);
  if (day >= 0) return day;
  if (/^\d/.test(part)) throw new UnitError(`"${text}": write days before times, for example "mon-fri 08:00-20:00"`);
  if (part === "") throw new UnitError(`"${text}": a day is missing next to "," or "-"`);
  const near = NAMES.find((name) => part.startsWith(name)) ?? suggest(part, NAMES);
  const hint = near === undefined ? "use mon, tue, wed, thu, fri, sat or sun" : `did you mean "${near}"?`;
  throw new UnitError(`"${text}": "${part}" is not a day: ${hint}`);
}

function parseSpans(list: string, text: string): Span[] {
  return list.split(",").map((part) => {
    const [first, last, ...more] = part.split("-");
    if (first === undefined || last === undefined || more.length > 0) {
      throw new UnitError(`"${text}": "${part}" is not a time span: write start and end, for example "08:00-20:00"`);
    }
    const [from, to] = [parseClock(first, text), parseClock(last, text)];
    if (from === DAY) throw new UnitError(`"${text}": write 00:00 for the start of a day, not 24:00`);
    if (from === to) {
      throw new UnitError(`"${text}": "${part}" is empty: the whole day is "00:00-24:00"`);
    }
    return { from, to: to > from ? to : to + DAY };
  });
}

/** @returns minutes, 0 to 1440 */
function parseClock(part: string, text: string): number {
  const [, hours, minutes] = /^(\d{1,2}):(\d{2})$/.exec(part) ?? [];
  if (hours === undefined) {
    const hint = /^\d{1,2}$/.test(part)
      ? `write "${part.padStart(2, "0")}:00"`
      : "write hours and minutes, for example 08:00";
    throw new UnitError(`"${text}": "${part}" is not a time of day: ${hint}`);
  }
  const time = Number(hours) * 60 + Number(minutes);
  if (Number(minutes) > 59 || time > DAY) {
    throw new UnitError(`"${text}": "${part}" is not a time of day: use 00:00 to 24:00`);
  }
  return time;
}

/**
 * Checks the name of a time zone of the IANA database: `Europe/Berlin`, `UTC`.
 *
 * @returns the name, unchanged
 * @throws UnitError
 */
export function parseTimeZone(text: string): string {
  if (/^[+-]?\d/.test(text)) {
    throw new UnitError(`"${text}" is an offset, which has no summer time: write a time zone as "Europe/Berlin"`);
  }
  try {
    new Intl.DateTimeFormat("en", { timeZone: text });
    return text;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const near = text.length > 64 ? undefined : suggest(text, Intl.supportedValuesOf("timeZone"));
    const hint = near === undefined ? 'write it as "Europe/Berlin" or "UTC"' : `did you mean "${near}"?`;
    throw new UnitError(`"${text}" is not a time zone: ${hint}`);
  }
}
