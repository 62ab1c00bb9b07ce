/** Splits a stream of UTF-8 text into lines of bounded length. */
export class LineSplitter {
  readonly #onLine: (line: string, isCut: boolean) => void;
  readonly #limit: number;
  readonly #decoder = new TextDecoder();
  #partial = "";
  #isCut = false;

  /**
   * @param onLine receives each line without its newline; `isCut` if it was longer than the limit
   * @param limit in characters
   */
  constructor(onLine: (line: string, isCut: boolean) => void, limit: number) {
    this.#onLine = onLine;
    this.#limit = limit;
  }

  /** The beginning of the next line. */
  get partial(): string {
    return this.#partial;
  }

  push(chunk: Uint8Array): void {
    const [first = "", ...rest] = this.#decoder.decode(chunk, { stream: true }).split("\n");
    this.#append(first);
    for (const piece of rest) {
      this.#emit();
      this.#append(piece);
    }
  }

  /** Emits an unfinished last line. */
  end(): void {
    if (this.#partial !== "") this.#emit();
  }

  #append(piece: string): void {
    this.#isCut ||= this.#partial.length + piece.length > this.#limit;
    this.#partial = (this.#partial + piece).slice(0, this.#limit);
  }

  #emit(): void {
    const [line, isCut] = [this.#partial, this.#isCut];
    this.#partial = "";
    this.#isCut = false;
    this.#onLine(line, isCut);
  }
}
