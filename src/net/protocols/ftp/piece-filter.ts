import type { Filter } from "../../course.ts";
import { Lines, type Piece } from "./lines.ts";

export type Say = (bytes: Buffer) => void;

export interface PieceFilterOptions {
  /** Says what is to become of a piece; a promise when that takes its time. Never rejects. */
  readonly read: (piece: Piece, say: Say) => Promise<void> | undefined;
  /** Whether it is over with reading: from then on all passes as it is. */
  readonly isAside: () => boolean;
  /** The stream is over. */
  readonly onEnd?: (say: Say) => void;
}

/** Has each line of one direction looked at, one after the other. */
export class PieceFilter implements Filter {
  readonly #options: PieceFilterOptions;
  readonly #lines = new Lines();
  /** What came together and was not read yet: bounded, because nothing more is taken before. */
  #pieces: readonly Piece[] = [];
  #next = 0;
  /** What was said and not written yet: a write for each line would be slow. */
  #said: Buffer[] = [];
  #isOver = false;

  constructor(options: PieceFilterOptions) {
    this.#options = options;
  }

  take(chunk: Buffer, write: Say): Promise<void> | undefined {
    this.#pieces = this.#lines.push(chunk);
    this.#next = 0;
    return this.#work(write);
  }

  /** What a piece that is being worked on would have become is lost: there is nobody any more whom it concerns. */
  end(write: Say): void {
    this.#isOver = true;
    this.#sayRest();
    this.#options.onEnd?.(this.#say);
    this.#flush(write);
  }

  #work(write: Say): Promise<void> | undefined {
    for (let piece = this.#pieces[this.#next]; piece !== undefined; piece = this.#pieces[this.#next]) {
      if (this.#options.isAside()) break;
      this.#next += 1;
      const isLate = this.#options.read(piece, this.#sayInTime);
      if (isLate === undefined) continue;
      this.#flush(write);
      return isLate.then(() => (this.#isOver ? undefined : this.#work(write)));
    }
    if (this.#options.isAside()) this.#sayRest();
    this.#flush(write);
    return undefined;
  }

  readonly #say: Say = (bytes) => void this.#said.push(bytes);

  readonly #sayInTime: Say = (bytes) => {
    if (!this.#isOver) this.#say(bytes);
  };

  #sayRest(): void {
    for (const { bytes } of this.#pieces.slice(this.#next)) this.#say(bytes);
    this.#pieces = [];
    this.#next = 0;
    this.#say(this.#lines.rest());
  }

  #flush(write: Say): void {
    const said = this.#said.filter(({ length }) => length > 0);
    this.#said = [];
    if (said.length > 0) write(Buffer.concat(said));
  }
}
