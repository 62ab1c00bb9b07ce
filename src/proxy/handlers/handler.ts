import type net from "node:net";
import type { SocketAddress } from "../../net/addresses.ts";
import type { Meter } from "../../net/relay.ts";
import type { Listener } from "../listen/listener.ts";
import type { Served } from "../outcome.ts";

/** One accepted client, as its handler sees it. */
export interface Client {
  /** Paused. Nothing was read from it. */
  readonly socket: net.Socket;
  /** The client's address, and the address that it connected to. The PROXY protocol may change both. */
  readonly peer: SocketAddress;
  readonly local: SocketAddress;
  /** The listener that accepted it. */
  readonly listener: Listener;
  /** Aborted when the connection is closed before the client is served. A half-close does not abort it. */
  readonly signal: AbortSignal;
  /** Counters of the connection and its service. */
  readonly meters: readonly Meter[];
  /** Sets what ends the client if it is rejected. Without a call it is reset. */
  held(heldClient: Rejectable): void;
  /** Must be called when the client no longer waits. */
  opened(facts?: OpenedFacts): void;
  /**
   * Called if the target is lost before a byte was relayed: the client waits for the next activation.
   *
   * @throws SlotError if no waiting slot is free
   */
  waitAgain(): void;
}

/** The part of a held client that its connection needs. */
export interface Rejectable {
  /** Whether the client must reconnect to reach another handler; absent: it need not. */
  readonly mustReconnect?: boolean;

  /** Returns the last bytes for a client that is rejected for this reason; undefined to reset it. Never rejects. */
  rejectionReply(reason: unknown): Promise<Buffer | undefined>;
}

export interface OpenedFacts {
  /** Process that serves only this client. */
  readonly pid?: number;
}

/** Serves the admitted clients of a route. */
export interface Handler {
  /** Whether a new client must wait for a start. */
  readonly isCold: boolean;
  /** Whether it passes the socket to a program, so nothing may be read from it; absent: no. */
  readonly needsUnreadSocket?: boolean;

  /**
   * Waits for the client's first byte, which stays in the socket; absent: the client need not send any.
   *
   * @throws ClientGoneError, or the reason of the client's signal
   */
  waitForFirstByte?(client: Pick<Client, "socket" | "signal">): Promise<void>;

  /**
   * Serves one client to the end. If it rejects, the caller must close the socket.
   *
   * @throws the reason of the client's signal, an ActivationError, or the error of a dial
   */
  serve(client: Client): Promise<Served>;

  /**
   * Called if the service was changed or removed: ends programs that use the port, after at most `drainMs` milliseconds.
   * Absent: the handler uses no such programs, and served clients may finish.
   */
  drain?(drainMs: number): Promise<void>;
}
