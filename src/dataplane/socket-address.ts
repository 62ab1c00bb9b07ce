/** The C library's `struct sockaddr_in` and `sockaddr_in6` of Linux. */
import { isIP } from "node:net";
import type { SocketAddress } from "../net/addresses.ts";
import { formatIp, type Ip, isMapped, readIp } from "../net/ip.ts";

const AF_INET = 2;
const AF_INET6 = 10;
/** Size of the longer one. */
export const MAX_ADDRESS_BYTES = 28;
const IPV4_BYTES = 16;
const PORT = 2;
const IPV4_ADDRESS = 4;
const IPV6_ADDRESS = 8;

/** Returns undefined if the text is not an IP address, or has a zone: `fe80::1%eth0`. */
export function encodeAddress({ address, port }: SocketAddress): Buffer | undefined {
  if (isIP(address) === 0 || address.includes("%")) return undefined;
  const { family, bytes } = readIp(address)!;
  const encoded = Buffer.alloc(family === "ipv4" ? IPV4_BYTES : MAX_ADDRESS_BYTES);
  encoded.writeUInt16LE(family === "ipv4" ? AF_INET : AF_INET6, 0);
  encoded.writeUInt16BE(port, PORT);
  encoded.set(bytes, family === "ipv4" ? IPV4_ADDRESS : IPV6_ADDRESS);
  return encoded;
}

/** Returns the address family, for socket(2). */
export function familyOf(encoded: Uint8Array): number {
  return encoded[0]! | (encoded[1]! << 8);
}

/** Returns the address as four numbers of 32 bits, and the port. An IPv4 address is mapped into IPv6. */
export function numbersOf(encoded: Buffer): [number, number, number, number, number] {
  const port = encoded.readUInt16BE(PORT);
  if (familyOf(encoded) === AF_INET) return [0, 0, 0xffff, encoded.readUInt32BE(IPV4_ADDRESS), port];
  const word = (index: number): number => encoded.readUInt32BE(IPV6_ADDRESS + 4 * index);
  return [word(0), word(1), word(2), word(3), port];
}

/** Reverses `numbersOf`. */
export function addressOf(words: readonly number[], port: number): SocketAddress {
  const bytes = words.flatMap((word) => [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255]);
  const ip: Ip = isMapped(bytes) ? { family: "ipv4", bytes: bytes.slice(-4) } : { family: "ipv6", bytes };
  return { address: formatIp(ip), port };
}
