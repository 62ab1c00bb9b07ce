import { dial } from "../../net/dial.ts";
import { type ProxyVersion, proxyHeader } from "../../net/proxy-protocol.ts";
import type { RelayEnd, Relayer } from "../../net/relay.ts";
import type { Served } from "../outcome.ts";
import type { Client, Handler } from "./handler.ts";

export interface ForwardOptions {
  /** A host name is resolved for each client, because its address may change. */
  readonly host: string;
  readonly port: number;
  /** Limit of the lookup and the dial, in milliseconds. */
  readonly timeoutMs: number;
  readonly relayer: Relayer;
  /** Version of the PROXY protocol header that is sent first; absent: none. */
  readonly send?: ProxyVersion | undefined;
}

/** Relays clients to an address of a server that wakeport does not manage. */
export class Forward implements Handler {
  readonly isCold = false;
  readonly #options: ForwardOptions;

  constructor(options: ForwardOptions) {
    this.#options = options;
  }

  async serve(client: Client): Promise<Served> {
    const { end } = await this.#begin(client);
    return { outcome: "relayed", end: await end };
  }

  /** Ends when the relay has begun, so that the wait for its end keeps no socket in memory. */
  async #begin(client: Client): Promise<{ readonly end: Promise<RelayEnd> }> {
    const { send, relayer } = this.#options;
    const upstream = await dial({ ...this.#options, signal: client.signal });
    if (send !== undefined) upstream.write(proxyHeader(send, client));
    client.opened();
    // The server is not wakeport's, so it is never lost.
    const lost = new AbortController().signal;
    return { end: relayer.relay({ client: client.socket, upstream, meters: client.meters, lost }) };
  }
}
