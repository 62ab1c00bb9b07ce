/**
 * Bytes that arrive in pieces. The capacity doubles, so each byte is copied only a few times. Earlier values of `bytes`
 * do not change.
 */
export class GrowingBuffer {
  #room: Buffer;
  #length: number;

  /** @param start the first bytes, which are copied when more are appended */
  constructor(start: Buffer = Buffer.alloc(0)) {
    this.#room = start;
    this.#length = start.length;
  }

  get bytes(): Buffer {
    return this.#room.subarray(0, this.#length);
  }

  append(chunk: Buffer): void {
    const length = this.#length + chunk.length;
    if (this.#length === 0) this.#room = chunk;
    else {
      if (length > this.#room.length) {
        const larger = Buffer.allocUnsafe(2 * length);
        this.#room.copy(larger, 0, 0, this.#length);
        this.#room = larger;
      }
      chunk.copy(this.#room, this.#length);
    }
    this.#length = length;
  }
}
