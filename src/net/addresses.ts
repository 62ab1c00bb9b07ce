/** Who talks to whom. */
import type net from "node:net";

export interface SocketAddress {
  readonly address: string;
  readonly port: number;
}

export interface SocketAddresses {
  /** The client. */
  readonly peer: SocketAddress;
  /** What it has connected to. */
  readonly local: SocketAddress;
}

/** As the system tells them; of a client that has left already it knows nothing, and the addresses are empty. */
export function addressesOf({ remoteAddress, remotePort, localAddress, localPort }: net.Socket): SocketAddresses {
  return {
    peer: { address: remoteAddress ?? "", port: remotePort ?? 0 },
    local: { address: localAddress ?? "", port: localPort ?? 0 },
  };
}

/** A dual-stack listener shows IPv4 clients as IPv6 addresses: people know them otherwise. */
export function formatPeer({ address: written, port }: SocketAddress): string {
  const address = written === "" ? "unknown" : written.replace(/^::ffff:(?=\d+\.)/, "");
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
