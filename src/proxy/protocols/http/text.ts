/** Makes text of strangers harmless on a page: what a target printed, and what a service is called. */

/** Of one line, in characters. */
const MAX_LINE = 200;

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Colours, titles, movements of the cursor: ECMA-48, sections 5.4 and 5.6, and what is left of them where a line was cut. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const ESCAPES = /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?|\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?/g;
/** Controls, what turns the direction of text or is not seen, and halves of characters. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** For the text of an element, or an attribute in quotes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? "");
}

/** A line as a terminal would show it, but bounded, without colour and in one direction. */
export function visibleLine(line: string): string {
  // Cut first: what is thrown away costs nothing then.
  const text = line
    .slice(0, MAX_LINE * 8)
    .replace(ESCAPES, "")
    .replace(/\r+$/, "");
  // What a carriage return begins anew takes the place of what was there.
  const seen = text.slice(text.lastIndexOf("\r") + 1).replaceAll("\t", "  ");
  const visible = Array.from(seen.replace(UNSEEN, ""));
  const isCut = visible.length > MAX_LINE || line.length > MAX_LINE * 8;
  return isCut ? `${visible.slice(0, MAX_LINE).join("")} […]` : visible.join("");
}
