/** One direction of a relay: passes on what a socket receives, no faster than the other one takes it. */
import type net from "node:net";
import { endsWithTlsClose } from "./tls-close.ts";

const NOTHING = Buffer.alloc(0);

/** Changes what one side says on its way to the other. */
export interface Filter {
  /**
   * Takes what was received; what becomes of it goes to `write`, in order.
   *
   * @returns when it takes its time: then nothing more is received before. Never rejects
   */
  take(chunk: Buffer, write: (bytes: Buffer) => void): Promise<void> | undefined;

  /**
   * The stream is over, in whatever way, and so is what was being waited for: passes on all that is left. Called once.
   *
   * @param last what was received and not taken yet
   */
  end(last: Buffer, write: (bytes: Buffer) => void): void;
}

/** What one side says, on its way to the other. */
export class Pump {
  readonly #from: net.Socket;
  readonly #to: net.Socket;
  readonly #filter: Filter | undefined;
  /** What the filter takes its time for. */
  #pending: Promise<void> | undefined;
  #isFlushed = false;
  #writes = 0;
  /** Number of the write that ended with a TLS close, set after the kernel accepted it. */
  #tlsClose: number | undefined;

  constructor(from: net.Socket, to: net.Socket, filter: Filter | undefined) {
    this.#from = from;
    this.#to = to;
    this.#filter = filter;
  }

  /** @param count told how many bytes were received */
  run(count: (bytes: number) => void): void {
    const from = this.#from;
    from.on("data", (chunk: Buffer) => {
      count(chunk.length);
      if (this.#filter === undefined) this.#write(chunk);
      else if (!this.#isFlushed) this.#wait(this.#filter.take(chunk, this.#write));
    });
    this.#to.on("drain", () => this.#resume());
    // A client that half-closed while it waited, without a word, has told so before anybody listened.
    if (from.readableEnded) this.#end();
    else from.on("end", () => this.#end());
    from.resume();
  }

  /** Nothing more comes but this: what was held back goes. Idempotent. */
  flush(last: Buffer = NOTHING): void {
    if (this.#isFlushed) return;
    this.#isFlushed = true;
    if (this.#filter !== undefined) this.#filter.end(last, this.#write);
    else if (last.length > 0) this.#write(last);
  }

  /** Whether the stream ended with a forwarded TLS close. Then it is complete, even without a FIN. */
  get isTlsClosed(): boolean {
    return this.#writes === this.#tlsClose;
  }

  /** A filter may be done after the other side is gone. */
  readonly #write = (bytes: Buffer): void => {
    if (!this.#to.writable) return;
    this.#writes += 1;
    const passedOn = endsWithTlsClose(bytes) ? this.#onClosePassed(this.#writes) : undefined;
    if (!this.#to.write(bytes, passedOn)) this.#from.pause();
  };

  #onClosePassed(write: number): (error?: Error | null) => void {
    return (error) => {
      if (!error) this.#tlsClose = write;
    };
  }

  #wait(busy: Promise<void> | undefined): void {
    if (busy === undefined) return;
    this.#from.pause();
    this.#pending = busy.then(() => {
      this.#pending = undefined;
      if (!this.#to.writableNeedDrain) this.#resume();
    });
  }

  #resume(): void {
    if (this.#pending === undefined) this.#from.resume();
  }

  #end(): void {
    if (this.#pending !== undefined) return void this.#pending.then(() => this.#end());
    this.flush();
    this.#to.end();
  }
}
