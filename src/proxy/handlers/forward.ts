import { dial } from "../../net/dial.ts";
import { type ProxyVersion, proxyHeader } from "../../net/proxy-protocol.ts";
import type { Relayer } from "../../net/relay.ts";
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
    const { socket, signal, meters, opened } = client;
    const upstream = await dial({ ...this.#options, signal });
    if (this.#options.send !== undefined) upstream.write(proxyHeader(this.#options.send, client));
    opened();
    const end = await this.#options.relayer.relay({
      client: socket,
      upstream,
      meters,
      lost: new AbortController().signal,
    });
    return { outcome: "relayed", end };
  }
}
