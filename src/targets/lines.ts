import { LineSplitter } from "../net/line-splitter.ts";

/** Shown part of a line, in characters. */
const MAX_SHOWN = 4_096;
/** Part of a line that a readiness pattern can match, in characters. It bounds the memory for output without newlines. */
export const MAX_MATCHED = 1_024 * 1_024;
/** Pause after which an unfinished line, such as a prompt, is passed on. */
const PAUSE_MS = 300;
/** Default number of last lines. */
export const LAST_LINES = 10;
const CUT = " […]";
/** Limit of reported lines per second and program. */
const LINES_PER_SECOND = 200;

export interface LineReaderOptions {
  /** Limit of a line in characters; default: the shown part. */
  readonly limit?: number;
  /** Called with an unfinished line when the output pauses in it. The line may be continued later. */
  readonly onUnfinished?: (line: string) => void;
}

/** Splits the output of a program into lines, and marks lines that are cut. */
export class LineReader {
  readonly #lines: LineSplitter;
  readonly #onUnfinished: ((line: string) => void) | undefined;
  #pause: NodeJS.Timeout | undefined;

  constructor(onLine: (line: string) => void, { limit = MAX_SHOWN, onUnfinished }: LineReaderOptions = {}) {
    this.#lines = new LineSplitter((line, isCut) => onLine(line.replace(/\r$/, "") + (isCut ? CUT : "")), limit);
    this.#onUnfinished = onUnfinished;
  }

  push(chunk: Uint8Array): void {
    clearTimeout(this.#pause);
    this.#lines.push(chunk);
    const onUnfinished = this.#onUnfinished;
    if (onUnfinished === undefined || this.#lines.partial === "") return;
    this.#pause = setTimeout(() => onUnfinished(this.#lines.partial), PAUSE_MS).unref();
  }

  /** Call at the end of the output, which may be within a line. */
  end(): void {
    clearTimeout(this.#pause);
    this.#lines.end();
  }
}

/** Returns the shown part of a line. */
export function shortened(line: string): string {
  return line.length > MAX_SHOWN + CUT.length ? line.slice(0, MAX_SHOWN) + CUT : line;
}

/** Passes on a limited number of lines per second, and reports how many were dropped. */
export class LineLimit {
  readonly #onLine: (line: string) => void;
  #second = 0;
  #count = 0;
  #dropped = 0;

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(line: string): void {
    if (this.#isAllowed()) this.#onLine(line);
    else this.#dropped += 1;
  }

  /** Call at the end of the output. */
  end(): void {
    this.#reportDropped();
  }

  #isAllowed(): boolean {
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#count = 0;
      this.#reportDropped();
    }
    this.#count += 1;
    return this.#count <= LINES_PER_SECOND;
  }

  #reportDropped(): void {
    if (this.#dropped > 0) this.#onLine(`[${this.#dropped} lines dropped]`);
    this.#dropped = 0;
  }
}
