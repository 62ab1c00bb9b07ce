import type { Filter } from "../../../net/pump.ts";
import { Lines, type Piece } from "./lines.ts";

export type Say = (bytes: Buffer) => void;

export interface PieceFilterOptions {
  /** Says what is to become of a piece; a promise when that takes its time. Never rejects. */
  readonly read: (piece: Piece, say: Say) => Promise<void> | undefined;
  /** Whether it is over with reading: from then on all passes as it is. */
  readonly isAside: () => boolean;
  /** Whether what has come of a line is all of it although the newline is missing. */
  readonly isWhole?: (start: Buffer) => boolean;
  /** Says what is to become of a piece of which nobody has read when the stream is over; absent: it passes as it is. */
  readonly readRest?: (piece: Piece, say: Say) => void;
  /** The stream is over. */
  readonly onEnd?: (say: Say) => void;
}

/** Has each line of one direction looked at, one after the other. */
export class PieceFilter implements Filter {
  readonly #options: PieceFilterOptions;
  /** What came and was not read yet: bounded, because nothing more is taken before. */
  readonly #lines: Lines;
  /** What was said and not written yet: a write for each line would be slow. */
  #said: Buffer[] = [];
  #isOver = false;

  constructor(options: PieceFilterOptions) {
    this.#options = options;
    this.#lines = new Lines(options.isWhole);
  }

  take(chunk: Buffer, write: Say): Promise<void> | undefined {
    this.#lines.push(chunk);
    return this.#work(write);
  }

  /** What a piece that is being worked on would have become is lost: there is nobody any more whom it concerns. */
  end(last: Buffer, write: Say): void {
    this.#isOver = true;
    if (last.length > 0) this.#lines.push(last);
    this.#endLines();
    this.#options.onEnd?.(this.#say);
    this.#flush(write);
  }

  #work(write: Say): Promise<void> | undefined {
    for (let piece = this.#next(); piece !== undefined; piece = this.#next()) {
      const isLate = this.#options.read(piece, this.#sayInTime);
      if (isLate === undefined) continue;
      this.#flush(write);
      return isLate.then(() => (this.#isOver ? undefined : this.#work(write)));
    }
    if (this.#options.isAside()) this.#say(this.#lines.rest());
    this.#flush(write);
    return undefined;
  }

  #next(): Piece | undefined {
    return this.#options.isAside() ? undefined : this.#lines.next();
  }

  readonly #say: Say = (bytes) => void this.#said.push(bytes);

  readonly #sayInTime: Say = (bytes) => {
    if (!this.#isOver) this.#say(bytes);
  };

  #endLines(): void {
    const { readRest = ({ bytes }, say) => say(bytes) } = this.#options;
    for (let piece = this.#next(); piece !== undefined; piece = this.#next()) readRest(piece, this.#say);
    const bytes = this.#lines.rest();
    if (this.#options.isAside()) this.#say(bytes);
    else readRest({ bytes, place: "whole" }, this.#say);
  }

  #flush(write: Say): void {
    const said = this.#said.filter(({ length }) => length > 0);
    this.#said = [];
    if (said.length > 0) write(Buffer.concat(said));
  }
}
