/** Cuts what a control connection carries into lines (RFC 959, 5.3), in whatever pieces it comes. */

import { GrowingBuffer } from "../../../net/growing-buffer.ts";

/** In bytes. A longer line is passed on in parts, and nobody reads it: commands and replies of such a length have no meaning. */
export const MAX_LINE: number = 8 * 1024;

/**
 * A line with its end, or a part of one that is too long. All pieces together are the bytes that came, except for the
 * newline of what was whole without it.
 */
export interface Piece {
  readonly bytes: Buffer;
  /** Of a long line, `start` has the first LONGEST_LINE bytes, and `end` the last ones. */
  readonly place: "whole" | "start" | "middle" | "end";
}

const NEWLINE = 0x0a;

/** Cuts when it is asked to: what waits to be read costs no more than its bytes, however short its lines are. */
export class Lines {
  readonly #isWhole: (start: Buffer) => boolean;
  /** What came, of which the first `#given` bytes were given out. */
  #bytes = new GrowingBuffer();
  #given = 0;
  /** End of the part that was searched for a newline. */
  #searched = 0;
  /** Whether the start of a long line was given out, and not its end. */
  #isInLong = false;
  /** Whether the newline of what was given out may yet come. */
  #isNewlineDue = false;

  /** @param isWhole whether what has come of a line is all of it although the newline is missing */
  constructor(isWhole: (start: Buffer) => boolean = () => false) {
    this.#isWhole = isWhole;
  }

  push(chunk: Buffer): void {
    const isLate = this.#isNewlineDue && chunk[0] === NEWLINE;
    this.#isNewlineDue = false;
    if (this.#given > 0) {
      this.#bytes = new GrowingBuffer(this.#bytes.bytes.subarray(this.#given));
      this.#searched = Math.max(0, this.#searched - this.#given);
    }
    this.#bytes.append(chunk);
    this.#given = isLate ? 1 : 0;
  }

  /** @returns what comes next; undefined when more has to be there first */
  next(): Piece | undefined {
    const { bytes } = this.#bytes;
    const newline = bytes.indexOf(NEWLINE, Math.max(this.#given, this.#searched));
    this.#searched = newline < 0 ? bytes.length : newline;
    const end = newline < 0 ? bytes.length : newline + 1;
    if (this.#isInLong) return this.#nextOfLong(newline);
    if (end - this.#given > MAX_LINE) {
      this.#isInLong = true;
      return this.#give(this.#given + MAX_LINE, "start");
    }
    if (newline >= 0) return this.#give(end, "whole");
    if (!this.#isWhole(bytes.subarray(this.#given))) return undefined;
    this.#isNewlineDue = true;
    return this.#give(end, "whole");
  }

  /** What was not given out yet; afterwards it is. */
  rest(): Buffer {
    return this.#give(this.#bytes.bytes.length, "whole").bytes;
  }

  /** The newline is kept back for the end, which is never empty. */
  #nextOfLong(newline: number): Piece | undefined {
    const end = newline < 0 ? this.#bytes.bytes.length : newline;
    if (end > this.#given) return this.#give(end, "middle");
    if (newline < 0) return undefined;
    this.#isInLong = false;
    return this.#give(newline + 1, "end");
  }

  #give(end: number, place: Piece["place"]): Piece {
    const bytes = this.#bytes.bytes.subarray(this.#given, end);
    this.#given = end;
    return { bytes, place };
  }
}
