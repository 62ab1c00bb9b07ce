import { dial } from "../dial.ts";
import { relay } from "../relay.ts";
import type { Client, Destination, Served } from "./destination.ts";

export interface ForwardOptions {
  /** A name is looked up for each client: its address may change. */
  readonly host: string;
  readonly port: number;
  /** How long connecting may take, in milliseconds, the lookup included. */
  readonly timeoutMs: number;
}

/** Passes clients on to an address where somebody else sees to it that something listens. */
export class Forward implements Destination {
  readonly isCold = false;
  readonly #options: ForwardOptions;

  constructor(options: ForwardOptions) {
    this.#options = options;
  }

  async serve({ socket, signal, meters, opened }: Client): Promise<Served> {
    const upstream = await dial({ ...this.#options, signal });
    opened();
    const end = await relay({ client: socket, upstream, meters, lost: new AbortController().signal });
    return { outcome: "relayed", end };
  }
}
