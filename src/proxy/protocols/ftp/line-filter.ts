import type { Filter } from "../../../net/pump.ts";
import { Lines, type Piece } from "./lines.ts";

export type Write = (bytes: Buffer) => void;

export interface LineFilterOptions {
  /** Says what is to become of a piece; a promise when that takes its time. Never rejects. */
  readonly read: (piece: Piece, say: Write) => Promise<void> | undefined;
  /** Whether it is over with reading: from then on all passes as it is. */
  readonly isEncrypted: () => boolean;
  /** Whether what has come of a line is all of it although the newline is missing. */
  readonly isWhole?: (start: Buffer) => boolean;
  /** Says what is to become of a piece of which nobody has read when the stream is over; absent: it passes as it is. */
  readonly readRest?: (piece: Piece, say: Write) => void;
  /** The stream is over. */
  readonly onEnd?: (say: Write) => void;
}

/** Has each line of one direction looked at, one after the other. */
export class LineFilter implements Filter {
  readonly #options: LineFilterOptions;
  /** What came and was not read yet: bounded, because nothing more is taken before. */
  readonly #lines: Lines;
  /** What was said and not written yet: a write for each line would be slow. */
  #said: Buffer[] = [];
  #isOver = false;

  constructor(options: LineFilterOptions) {
    this.#options = options;
    this.#lines = new Lines(options.isWhole);
  }

  take(chunk: Buffer, write: Write): Promise<void> | undefined {
    this.#lines.push(chunk);
    return this.#work(write);
  }

  /** What a piece that is being worked on would have become is lost: there is nobody any more whom it concerns. */
  end(last: Buffer, write: Write): void {
    this.#isOver = true;
    if (last.length > 0) this.#lines.push(last);
    this.#endLines();
    this.#options.onEnd?.(this.#say);
    this.#flush(write);
  }

  #work(write: Write): Promise<void> | undefined {
    for (let piece = this.#next(); piece !== undefined; piece = this.#next()) {
      const isLate = this.#options.read(piece, this.#sayInTime);
      if (isLate === undefined) continue;
      this.#flush(write);
      return isLate.then(() => (this.#isOver ? undefined : this.#work(write)));
    }
    if (this.#options.isEncrypted()) this.#say(this.#lines.rest());
    this.#flush(write);
    return undefined;
  }

  #next(): Piece | undefined {
    return this.#options.isEncrypted() ? undefined : this.#lines.next();
  }

  readonly #say: Write = (bytes) => void this.#said.push(bytes);

  readonly #sayInTime: Write = (bytes) => {
    if (!this.#isOver) this.#say(bytes);
  };

  #endLines(): void {
    const { readRest = ({ bytes }, say) => say(bytes) } = this.#options;
    for (let piece = this.#next(); piece !== undefined; piece = this.#next()) readRest(piece, this.#say);
    const bytes = this.#lines.rest();
    if (this.#options.isEncrypted()) this.#say(bytes);
    else readRest({ bytes, place: "whole" }, this.#say);
  }

  #flush(write: Write): void {
    const said = this.#said.filter(({ length }) => length > 0);
    this.#said = [];
    if (said.length > 0) write(Buffer.concat(said));
  }
}
