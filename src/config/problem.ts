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

  constructor(source: string, text: string, problems: readonly Problem[], options?: ErrorOptions) {
    const sorted = problems.toSorted((a, b) => (a.span?.start ?? 0) - (b.span?.start ?? 0));
    const count = sorted.length === 1 ? "1 problem" : `${sorted.length} problems`;
    super([...sorted.map((problem) => format(problem, source, text)), `${source}: ${count}`].join("\n"), options);
    this.problems = sorted;
  }
}

const LONGEST_EXCERPT = 160;

/** `file:line:col error: …`, the line, and carets under the place. */
function format({ message, span, hint }: Problem, source: string, text: string): string {
  if (span === undefined) return `${source} error: ${message}${hint === undefined ? "" : `\n  ${hint}`}`;
  const { line, column, content } = lineAt(text, span.start);
  const number = String(line);
  const length = Math.max(1, Math.min(span.end - span.start, content.length - column + 1));
  const gap = " ".repeat(column - 1);
  return [
    `${source}:${line}:${column} error: ${message}`,
    `  ${number} | ${content.slice(0, LONGEST_EXCERPT)}`,
    `  ${" ".repeat(number.length)} | ${gap}${"^".repeat(length)}${hint === undefined ? "" : ` ${hint}`}`,
  ].join("\n");
}

function lineAt(text: string, offset: number): { line: number; column: number; content: string } {
  const before = text.slice(0, offset);
  const start = before.lastIndexOf("\n") + 1;
  const end = text.indexOf("\n", start);
  return {
    line: before.split("\n").length,
    column: offset - start + 1,
    content: text.slice(start, end === -1 ? undefined : end).replace(/[\t\r]/g, " "),
  };
}
