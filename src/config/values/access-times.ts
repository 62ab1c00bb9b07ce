/** The entries of `access.times`, and `access.timezone`. */
import { suggest } from "../yaml/suggest.ts";
import { UnitError } from "./units.ts";

/** When clients may come: on each of `days`, within each of `spans`. */
export interface AccessTimes {
  /** 0 is Sunday. */
  readonly days: readonly number[];
  readonly spans: readonly Span[];
}

/** Minutes after the day's begin, `to` not included; beyond 1440 they belong to the next day. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

const NAMES: readonly string[] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const EVERY_DAY: readonly number[] = [0, 1, 2, 3, 4, 5, 6];
const DAY: number = 24 * 60;
/** What people say, and how it is written. */
const SPOKEN: Readonly<Record<string, string>> = {
  weekdays: 'write "mon-fri"',
  workdays: 'write "mon-fri"',
  weekend: 'write "sat,sun"',
  weekends: 'write "sat,sun"',
  daily: "without days it is every day",
  everyday: "without days it is every day",
};
/** Longer than any entry that says something. */
const LONGEST = 1_000;

/**
 * Reads an entry: days, times, or both: `mon-fri 08:00-20:00`, `sat,sun`, `22:00-06:00`,
 * `mon-fri 08:00-12:00,13:00-17:00`. Without days every day is meant, without times the whole day. A time that ends
 * before it begins goes over midnight, and belongs to the day that it began on.
 *
 * @throws UnitError
 */
export function parseTimes(text: string): AccessTimes {
  if (text.length > LONGEST) throw new UnitError(`an entry of more than ${LONGEST} characters`);
  const words = text
    .toLowerCase()
    .replace(/\s*([,-])\s*/g, "$1")
    .trim()
    .split(/\s+/);
  const [first = "", second, ...more] = words;
  if (first === "") throw new UnitError('an empty entry: write it like "mon-fri 08:00-20:00"');
  if (more.length > 0) {
    throw new UnitError(`"${text}" has too many words: write days, then times, like "mon-fri 08:00-12:00,13:00-17:00"`);
  }
  if (second !== undefined && /^[a-z_]+\/[a-z_]+|^utc$/.test(second)) {
    throw new UnitError(`"${text}": the zone stands beside the times, in "timezone"`);
  }
  if (second !== undefined) return { days: readDays(first, text), spans: readSpans(second, text) };
  return /^\d/.test(first)
    ? { days: EVERY_DAY, spans: readSpans(first, text) }
    : { days: readDays(first, text), spans: [{ from: 0, to: DAY }] };
}

/** Writes what `parseTimes` has read: `mon-fri 08:00-20:00`. */
export function formatTimes({ days, spans }: AccessTimes): string {
  const clock = (minutes: number): string =>
    `${String(Math.floor(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
  const end = (minutes: number): string => clock(minutes > DAY ? minutes - DAY : minutes);
  const times = spans.map(({ from, to }) => `${clock(from)}-${end(to)}`).join(",");
  return days.length === EVERY_DAY.length ? times : `${daysWords(days)} ${times}`;
}

/** `mon-wed,fri` */
function daysWords(days: readonly number[]): string {
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

function readDays(words: string, text: string): number[] {
  const days = words.split(",").flatMap((word) => {
    const [first = "", last = first, ...more] = word.split("-");
    if (more.length > 0) throw new UnitError(`"${text}": "${word}" is no range of days: write "mon-fri"`);
    const [from, to] = [readDay(first, text), readDay(last, text)];
    return EVERY_DAY.slice(0, ((to - from + 7) % 7) + 1).map((days) => (from + days) % 7);
  });
  return [...new Set(days)].toSorted((a, b) => a - b);
}

function readDay(word: string, text: string): number {
  const day = NAMES.indexOf(word);
  if (day >= 0) return day;
  if (/^\d/.test(word)) throw new UnitError(`"${text}": days come before times, like "mon-fri 08:00-20:00"`);
  if (word === "") throw new UnitError(`"${text}": a day is missing beside "," or "-"`);
  const meant = Object.hasOwn(SPOKEN, word) ? SPOKEN[word] : undefined;
  if (meant !== undefined) throw new UnitError(`"${text}": "${word}" is no day: ${meant}`);
  const near = NAMES.find((name) => word.startsWith(name)) ?? suggest(word, NAMES);
  const hint = near === undefined ? "mon, tue, wed, thu, fri, sat or sun" : `did you mean "${near}"?`;
  throw new UnitError(`"${text}": "${word}" is no day: ${hint}`);
}

function readSpans(words: string, text: string): Span[] {
  return words.split(",").map((word) => {
    const [first, last, ...more] = word.split("-");
    if (first === undefined || last === undefined || more.length > 0) {
      throw new UnitError(`"${text}": "${word}" is no time: write when it begins and ends, like "08:00-20:00"`);
    }
    const [from, to] = [readClock(first, text), readClock(last, text)];
    if (from === DAY) throw new UnitError(`"${text}": a day begins at 00:00, not at 24:00`);
    if (from === to) {
      throw new UnitError(`"${text}": "${word}" ends when it begins: the whole day is "00:00-24:00"`);
    }
    return { from, to: to > from ? to : to + DAY };
  });
}

/** @returns minutes, 0 to 1440 */
function readClock(word: string, text: string): number {
  const [, hours, minutes] = /^(\d{1,2}):(\d{2})$/.exec(word) ?? [];
  if (hours === undefined) {
    const hint = /^\d{1,2}$/.test(word) ? `write "${word.padStart(2, "0")}:00"` : "write hours and minutes, like 08:00";
    throw new UnitError(`"${text}": "${word}" is no time of the day: ${hint}`);
  }
  const time = Number(hours) * 60 + Number(minutes);
  if (Number(minutes) > 59 || time > DAY) {
    throw new UnitError(`"${text}": "${word}" is no time of the day: 00:00 to 24:00`);
  }
  return time;
}

/**
 * Checks the name of a time zone in the database of IANA: `Europe/Berlin`, `UTC`.
 *
 * @returns it as it is
 * @throws UnitError
 */
export function parseTimeZone(text: string): string {
  if (/^[+-]?\d/.test(text)) {
    throw new UnitError(`"${text}" is an offset, which does not know summer time: write a zone like "Europe/Berlin"`);
  }
  try {
    new Intl.DateTimeFormat("en", { timeZone: text });
    return text;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const near = text.length > 64 ? undefined : suggest(text, Intl.supportedValuesOf("timeZone"));
    const hint = near === undefined ? 'write one like "Europe/Berlin" or "UTC"' : `did you mean "${near}"?`;
    throw new UnitError(`"${text}" is no time zone: ${hint}`);
  }
}
