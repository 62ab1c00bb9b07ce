import { maskLine } from "../mask.ts";

/** Where something is in a file: offsets of its first and past its last character. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** One thing that is wrong with a configuration. */
export interface Problem {
  readonly message: string;
  /** Absent when it is about the file as a whole. */
  readonly span?: Span;
  /** What to do about it. */
  readonly hint?: string;
}

/** A configuration cannot be used. Names every problem at once, in the order of the file. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly Problem[];

  /** Where that file has the admin server listen, as far as it can be told; absent when there is no such file. */
  readonly admin?: { readonly host: string; readonly port: number };

  constructor(
    source: string,
    text: string,
    problems: readonly Problem[],
    options: ErrorOptions & Pick<ConfigError, "admin"> = {},
  ) {
    const sorted = problems.toSorted((a, b) => (a.span?.start ?? 0) - (b.span?.start ?? 0));
    const count = sorted.length === 1 ? "1 problem" : `${sorted.length} problems`;
    const lines = new Lines(text);
    super([...sorted.map((problem) => format(problem, source, lines)), `${source}: ${count}`].join("\n"), options);
    this.problems = sorted;
    if (options.admin !== undefined) this.admin = options.admin;
  }
}

const MAX_EXCERPT = 160;
/** What is shown before a place too far to the right for the excerpt to begin at the line's start. */
const LEAD = 40;

/** The lines of a text, so that places in it are found fast however many are asked for. */
class Lines {
  readonly #text: string;
  readonly #starts: readonly number[];

  constructor(text: string) {
    this.#text = text;
    this.#starts = [0, ...[...text.matchAll(/\n/g)].map(({ index }) => index + 1)];
  }

  /** Line and column, from 1, and the line itself. */
  at(offset: number): { line: number; column: number; content: string } {
    let [low, high] = [0, this.#starts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle;
    }
    const start = this.#starts[low]!;
    const next = this.#starts[low + 1];
    const content = this.#text.slice(start, next === undefined ? undefined : next - 1);
    return { line: low + 1, column: offset - start + 1, content };
  }
}

/** `file:line:col error: …`, the line, and carets under the place. */
function format({ message, span, hint }: Problem, source: string, lines: Lines): string {
  const words = visible(message);
  if (span === undefined) return `${source} error: ${words}${hint === undefined ? "" : `\n  ${visible(hint)}`}`;
  const { line, column, content } = lines.at(span.start);
  const number = String(line);
  const { excerpt, gap, width } = excerptOf(content, column - 1, span.end - span.start);
  const shown = maskLine(excerpt);
  // Masking shifts columns.
  const carets = shown === excerpt ? `${" ".repeat(gap)}${"^".repeat(width)}` : "";
  const remedy = hint === undefined ? "" : ` ${visible(hint)}`;
  return [
    `${source}:${line}:${column} error: ${words}`,
    `  ${number} | ${shown}`,
    `  ${" ".repeat(number.length)} |${carets && ` ${carets}`}${remedy}`,
  ].join("\n");
}

/** The part of a line around `length` characters from `index` on; `gap` and `width` are their place in it. */
function excerptOf(line: string, index: number, length: number): { excerpt: string; gap: number; width: number } {
  const from = index + length <= MAX_EXCERPT ? 0 : Math.max(0, index - LEAD);
  const part = line.slice(from, from + MAX_EXCERPT);
  const gap = index - from;
  const excerpt = visible(from === 0 ? part : `…${part.slice(1)}`);
  return { excerpt, gap, width: Math.max(1, Math.min(length, part.length - gap)) };
}

/** One column a character: what would move the cursor, or do worse to a terminal, is shown as a space. */
function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, " ");
}
