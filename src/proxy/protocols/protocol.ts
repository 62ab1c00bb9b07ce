/**
 * What wakeport implements of a protocol: bytes for clients while the target starts and when it fails, and changes to the
 * relayed bytes. A new protocol is one file, and a line in protocols.ts.
 */

import type net from "node:net";
import type { StateName } from "../../activation/machine.ts";
import type { SocketAddress } from "../../net/addresses.ts";
import type { RelayEnd, Relayer, RelayOptions } from "../../net/relay.ts";
import type { ControlConnection } from "../data-ports.ts";
import type { Served } from "../outcome.ts";

/** A client that may have to wait. Nothing was read from its socket. */
export interface WaitingClient {
  readonly socket: net.Socket;
  /** Aborted when the connection is closed. A half-close does not abort it. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

/** Progress of the target's start. */
export interface Progress {
  readonly service: string;
  readonly state: StateName;
  /** Readiness conditions that are not met yet, while the target is up but not ready. */
  readonly pending: readonly string[];
  /** Time of the last change of the state, as Unix time in milliseconds. */
  readonly since: number;
  /** Earliest time of the next start after a failed one, as Unix time in milliseconds. */
  readonly cooldownUntil?: number | undefined;
  /** Returns the target's last output lines, oldest first. Calls within about a second share one list. Never rejects. */
  lastLines(signal: AbortSignal): Promise<readonly string[]>;
}

export interface Protocol {
  /** Called for each client, before its target is acquired. */
  hold(client: WaitingClient): HeldClient;
}

export interface HeldRelayOptions extends RelayOptions {
  /** The client's address. With the PROXY protocol it differs from the address of the socket. */
  readonly peer: SocketAddress;
  /** Relays this connection, and others that belong to it. */
  readonly relayer: Relayer;
  /** The client's registration at the data ports of the service; absent if the service has none. */
  readonly control?: ControlConnection;
}

/** The protocol's side of one client that waits. After it is disposed, only `rejectionReply` may return bytes for the client. */
export interface HeldClient extends Disposable {
  /** Whether the client must reconnect to reach a changed service, because of bytes it has received; absent: no. */
  readonly mustReconnect?: boolean;

  /**
   * Called once at most, when the target can serve the client. Afterwards nothing more is sent, and unread bytes are in
   * the socket.
   *
   * @returns the result if the client was served without the target
   * @throws the reason of the client's signal
   */
  ready(): Promise<Served | undefined>;

  /** Relays both directions and connections that belong to this one until all have ended. Never rejects. */
  relay(options: HeldRelayOptions): Promise<RelayEnd>;

  /**
   * Returns the last bytes for a client that is rejected, after which the connection is closed; undefined to reset it.
   * Never rejects.
   */
  rejectionReply(reason: unknown): Promise<Buffer | undefined>;
}
