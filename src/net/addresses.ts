/** The two ends of a connection. */
import type net from "node:net";

export interface SocketAddress {
  readonly address: string;
  readonly port: number;
}

export interface SocketAddresses {
  /** The client's end. */
  readonly peer: SocketAddress;
  /** The end that the client connected to. */
  readonly local: SocketAddress;
}

/** Returns the addresses that the kernel knows. After the client's reset they are empty. */
export function addressesOf({ remoteAddress, remotePort, localAddress, localPort }: net.Socket): SocketAddresses {
  return {
    peer: { address: remoteAddress ?? "", port: remotePort ?? 0 },
    local: { address: localAddress ?? "", port: localPort ?? 0 },
  };
}

/** Returns an IPv4 address without the IPv6 prefix that a dual-stack socket shows: `::ffff:10.1.2.3` → `10.1.2.3`. */
export function plainAddress(address: string = ""): string {
  return address.replace(/^::ffff:(?=\d+\.)/, "");
}

/** Formats a peer for the log: `10.1.2.3:80`, `[::1]:80`, `unknown:0`. */
export function formatPeer({ address: written, port }: SocketAddress): string {
  const address = written === "" ? "unknown" : plainAddress(written);
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
