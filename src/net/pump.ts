/** One direction of a relay: forwards bytes with backpressure. */
import type net from "node:net";
import { SharedRead } from "./shared-read.ts";
import { endsWithTlsClose } from "./tls-close.ts";
import { writeNow } from "./write-now.ts";

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
  #count: (bytes: number) => void = () => {};
  /** Receives the bytes of a direction without a filter, if this Node allows shared reads. */
  #reads: SharedRead | undefined;
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
    this.#count = count;
    // The client may have half-closed while it waited, and `end` is not emitted again.
    if (from.readableEnded) this.#end();
    else from.on("end", () => this.#end());
    this.#to.on("drain", () => this.#resume());
    this.#read();
    from.resume();
  }

  /** Discards all further bytes. @param onBytes called for the first of them */
  discard(onBytes: () => void): void {
    let isFirst = true;
    this.#receive = () => {
      if (isFirst) onBytes();
      isFirst = false;
    };
    this.#pending = undefined;
    this.#resume();
  }

  /** Forwards `last` and the bytes that the filter holds back. Idempotent. */
  flush(last: Buffer = NOTHING): void {
    if (this.#isFlushed) return;
    this.#isFlushed = true;
    if (this.#filter !== undefined) this.#filter.end(last, this.#write);
    else if (last.length > 0) this.#write(last);
  }

  get hasWritten(): boolean {
    return this.#writes > 0;
  }

  /** Whether the stream ended with a forwarded TLS close; it is then complete, also without a FIN. */
  get isTlsClosed(): boolean {
    return this.#writes === this.#tlsClose;
  }

  /** Begins to read. Bytes that the stream contains already come first. */
  #read(): void {
    const from = this.#from;
    if (this.#filter === undefined) {
      for (let early = from.read(); early !== null; early = from.read()) this.#receive(early);
      this.#reads = SharedRead.begin(from, (bytes) => this.#receive(bytes));
    }
    if (this.#reads === undefined) from.on("data", (chunk: Buffer) => this.#receive(chunk));
    else if (!this.#to.writableNeedDrain) this.#reads.resume();
  }

  #receive = (bytes: Buffer): void => {
    this.#count(bytes.length);
    if (this.#reads !== undefined) this.#writeShared(bytes);
    else if (this.#filter === undefined) this.#write(bytes);
    else if (!this.#isFlushed) this.#wait(this.#filter.take(bytes, this.#write));
  };

  /** Writes bytes of the shared buffer. The rest that the kernel does not take at once is copied. */
  #writeShared(bytes: Buffer): void {
    if (!this.#to.writable) return;
    const written = writeNow(this.#to, bytes);
    const isTlsClose = endsWithTlsClose(bytes);
    if (written < bytes.length) return this.#writeChunk(Buffer.from(bytes.subarray(written)), isTlsClose);
    this.#writes += 1;
    if (isTlsClose) this.#tlsClose = this.#writes;
  }

  /** A filter may write after the other side is gone. */
  readonly #write = (bytes: Buffer): void => {
    if (this.#to.writable) this.#writeChunk(bytes, endsWithTlsClose(bytes));
  };

  #writeChunk(bytes: Buffer, isTlsClose: boolean): void {
    this.#writes += 1;
    const onWritten = isTlsClose ? this.#onTlsClose(this.#writes) : undefined;
    if (!this.#to.write(bytes, onWritten)) this.#pause();
  }

  #onTlsClose(write: number): (error?: Error | null) => void {
    return (error) => {
      if (!error) this.#tlsClose = write;
    };
  }

  #wait(pending: Promise<void> | undefined): void {
    if (pending === undefined) return;
    this.#pause();
    this.#pending = pending.then(() => {
      this.#pending = undefined;
      if (!this.#to.writableNeedDrain) this.#resume();
    });
  }

  #pause(): void {
    if (this.#reads === undefined) this.#from.pause();
    else this.#reads.pause();
  }

  #resume(): void {
    if (this.#pending !== undefined) return;
    if (this.#reads === undefined) this.#from.resume();
    else if (!this.#from.destroyed) this.#reads.resume();
  }

  #end(): void {
    if (this.#pending !== undefined) return void this.#pending.then(() => this.#end());
    this.flush();
    this.#to.end();
  }
}
