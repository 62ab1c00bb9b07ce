import type net from "node:net";
import { abortable } from "../../../async/wait.ts";
import { reset } from "../../../net/reset.ts";

/**
 * Connects to the data port of a client in active mode before the server connects. If the client's port refuses, the
 * server's connection can be refused as well.
 */
export class ClientDial {
  readonly #connect: (signal: AbortSignal) => Promise<net.Socket>;
  #opening: Promise<net.Socket> | undefined;
  #closed = new AbortController();
  #isTaken = false;

  constructor(dial: (signal: AbortSignal) => Promise<net.Socket>) {
    this.#connect = dial;
  }

  /** Connects, unless it has connected before. @throws the error of the dial */
  async open(): Promise<void> {
    await this.#socket();
  }

  /** Returns the connection, which the caller then owns. Connects if necessary. @throws the same, or the reason of `signal` */
  async take(signal: AbortSignal): Promise<net.Socket> {
    try {
      const socket = await abortable(this.#socket(), signal);
      this.#isTaken = true;
      return socket;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Resets the connection, unless it was taken. The next open() or take() connects again. */
  close(): void {
    if (this.#isTaken) return;
    this.#closed.abort(new Error("the data connection is not needed"));
    this.#closed = new AbortController();
    this.#opening?.then(reset, () => {});
    this.#opening = undefined;
  }

  #socket(): Promise<net.Socket> {
    this.#opening ??= this.#connect(this.#closed.signal).then((socket) => {
      // Reading into the bounded buffer detects a reset at once.
      socket.on("error", () => {}).pause();
      socket.read(0);
      return socket;
    });
    return this.#opening;
  }
}
