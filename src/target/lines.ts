/** A program that prints without line ends must not fill our memory. */
const LONGEST_LINE = 4_096;
/** What one program may print in a second before lines are left out. */
const LINES_PER_SECOND = 200;

/** Splits output into lines of bounded length. */
export class LineReader {
  readonly #onLine: (line: string) => void;
  readonly #decoder = new TextDecoder();
  #partial = "";
  #isOverlong = false;

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(chunk: Uint8Array): void {
    const [first = "", ...more] = this.#decoder.decode(chunk, { stream: true }).split("\n");
    this.#append(first);
    for (const piece of more) {
      this.#emit();
      this.#append(piece);
    }
  }

  /** The output ended, perhaps within a line. */
  end(): void {
    if (this.#partial !== "") this.#emit();
  }

  #append(piece: string): void {
    this.#isOverlong ||= this.#partial.length + piece.length > LONGEST_LINE;
    this.#partial = (this.#partial + piece).slice(0, LONGEST_LINE);
  }

  #emit(): void {
    const line = this.#partial.replace(/\r$/, "") + (this.#isOverlong ? " […]" : "");
    this.#partial = "";
    this.#isOverlong = false;
    this.#onLine(line);
  }
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
