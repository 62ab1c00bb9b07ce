/**
 * Bytes that arrive in pieces. The capacity doubles, so each byte is copied only a few times. Earlier values of `bytes`
 * do not change.
 */
export class GrowingBuffer {
  #storage: Buffer;
  #length: number;

  /** @param start the first bytes, which are copied when more are appended */
  constructor(start: Buffer = Buffer.alloc(0)) {
    this.#storage = start;
    this.#length = start.length;
  }

  get bytes(): Buffer {
    return this.#storage.subarray(0, this.#length);
  }

  append(chunk: Buffer): void {
    const length = this.#length + chunk.length;
    if (this.#length === 0) this.#storage = chunk;
    else {
      if (length > this.#storage.length) {
        const larger = Buffer.allocUnsafe(2 * length);
        this.#storage.copy(larger, 0, 0, this.#length);
        this.#storage = larger;
      }
      chunk.copy(this.#storage, this.#length);
    }
    this.#length = length;
  }
}
