import { createHash, type Hash } from "node:crypto";
import type { Socket } from "node:net";
import { KIB, payload } from "./payload.ts";

/** The events at one end of a connection so far. */
export interface Report {
  readonly received: number;
  readonly sha256: string;
  /** The peer has sent FIN. */
  readonly fin: boolean;
  /** Code of the error that broke the connection, for instance ECONNRESET. */
  readonly error: string | null;
  readonly closed: boolean;
}

/** One end of a connection: does the actions of a case, and records the received bytes. */
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

  /** Sends continuously, as fast as the peer reads. */
  flood(): void {
    const chunk = payload(64 * KIB);
    const fill = (): void => {
      // Through the event loop, so that a fast reader does not starve other work.
      if (this.#socket.writable) this.#socket.write(chunk, () => setImmediate(fill));
    };
    fill();
  }

  end(): void {
    this.#socket.end();
  }

  /** Sends FIN after the peer's FIN, like a server without further data. */
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
