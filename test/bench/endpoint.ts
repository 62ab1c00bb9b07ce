import { createHash, type Hash } from "node:crypto";
import type { Socket } from "node:net";
import { KIB, payload } from "./payload.ts";

/** What one end of a connection has seen so far. */
export interface Report {
  readonly received: number;
  readonly sha256: string;
  /** The peer has ended its direction in order. */
  readonly fin: boolean;
  /** Code of the error that broke the connection, for instance ECONNRESET. */
  readonly error: string | null;
  readonly closed: boolean;
}

/** One end of a connection: does what a case tells it and keeps account of what arrives. */
export class Endpoint {
  readonly #socket: Socket;
  readonly #hash: Hash = createHash("sha256");
  #received = 0;
  #fin = false;
  #error: string | null = null;

  /** The socket must allow half-open connections: the cases decide when a side ends. */
  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#received += chunk.length;
      this.#hash.update(chunk);
    });
    socket.on("end", () => {
      this.#fin = true;
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.#error = error.code ?? error.message;
    });
  }

  send(bytes: number): void {
    this.#socket.write(payload(bytes));
  }

  sendAndEnd(bytes: number): void {
    this.#socket.end(payload(bytes));
  }

  /** Sends without end, as fast as the peer reads. */
  flood(): void {
    const chunk = payload(64 * KIB);
    const fill = (): void => {
      // By way of the event loop: a reader that never makes the writes wait must not shut out everything else.
      if (this.#socket.writable) this.#socket.write(chunk, () => setImmediate(fill));
    };
    fill();
  }

  end(): void {
    this.#socket.end();
  }

  /** Ends as soon as the peer has ended, as a server does that has nothing left to say. */
  endWithPeer(): void {
    if (this.#fin) this.end();
    else this.#socket.once("end", () => this.end());
  }

  reset(): void {
    this.#socket.resetAndDestroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  report(): Report {
    return {
      received: this.#received,
      sha256: this.#hash.copy().digest("hex"),
      fin: this.#fin,
      error: this.#error,
      closed: this.#socket.closed,
    };
  }
}
