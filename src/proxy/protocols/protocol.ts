/**
 * What wakeport knows of what its clients speak: how they are held while the target starts, what they are told when it
 * does not, and what of their talk has to be changed on the way. A new protocol is one file, and a line in protocols.ts.
 */

import type net from "node:net";
import type { StateName } from "../../activation/machine.ts";
import type { SocketAddress } from "../../net/addresses.ts";
import type { RelayEnd, RelayOptions } from "../../net/relay.ts";
import type { ControlConnection } from "../data-ports.ts";
import type { Served } from "../outcome.ts";

/** A client that may have to wait, of which nothing has been read. */
export interface WaitingClient {
  readonly socket: net.Socket;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

/** How far the target is. */
export interface Progress {
  readonly service: string;
  readonly state: StateName;
  /** While it is up but not ready: what is still missing. */
  readonly pending: readonly string[];
  /** Since when it is in this state: Unix time in milliseconds. */
  readonly since: number;
  /** When the next start may be tried, after one that failed: Unix time in milliseconds. */
  readonly cooldownUntil?: number | undefined;
  /**
   * What it last printed, oldest line first: the same list to all who ask within about a second. Never throws.
   */
  lastLines(signal: AbortSignal): Promise<readonly string[]>;
}

export interface Protocol {
  /** Called for each client, before its target is claimed. */
  hold(client: WaitingClient): HeldClient;
}

export interface HeldRelayOptions extends RelayOptions {
  /** Who the client is: not what the socket says where a proxy has passed it on. */
  readonly peer: SocketAddress;
  /** The client's place at the data ports of the service; absent where it has none. */
  readonly control?: ControlConnection;
}

/** What is said to one client. Once it is disposed of, only `refuse` may say anything. */
export interface HeldClient extends Disposable {
  /** Whether what was said keeps the client from being led on to what took the service's place; absent: it does not. */
  readonly mustReconnect?: boolean;

  /**
   * The target serves it from now on: nothing more is said, and what was read but not answered is back in the socket.
   * Called once at most.
   *
   * @returns how it was served, when nothing is left for the target to do
   * @throws the reason of the client's signal
   */
  ready(): Promise<Served | undefined>;

  /** Passes on what both say until both are done, and all that belongs to it. Never rejects. */
  relay(options: HeldRelayOptions): Promise<RelayEnd>;

  /**
   * The target will not serve it, for this reason.
   *
   * @returns its last words, after which its connection is closed; undefined to reset it. Never rejects
   */
  refuse(reason: unknown): Promise<Buffer | undefined>;
}
