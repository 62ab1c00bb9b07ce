/** Longer than any real event; what is longer is skipped. */
const MAX_LINE = 1024 * 1024;

/** Puts newline-delimited JSON together from chunks that split it anywhere. Lines that are no JSON are skipped. */
export class JsonLines {
  readonly #onValue: (value: unknown) => void;
  readonly #decoder = new TextDecoder();
  #partial = "";
  #isSkipping = false;

  constructor(onValue: (value: unknown) => void) {
    this.#onValue = onValue;
  }

  push(chunk: Uint8Array): void {
    const [first = "", ...more] = this.#decoder.decode(chunk, { stream: true }).split("\n");
    this.#append(first);
    for (const piece of more) {
      this.#emit();
      this.#append(piece);
    }
  }

  #append(piece: string): void {
    if (this.#isSkipping) return;
    this.#partial += piece;
    if (this.#partial.length <= MAX_LINE) return;
    this.#partial = "";
    this.#isSkipping = true;
  }

  #emit(): void {
    const line = this.#partial;
    this.#partial = "";
    this.#isSkipping = false;
    if (line.trim() === "") return;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      return;
    }
    this.#onValue(value);
  }
}
