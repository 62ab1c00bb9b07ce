/** Serves the data connections of clients whose control connections are being served. Wakes nothing. */

import type { Activator } from "../../activation/activator.ts";
import { dial } from "../../net/dial.ts";
import { readIp } from "../../net/ip.ts";
import { relay } from "../../net/relay.ts";
import { DeniedError } from "../admission/denial.ts";
import type { DataPorts } from "../data-ports.ts";
import type { Served } from "../outcome.ts";
import type { Client, Handler } from "./handler.ts";

/** The server listens already: its client was told the port. */
const DIAL_MS = 10_000;

export interface DataPortHandlerOptions {
  readonly dataPorts: DataPorts;
  /** Told that something goes on. */
  readonly activator: Pick<Activator, "recordActivity">;
  /** The port that the clients come to. */
  readonly listener: number;
}

export class DataPortHandler implements Handler {
  readonly isCold = false;
  readonly #options: DataPortHandlerOptions;

  constructor(options: DataPortHandlerOptions) {
    this.#options = options;
  }

  async serve({ socket, peer, signal, meters, served: opened }: Client): Promise<Served> {
    const { dataPorts, activator, listener } = this.#options;
    const ip = readIp(peer.address);
    using way = ip && dataPorts.route(ip, listener);
    if (way === undefined) throw new DeniedError("no_control", "its control connection has ended");
    const { host, port, localAddress, lost } = way;
    const upstream = await dial({
      host,
      port,
      localAddress,
      timeoutMs: DIAL_MS,
      signal: AbortSignal.any([signal, lost]),
    });
    opened();
    activator.recordActivity();
    const end = await relay({ client: socket, upstream, meters, lost });
    activator.recordActivity();
    return { outcome: "relayed", end };
  }
}
