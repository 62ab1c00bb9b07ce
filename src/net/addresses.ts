/** Who talks to whom. */
import type net from "node:net";

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export interface Ends {
  /** The client. */
  readonly peer: Endpoint;
  /** What it has connected to. */
  readonly local: Endpoint;
}

/** As the system tells them; of a client that has left already it knows nothing, and the addresses are empty. */
export function endsOf({ remoteAddress, remotePort, localAddress, localPort }: net.Socket): Ends {
  return {
    peer: { address: remoteAddress ?? "", port: remotePort ?? 0 },
    local: { address: localAddress ?? "", port: localPort ?? 0 },
  };
}
