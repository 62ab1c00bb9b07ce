import type { Filter } from "../../../net/pump.ts";
import { Lines, type Piece } from "./lines.ts";

export type Write = (bytes: Buffer) => void;

export interface LineFilterOptions {
  /** Writes the replacement of a piece. Returns a promise if it must wait. Never rejects. */
  readonly read: (piece: Piece, write: Write) => Promise<void> | undefined;
  /** Whether the stream is encrypted, so that all further bytes pass unchanged. */
  readonly isEncrypted: () => boolean;
  /** Writes the replacement of a piece that is read after the end of the stream; absent: pieces pass unchanged. */
  readonly readRest?: (piece: Piece, write: Write) => void;
  /** Called at the end of the stream. */
  readonly onEnd?: (write: Write) => void;
}

/** Passes each line of one direction to `read`, one after the other. */
export class LineFilter implements Filter {
  readonly #options: LineFilterOptions;
  /** Unread bytes. They are bounded, because no more bytes are received while `read` waits. */
  readonly #lines = new Lines();
  /** Bytes that were not written yet. They are joined, because one write for each line would be slow. */
  #output: Buffer[] = [];
  #hasEnded = false;

  constructor(options: LineFilterOptions) {
    this.#options = options;
  }

  take(chunk: Buffer, write: Write): Promise<void> | undefined {
    this.#lines.push(chunk);
    return this.#readLines(write);
  }

  /** The replacement of a piece for which `read` still waits is dropped, because its client or server is gone. */
  end(last: Buffer, write: Write): void {
    this.#hasEnded = true;
    if (last.length > 0) this.#lines.push(last);
    this.#readRest();
    this.#options.onEnd?.(this.#write);
    this.#flush(write);
  }

  #readLines(write: Write): Promise<void> | undefined {
    for (let piece = this.#next(); piece !== undefined; piece = this.#next()) {
      const waiting = this.#options.read(piece, this.#writeUnlessEnded);
      if (waiting === undefined) continue;
      this.#flush(write);
      return waiting.then(() => (this.#hasEnded ? undefined : this.#readLines(write)));
    }
    if (this.#options.isEncrypted()) this.#write(this.#lines.rest());
    this.#flush(write);
    return undefined;
  }

  #next(): Piece | undefined {
    return this.#options.isEncrypted() ? undefined : this.#lines.next();
  }

  readonly #write: Write = (bytes) => void this.#output.push(bytes);

  readonly #writeUnlessEnded: Write = (bytes) => {
    if (!this.#hasEnded) this.#write(bytes);
  };

  #readRest(): void {
    const { readRest = ({ bytes }, write) => write(bytes) } = this.#options;
    for (let piece = this.#next(); piece !== undefined; piece = this.#next()) readRest(piece, this.#write);
    const bytes = this.#lines.rest();
    if (this.#options.isEncrypted()) this.#write(bytes);
    else readRest({ bytes, place: "whole" }, this.#write);
  }

  #flush(write: Write): void {
    const output = this.#output.filter(({ length }) => length > 0);
    this.#output = [];
    if (output.length > 0) write(Buffer.concat(output));
  }
}
