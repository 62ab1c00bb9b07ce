/** Splits the bytes of a control connection into lines (RFC 959, 5.3), independent of how they arrive. */

import { GrowingBuffer } from "../../../net/growing-buffer.ts";

/** In bytes. A longer line is forwarded in parts and not parsed. */
export const MAX_LINE = 8 * 1024;

/** A line with its newline, or a part of a long line. All pieces together are the received bytes. */
export interface Piece {
  readonly bytes: Buffer;
  /** The `start` of a long line has MAX_LINE bytes. Its `end` has the newline. */
  readonly place: "whole" | "start" | "middle" | "end";
}

const NEWLINE = 0x0a;

/** Splits on demand, so unparsed bytes need no more memory than their length, however short the lines are. */
export class Lines {
  /** Received bytes, of which the first `#taken` were returned. */
  #buffer = new GrowingBuffer();
  #taken = 0;
  /** End of the part that was searched for a newline. */
  #searched = 0;
  /** Whether the start of a long line was returned, but not its end. */
  #isInLongLine = false;

  push(chunk: Buffer): void {
    if (this.#taken > 0) {
      this.#buffer = new GrowingBuffer(this.#buffer.bytes.subarray(this.#taken));
      this.#searched = Math.max(0, this.#searched - this.#taken);
      this.#taken = 0;
    }
    this.#buffer.append(chunk);
  }

  /** Returns the next piece, or undefined if it is incomplete. */
  next(): Piece | undefined {
    const { bytes } = this.#buffer;
    const newline = bytes.indexOf(NEWLINE, Math.max(this.#taken, this.#searched));
    this.#searched = newline < 0 ? bytes.length : newline;
    if (this.#isInLongLine) return this.#nextOfLongLine(newline);
    const end = newline < 0 ? bytes.length : newline + 1;
    if (end - this.#taken > MAX_LINE) {
      this.#isInLongLine = true;
      return this.#take(this.#taken + MAX_LINE, "start");
    }
    return newline < 0 ? undefined : this.#take(end, "whole");
  }

  /** Returns all remaining bytes. */
  rest(): Buffer {
    return this.#take(this.#buffer.bytes.length, "whole").bytes;
  }

  /** The newline is a piece of its own, so that the end is never empty. */
  #nextOfLongLine(newline: number): Piece | undefined {
    const end = newline < 0 ? this.#buffer.bytes.length : newline;
    if (end > this.#taken) return this.#take(end, "middle");
    if (newline < 0) return undefined;
    this.#isInLongLine = false;
    return this.#take(newline + 1, "end");
  }

  #take(end: number, place: Piece["place"]): Piece {
    const bytes = this.#buffer.bytes.subarray(this.#taken, end);
    this.#taken = end;
    return { bytes, place };
  }
}
