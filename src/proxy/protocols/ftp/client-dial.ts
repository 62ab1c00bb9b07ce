import type net from "node:net";
import { abortable } from "../../../async/wait.ts";
import { reset } from "../../../net/reset.ts";

/**
 * Connects to the data port of a client in active mode before the server connects, so that the server can be refused if
 * the client's port refuses.
 */
export class ClientDial {
  readonly #dial: (signal: AbortSignal) => Promise<net.Socket>;
  #opening: Promise<net.Socket> | undefined;
  #closed = new AbortController();
  #isTaken = false;

  constructor(dial: (signal: AbortSignal) => Promise<net.Socket>) {
    this.#dial = dial;
  }

  /** Connects, unless connected before. @throws why the client cannot be reached */
  async open(): Promise<void> {
    await this.#socket();
  }

  /** Returns the connection, opened now if necessary; the caller owns it. @throws the same, or the reason of `signal` */
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

  /** Resets the connection if it was not taken. The next call opens a new one. */
  close(): void {
    if (this.#isTaken) return;
    this.#closed.abort(new Error("the data connection is not needed"));
    this.#closed = new AbortController();
    this.#opening?.then(reset, () => {});
    this.#opening = undefined;
  }

  #socket(): Promise<net.Socket> {
    this.#opening ??= this.#dial(this.#closed.signal).then((socket) => {
      // Reading, into a bounded buffer, detects a reset at once.
      socket.on("error", () => {}).pause();
      socket.read(0);
      return socket;
    });
    return this.#opening;
  }
}
