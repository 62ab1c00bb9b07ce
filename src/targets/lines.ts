/** Shown part of a line, in characters. */
const MAX_SHOWN = 4_096;
/** Part of a line that a readiness pattern can match, in characters. It bounds the memory for output without newlines. */
export const MAX_MATCHED: number = 1_024 * 1_024;
/** Pause after which an unfinished line, such as a prompt, is passed on. */
const REST_MS = 300;
const CUT = " […]";
/** What one program may print in a second before lines are left out. */
const LINES_PER_SECOND = 200;

export interface LineReaderOptions {
  /** Limit of a line in characters; default: the shown part. */
  readonly longest?: number;
  /** Called with an unfinished line when the output pauses in it. The line may be continued later. */
  readonly onUnfinished?: (line: string) => void;
}

/** Splits output into lines of bounded length. */
export class LineReader {
  readonly #onLine: (line: string) => void;
  readonly #longest: number;
  readonly #onUnfinished: ((line: string) => void) | undefined;
  readonly #decoder = new TextDecoder();
  #partial = "";
  #isOverlong = false;
  #rest: NodeJS.Timeout | undefined;

  constructor(onLine: (line: string) => void, { longest = MAX_SHOWN, onUnfinished }: LineReaderOptions = {}) {
    this.#onLine = onLine;
    this.#longest = longest;
    this.#onUnfinished = onUnfinished;
  }

  push(chunk: Uint8Array): void {
    clearTimeout(this.#rest);
    const [first = "", ...more] = this.#decoder.decode(chunk, { stream: true }).split("\n");
    this.#append(first);
    for (const piece of more) {
      this.#emit();
      this.#append(piece);
    }
    const onUnfinished = this.#onUnfinished;
    if (onUnfinished === undefined || this.#partial === "") return;
    this.#rest = setTimeout(() => onUnfinished(this.#partial), REST_MS).unref();
  }

  /** The output ended, perhaps within a line. */
  end(): void {
    clearTimeout(this.#rest);
    if (this.#partial !== "") this.#emit();
  }

  #append(piece: string): void {
    this.#isOverlong ||= this.#partial.length + piece.length > this.#longest;
    this.#partial = (this.#partial + piece).slice(0, this.#longest);
  }

  #emit(): void {
    const line = this.#partial.replace(/\r$/, "") + (this.#isOverlong ? CUT : "");
    this.#partial = "";
    this.#isOverlong = false;
    this.#onLine(line);
  }
}

/** The part of a line that is shown. */
export function shortened(line: string): string {
  return line.length > MAX_SHOWN + CUT.length ? line.slice(0, MAX_SHOWN) + CUT : line;
}

/** Passes lines on, bounded in number, and tells how many it left out. */
export class LineLimit {
  readonly #onLine: (line: string) => void;
  #second = 0;
  #lines = 0;
  #left = 0;

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(line: string): void {
    if (this.#isAllowed()) this.#onLine(line);
    else this.#left += 1;
  }

  /** No line follows. */
  end(): void {
    this.#tellLeftOut();
  }

  #isAllowed(): boolean {
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#lines = 0;
      this.#tellLeftOut();
    }
    this.#lines += 1;
    return this.#lines <= LINES_PER_SECOND;
  }

  #tellLeftOut(): void {
    if (this.#left > 0) this.#onLine(`[${this.#left} lines left out]`);
    this.#left = 0;
  }
}
