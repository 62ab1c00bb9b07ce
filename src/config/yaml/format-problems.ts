/** The text of an invalid configuration: each problem with its place and its line. */
import { LineCounter } from "yaml";
import { maskLine } from "../mask.ts";
import { ConfigError, type Problem } from "./config-error.ts";

/** Returns the error that reports these problems of a file in the order of the file. @param source the name of the file */
export function configError(
  source: string,
  text: string,
  problems: readonly Problem[],
  options?: ConstructorParameters<typeof ConfigError>[2],
): ConfigError {
  const sorted = problems.toSorted((a, b) => (a.span?.start ?? 0) - (b.span?.start ?? 0));
  const count = sorted.length === 1 ? "1 problem" : `${sorted.length} problems`;
  const lines = new Lines(text);
  const message = [...sorted.map((problem) => format(problem, source, lines)), `${source}: ${count}`].join("\n");
  return new ConfigError(message, sorted, options);
}

const MAX_EXCERPT = 160;
/** Characters before the place, if the excerpt does not begin at the start of the line. */
const CONTEXT = 40;

/** The lines of a text. */
class Lines {
  readonly #lines: readonly string[];
  readonly #counter = new LineCounter();

  constructor(text: string) {
    this.#lines = text.split("\n");
    let start = 0;
    for (const line of this.#lines) {
      this.#counter.addNewLine(start);
      start += line.length + 1;
    }
  }

  /** Returns line and column, from 1, and the line itself. */
  at(offset: number): { line: number; column: number; content: string } {
    const { line, col } = this.#counter.linePos(offset);
    return { line, column: col, content: this.#lines[line - 1] ?? "" };
  }
}

/** `file:line:col error: …`, the line, and carets under the place. */
function format({ message, span, hint }: Problem, source: string, lines: Lines): string {
  const text = visible(message);
  if (span === undefined) return `${source} error: ${text}${hint === undefined ? "" : `\n  ${visible(hint)}`}`;
  const { line, column, content } = lines.at(span.start);
  const number = String(line);
  const { excerpt, gap, width } = excerptOf(content, column - 1, span.end - span.start);
  const shown = maskLine(excerpt);
  // Masking shifts the columns.
  const carets = shown === excerpt ? `${" ".repeat(gap)}${"^".repeat(width)}` : "";
  const remedy = hint === undefined ? "" : ` ${visible(hint)}`;
  return [
    `${source}:${line}:${column} error: ${text}`,
    `  ${number} | ${shown}`,
    `  ${" ".repeat(number.length)} |${carets && ` ${carets}`}${remedy}`,
  ].join("\n");
}

/** The part of a line around `length` characters from `index` on; `gap` and `width` are their place in it. */
function excerptOf(line: string, index: number, length: number): { excerpt: string; gap: number; width: number } {
  const from = index + length <= MAX_EXCERPT ? 0 : Math.max(0, index - CONTEXT);
  const part = line.slice(from, from + MAX_EXCERPT);
  const gap = index - from;
  const excerpt = visible(from === 0 ? part : `…${part.slice(1)}`);
  return { excerpt, gap, width: Math.max(1, Math.min(length, part.length - gap)) };
}

/** Replaces control characters, which could change the terminal, by spaces. Each character has one column. */
function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, " ");
}
