/** Serves the data connections of clients whose control connections are being served. Wakes nothing. */
import type { Activator } from "../../activation/activator.ts";
import { dial } from "../../net/dial.ts";
import { readIp } from "../../net/ip.ts";
import { relay } from "../../net/relay.ts";
import { DeniedError } from "../admission/denial.ts";
import type { DataPorts } from "../data-ports.ts";
import type { Client, Destination, Served } from "./handler.ts";

/** The server listens already: its client was told the port. */
const DIAL_MS = 10_000;

export interface ToDataPortOptions {
  readonly dataPorts: DataPorts;
  /** Told that something goes on. */
  readonly activator: Pick<Activator, "noteActivity">;
  /** The port that the clients come to. */
  readonly front: number;
}

export class ToDataPort implements Destination {
  readonly isCold = false;
  readonly #options: ToDataPortOptions;

  constructor(options: ToDataPortOptions) {
    this.#options = options;
  }

  async serve({ socket, peer, signal, meters, opened }: Client): Promise<Served> {
    const { dataPorts, activator, front } = this.#options;
    const ip = readIp(peer.address);
    using way = ip && dataPorts.lead(ip, front);
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
    activator.noteActivity();
    const end = await relay({ client: socket, upstream, meters, lost });
    activator.noteActivity();
    return { outcome: "relayed", end };
  }
}
