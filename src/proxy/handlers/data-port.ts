/** Relays data connections of clients that have an open control connection. Starts no target. */

import type { Activator } from "../../activation/activator.ts";
import { dial } from "../../net/dial.ts";
import { readIp } from "../../net/ip.ts";
import type { Relayer } from "../../net/relay.ts";
import { DeniedError } from "../admission/denial.ts";
import type { DataPorts } from "../data-ports.ts";
import type { Served } from "../outcome.ts";
import type { Client, Handler } from "./handler.ts";

/** The server already listens, because it has announced the port. */
const DIAL_MS = 10_000;

export interface DataPortHandlerOptions {
  readonly dataPorts: DataPorts;
  /** Gets the activity, which delays the sleep of the target. */
  readonly activator: Pick<Activator, "recordActivity">;
  /** The port that the clients connect to. */
  readonly listener: number;
  readonly relayer: Relayer;
}

export class DataPortHandler implements Handler {
  readonly isCold = false;
  readonly #options: DataPortHandlerOptions;

  constructor(options: DataPortHandlerOptions) {
    this.#options = options;
  }

  async serve(client: Client): Promise<Served> {
    const { socket, peer, signal, meters } = client;
    const { dataPorts, activator, listener, relayer } = this.#options;
    const ip = readIp(peer.address);
    using route = ip && dataPorts.route(ip, listener);
    if (route === undefined) throw new DeniedError("no_control", "its control connection has ended");
    const { host, port, localAddress, lost } = route;
    const upstream = await dial({ host, port, localAddress, timeoutMs: DIAL_MS, signal: [signal, lost] });
    client.opened();
    activator.recordActivity();
    const end = await relayer.relay({ client: socket, upstream, meters, lost });
    activator.recordActivity();
    return { outcome: "relayed", end };
  }
}
