import type net from "node:net";
import type { SocketAddress } from "../../net/addresses.ts";
import type { Meter } from "../../net/relay.ts";
import type { Listener } from "../listen/listener.ts";
import type { Served } from "../outcome.ts";

/** One accepted client, as what serves it sees it. */
export interface Client {
  /** Not being read: what has arrived is still in it. */
  readonly socket: net.Socket;
  /** Who it is, and what it has connected to: not what the socket says where a proxy has passed it on. */
  readonly peer: SocketAddress;
  readonly local: SocketAddress;
  /** Where it came in. */
  readonly listener: Listener;
  /** Aborted when the client leaves before it is served. */
  readonly signal: AbortSignal;
  /** Count the bytes of this connection, and what is counted with it. */
  readonly meters: readonly Meter[];
  /**
   * Tells how to part from the client if it is not served in the end; absent: with a reset.
   *
   * @param isBound whether it cannot be led on to another destination, because of what it was told; absent: it can
   */
  onRejected(rejectionReply: RejectionReply, isBound?: () => boolean): void;
  /** To be called when the way to what serves it is open: it no longer waits. */
  served(facts?: OpenedFacts): void;
  /**
   * Called if the target is lost before a byte was relayed: the client waits for the next activation.
   *
   * @throws SlotError if no waiting slot is free
   */
  waitAgain(): void;
}

/** What a client is told that is not served, for that reason; undefined: nothing. Never rejects. */
export type RejectionReply = (reason: unknown) => Promise<Buffer | undefined>;

export interface OpenedFacts {
  /** Of the process that serves this client alone. */
  readonly pid?: number;
}

/** What the clients of one front get once they are let in. */
export interface Handler {
  /** Whether a client that comes now has to wait for a start. */
  readonly isCold: boolean;
  /** Whether it passes the socket itself on, so that nobody may have read from it; absent: it does not. */
  readonly needsUnreadSocket?: boolean;

  /**
   * Waits until it is worth while to do anything for the client; absent: at once. Nothing that it says is lost.
   *
   * @throws ClientGoneError, or the reason of the client's signal
   */
  waitForFirstByte?(client: Pick<Client, "socket" | "signal">): Promise<void>;

  /**
   * Serves one client to the end. The socket may still be open when it rejects, and is the caller's then.
   *
   * @throws the reason of the client's signal, an ActivationError, or what the system says of a dial
   */
  serve(client: Client): Promise<Served>;

  /**
   * Its service was changed or removed: ends what would keep the port from another, once it had `drainMs` milliseconds.
   * Absent: there is nothing of that kind, and clients that are served may finish.
   */
  drain?(drainMs: number): Promise<void>;
}
