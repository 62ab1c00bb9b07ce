/** One direction of a relay: forwards bytes with backpressure. */
import type net from "node:net";
import { endsWithTlsClose } from "./tls-close.ts";

const NOTHING = Buffer.alloc(0);

/** Changes the bytes of one direction. */
export interface Filter {
  /**
   * Passes the changed bytes to `write`, in order.
   *
   * @returns a promise if the filter must wait; nothing more is read until it resolves. It never rejects
   */
  take(chunk: Buffer, write: (bytes: Buffer) => void): Promise<void> | undefined;

  /**
   * Passes all remaining bytes to `write`, because the stream has ended. Called once.
   *
   * @param last received bytes that `take` did not get
   */
  end(last: Buffer, write: (bytes: Buffer) => void): void;
}

export class Pump {
  readonly #from: net.Socket;
  readonly #to: net.Socket;
  readonly #filter: Filter | undefined;
  /** What the filter waits for. */
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

  /** Forwards bytes until the end of the stream. @param count receives the number of bytes of each chunk */
  run(count: (bytes: number) => void): void {
    const from = this.#from;
    from.on("data", (chunk: Buffer) => {
      count(chunk.length);
      if (this.#filter === undefined) this.#write(chunk);
      else if (!this.#isFlushed) this.#wait(this.#filter.take(chunk, this.#write));
    });
    this.#to.on("drain", () => this.#resume());
    // The client may have half-closed while it waited, and `end` is not emitted again.
    if (from.readableEnded) this.#end();
    else from.on("end", () => this.#end());
    from.resume();
  }

  /** Forwards `last` and the bytes that the filter holds back. Idempotent. */
  flush(last: Buffer = NOTHING): void {
    if (this.#isFlushed) return;
    this.#isFlushed = true;
    if (this.#filter !== undefined) this.#filter.end(last, this.#write);
    else if (last.length > 0) this.#write(last);
  }

  /** Whether the stream ended with a forwarded TLS close; it is then complete, also without a FIN. */
  get isTlsClosed(): boolean {
    return this.#writes === this.#tlsClose;
  }

  /** A filter may write after the other side is gone. */
  readonly #write = (bytes: Buffer): void => {
    if (!this.#to.writable) return;
    this.#writes += 1;
    const onWritten = endsWithTlsClose(bytes) ? this.#onTlsClose(this.#writes) : undefined;
    if (!this.#to.write(bytes, onWritten)) this.#from.pause();
  };

  #onTlsClose(write: number): (error?: Error | null) => void {
    return (error) => {
      if (!error) this.#tlsClose = write;
    };
  }

  #wait(pending: Promise<void> | undefined): void {
    if (pending === undefined) return;
    this.#from.pause();
    this.#pending = pending.then(() => {
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
