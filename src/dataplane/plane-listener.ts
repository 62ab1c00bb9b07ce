/** A listening socket that is lent to the data plane, as the main thread sees it. */
import type { RelayEnd } from "../net/relay.ts";
import type { Command } from "./commands.ts";
import type { AcceptedFacts } from "./reports.ts";

/** An accepted connection in the main thread. */
export interface AcceptedConnection {
  /** @param bytesIn all bytes so far @param bytesOut all bytes so far */
  count(bytesIn: number, bytesOut: number): void;
  /** Called when both sockets are closed. */
  end(end: RelayEnd): void;
  /** Called instead of `end`: another connection continues it. */
  returned(): void;
}

export interface PlaneListenerOptions {
  /** Called when the target has accepted the connection of a client, or the client left before. */
  readonly onAccepted: (facts: AcceptedFacts) => AcceptedConnection;
  /** Receives the socket of an accepted client that must be served in another way. Nothing was read from it. */
  readonly onReturned: (fd: number) => void;
  /** Called when no more clients can be accepted. */
  readonly onFull: () => void;
}

export class PlaneListener {
  readonly id: number;
  readonly options: PlaneListenerOptions;
  readonly #send: (command: Command) => void;
  readonly #unlistened = Promise.withResolvers<number>();
  #isClosing = false;
  /** Whether it accepts no more clients and all its connections have ended. Set by the data plane. */
  isOver = false;

  constructor(id: number, options: PlaneListenerOptions, send: (command: Command) => void) {
    this.id = id;
    this.options = options;
    this.#send = send;
  }

  /** Whether it accepts clients. */
  get isOpen(): boolean {
    return !this.#isClosing;
  }

  /**
   * Accepts no more clients. Its connections stay. Idempotent.
   *
   * @returns the number of open connections, after all clients were reported
   */
  close(): Promise<number> {
    if (!this.#isClosing) this.#send({ kind: "unlisten", slot: this.id });
    this.#isClosing = true;
    return this.#unlistened.promise;
  }

  /** Resets its connections. */
  cut(): void {
    this.#send({ kind: "cutListener", slot: this.id });
  }

  /** The target of its connections is down. Clients without a first byte are returned. */
  targetGone(): void {
    this.#send({ kind: "listenerTargetGone", slot: this.id });
  }

  /** Called by the data plane after the last report about a new client. */
  unlistened(open: number): void {
    this.#isClosing = true;
    this.#unlistened.resolve(open);
  }
}
