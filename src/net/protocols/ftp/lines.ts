/** Cuts what a control connection carries into lines (RFC 959, 5.3), in whatever pieces it comes. */

/** In bytes. A longer line is passed on in parts, and nobody reads it: commands and replies of such a length have no meaning. */
export const LONGEST_LINE: number = 8 * 1024;

/** A line with its end, or a part of one that is too long. All pieces together are the bytes that came. */
export interface Piece {
  readonly bytes: Buffer;
  /** Of a long line, `start` has the first LONGEST_LINE bytes, and `end` the last ones. */
  readonly place: "whole" | "start" | "middle" | "end";
}

const NEWLINE = 0x0a;

export class Lines {
  /** The beginning of a line that is not there as a whole. */
  #held: Buffer = Buffer.alloc(0);
  /** Whether the start of a long line was given out, and not its end. */
  #isInLong = false;

  /** @returns what can be told of it already, in order */
  push(chunk: Buffer): Piece[] {
    const pieces: Piece[] = [];
    let bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE)) {
      this.#line(bytes.subarray(0, end + 1), pieces);
      bytes = bytes.subarray(end + 1);
    }
    this.#held = this.#begin(bytes, pieces);
    return pieces;
  }

  /** What was not given out yet; afterwards it is. */
  rest(): Buffer {
    const rest = this.#held;
    this.#held = Buffer.alloc(0);
    return rest;
  }

  #line(bytes: Buffer, pieces: Piece[]): void {
    const rest = this.#begin(bytes, pieces);
    pieces.push({ bytes: rest, place: this.#isInLong ? "end" : "whole" });
    this.#isInLong = false;
  }

  /** Gives out what is too long to be held. @returns what may be held */
  #begin(bytes: Buffer, pieces: Piece[]): Buffer {
    let rest = bytes;
    if (!this.#isInLong && rest.length > LONGEST_LINE) {
      pieces.push({ bytes: rest.subarray(0, LONGEST_LINE), place: "start" });
      rest = rest.subarray(LONGEST_LINE);
      this.#isInLong = true;
    }
    // The newline is kept back for the end, which is never empty.
    const most = rest.at(-1) === NEWLINE ? rest.length - 1 : rest.length;
    if (!this.#isInLong || most === 0) return rest;
    pieces.push({ bytes: rest.subarray(0, most), place: "middle" });
    return rest.subarray(most);
  }
}
