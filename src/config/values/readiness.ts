import type { StatusRange } from "../config.ts";
import { UnitError } from "./units.ts";

/**
 * Parses an HTTP status or a range: `204`, `200-399`.
 *
 * @throws UnitError
 */
export function parseStatus(text: string): StatusRange {
  const [, first, last = first] = /^(\d+)(?:\s*-\s*(\d+))?$/.exec(text.trim()) ?? [];
  if (first === undefined) throw new UnitError(`"${text}" is not a status: write 204 or "200-399"`);
  const [from, to] = [Number(first), Number(last)];
  if (from < 200 || to > 599) throw new UnitError(`"${text}": the status of a response is a number from 200 to 599`);
  if (from > to) throw new UnitError(`"${text}" is in the wrong order: write "${to}-${from}"`);
  return { from, to };
}

/** Headers that the probe sets itself, for the framing of the request and the connection. */
const framing: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "transfer-encoding",
  "upgrade",
]);

/**
 * Checks headers of an HTTP request and returns them unchanged.
 *
 * @throws UnitError
 */
export function parseHeaders(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const seen = new Set<string>();
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(lower))
      throw new UnitError(`${JSON.stringify(name)} is not a header name: use letters, digits and "-"`);
    if (framing.has(lower)) throw new UnitError(`header "${name}" is set by the probe itself: remove it`);
    if (seen.has(lower)) throw new UnitError(`header "${name}" is set twice, because case does not matter: remove one`);
    if (!/^[\t -~\x80-\xff]*$/.test(value))
      throw new UnitError(`header "${name}" contains a control or a character outside Latin-1: remove it`);
    seen.add(lower);
  }
  return headers;
}

/**
 * Checks a regular expression and returns it unchanged.
 *
 * @throws UnitError
 */
export function parsePattern(text: string): string {
  const slashed = /^\/(.+)\/([a-z]*)$/.exec(text);
  if (slashed !== null) {
    const [, inner, flags] = slashed;
    const pattern = flags?.includes("i") ? `(?i:${inner})` : inner;
    throw new UnitError(
      `"${text}" is in slashes, which are part of the pattern here: write '${pattern}' (or "[/]" for a slash)`,
    );
  }
  try {
    new RegExp(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const reason = error.message.slice(error.message.lastIndexOf(": ") + 2);
    throw new UnitError(`"${text}" is not a regular expression: ${reason.charAt(0).toLowerCase()}${reason.slice(1)}`);
  }
  return text;
}
