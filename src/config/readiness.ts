import type { StatusRange } from "./config.ts";
import { UnitError } from "./units.ts";

/**
 * Reads which statuses of HTTP are awaited: `204`, or `200-399`.
 *
 * @throws UnitError
 */
export function parseStatus(text: string): StatusRange {
  const [, first, last = first] = /^(\d+)(?:\s*-\s*(\d+))?$/.exec(text.trim()) ?? [];
  if (first === undefined) {
    const family = /^([2-5])xx$/i.exec(text.trim())?.[1];
    const example = family === undefined ? '204 or "200-399"' : `"${family}00-${family}99"`;
    throw new UnitError(`"${text}" is no status: write ${example}`);
  }
  const [from, to] = [Number(first), Number(last)];
  if (from < 200 || to > 599) throw new UnitError(`"${text}": an answer's status is a number from 200 to 599`);
  if (from > to) throw new UnitError(`"${text}" ends before it begins: write "${to}-${from}"`);
  return { from, to };
}

/**
 * Checks a regular expression and returns it as it is.
 *
 * @throws UnitError
 */
export function parsePattern(text: string): string {
  const slashed = /^\/(.+)\/([a-z]*)$/.exec(text);
  if (slashed !== null) {
    const [, inner, flags] = slashed;
    const meant = flags?.includes("i") ? `(?i:${inner})` : inner;
    throw new UnitError(
      `"${text}" has slashes around it, as if they were in the line: write '${meant}' ("[/]" is a slash that is meant)`,
    );
  }
  try {
    new RegExp(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const reason = error.message.slice(error.message.lastIndexOf(": ") + 2);
    throw new UnitError(`"${text}" is no regular expression: ${reason.charAt(0).toLowerCase()}${reason.slice(1)}`);
  }
  return text;
}
