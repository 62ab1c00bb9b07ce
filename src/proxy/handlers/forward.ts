import { dial } from "../../net/dial.ts";
import { type ProxyVersion, proxyHeader } from "../../net/proxy-protocol.ts";
import { relay } from "../../net/relay.ts";
import type { Served } from "../outcome.ts";
import type { Client, Handler } from "./handler.ts";

export interface ForwardOptions {
  /** A name is looked up for each client: its address may change. */
  readonly host: string;
  readonly port: number;
  /** How long connecting may take, in milliseconds, the lookup included. */
  readonly timeoutMs: number;
  /** Whether it is told, in a header of the PROXY protocol, who the client is. */
  readonly send?: ProxyVersion | undefined;
}

/** Passes clients on to an address where somebody else sees to it that something listens. */
export class Forward implements Handler {
  readonly isCold = false;
  readonly #options: ForwardOptions;

  constructor(options: ForwardOptions) {
    this.#options = options;
  }

  async serve(client: Client): Promise<Served> {
    const { socket, signal, meters, served: opened } = client;
    const upstream = await dial({ ...this.#options, signal });
    if (this.#options.send !== undefined) upstream.write(proxyHeader(this.#options.send, client));
    opened();
    const end = await relay({ client: socket, upstream, meters, lost: new AbortController().signal });
    return { outcome: "relayed", end };
  }
}
