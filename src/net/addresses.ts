/** The two ends of a connection. */
import type net from "node:net";

/** The IPv6 prefix of an IPv4 address that a dual-stack socket shows. */
const MAPPED = "::ffff:";

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
export function addressesOf(socket: net.Socket): SocketAddresses {
  return { peer: peerOf(socket), local: localOf(socket) };
}

/** Returns the address of the client's end; empty after the client's reset. */
export function peerOf({ remoteAddress, remotePort }: net.Socket): SocketAddress {
  return { address: remoteAddress ?? "", port: remotePort ?? 0 };
}

/** Returns the address that the client connected to; empty after the client's reset. */
export function localOf({ localAddress, localPort }: net.Socket): SocketAddress {
  return { address: localAddress ?? "", port: localPort ?? 0 };
}

/** Returns an IPv4 address without the IPv6 prefix that a dual-stack socket shows: `::ffff:10.1.2.3` → `10.1.2.3`. */
export function plainAddress(address: string = ""): string {
  return address.startsWith(MAPPED) && address.includes(".") ? address.slice(MAPPED.length) : address;
}

/** Formats a peer for the log: `10.1.2.3:80`, `[::1]:80`, `unknown:0`. */
export function formatPeer({ address: written, port }: SocketAddress): string {
  const address = written === "" ? "unknown" : plainAddress(written);
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
