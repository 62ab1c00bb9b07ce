/** Makes untrusted text safe for a page: a target's output and a service's name. */

/** Limit of one line in characters. */
const MAX_LINE = 200;

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Colours, titles, cursor movements (ECMA-48, sections 5.4 and 5.6), and incomplete ones at the end of a line. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: the expression finds control characters
const ESCAPES = /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?|\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?/g;
/** Controls, invisible characters, characters that change the text direction, and lone surrogates. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Escapes text for an element or a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? "");
}

/** Returns a line as a terminal shows it, but shortened, without colours and in one direction. */
export function visibleLine(line: string): string {
  // Cut first, so that a long line is not processed.
  const text = line
    .slice(0, MAX_LINE * 8)
    .replace(ESCAPES, "")
    .replace(/\r+$/, "");
  // Text after a carriage return overwrites the text before it.
  const last = text.slice(text.lastIndexOf("\r") + 1).replaceAll("\t", "  ");
  const visible = Array.from(last.replace(INVISIBLE, ""));
  const isCut = visible.length > MAX_LINE || line.length > MAX_LINE * 8;
  return isCut ? `${visible.slice(0, MAX_LINE).join("")} […]` : visible.join("");
}
