/** IP addresses as bytes, so that prefixes can be compared. */
import net from "node:net";

export type IpFamily = "ipv4" | "ipv6";

export interface Ip {
  readonly family: IpFamily;
  /** 4 or 16 bytes. */
  readonly bytes: readonly number[];
}

/** All addresses with the same first `prefix` bits. */
export interface Network extends Ip {
  readonly prefix: number;
}

/** The prefix of an IPv4 address that is mapped into IPv6. */
const MAPPED: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255];

const MAPPED_TEXT = "::ffff:";

/** Bits of an address. */
export const BITS: Readonly<Record<IpFamily, number>> = { ipv4: 32, ipv6: 128 };

/**
 * Parses an address. A mapped IPv4 address (`::ffff:10.1.2.3`) becomes the IPv4 address; the zone of a link-local
 * address (`fe80::1%eth0`) is removed.
 *
 * @returns undefined if the text is not an IP address
 */
export function readIp(text: string): Ip | undefined {
  // Dual-stack listeners report IPv4 clients as mapped addresses. Parsing these as IPv6 takes ten times as long.
  const plain = text.startsWith(MAPPED_TEXT) ? text.slice(MAPPED_TEXT.length) : text;
  if (net.isIPv4(plain)) return { family: "ipv4", bytes: plain.split(".").map(Number) };
  if (!net.isIPv6(text)) return undefined;
  const bytes = ipv6Bytes(text.replace(/%.*$/s, ""));
  return isMapped(bytes) ? { family: "ipv4", bytes: bytes.slice(MAPPED.length) } : { family: "ipv6", bytes };
}

/** Whether the bytes are a mapped IPv4 address. */
export function isMapped(bytes: readonly number[]): boolean {
  return bytes.length === 16 && MAPPED.every((byte, index) => bytes[index] === byte);
}

/** Maps an IPv4 address into IPv6: `::ffff:10.1.2.3`. Returns an IPv6 address unchanged. */
export function inIpv6({ family, bytes }: Ip): Ip {
  return { family: "ipv6", bytes: family === "ipv6" ? bytes : [...MAPPED, ...bytes] };
}

/** Returns the 16 bytes of a valid IPv6 address, also of a mapped IPv4 address. */
export function ipv6Bytes(text: string): number[] {
  const [head = "", tail] = text.split("::");
  const first = groupBytes(head);
  const last = tail === undefined ? [] : groupBytes(tail);
  return [...first, ...new Array<number>(16 - first.length - last.length).fill(0), ...last];
}

function groupBytes(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (group.includes(".")) return group.split(".").map(Number);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 255];
  });
}

/** Returns the network of an address: all bits after the first `prefix` bits are cleared. */
export function networkOf({ family, bytes }: Ip, prefix: number): Network {
  return { family, prefix, bytes: bytes.map((byte, index) => byte & maskAt(index, prefix)) };
}

/** Whether the network contains the address. */
export function isIn({ family, bytes }: Ip, network: Network): boolean {
  if (family !== network.family) return false;
  return bytes.every((byte, index) => ((byte ^ (network.bytes[index] ?? 0)) & maskAt(index, network.prefix)) === 0);
}

/** Formats an address: `10.1.2.3`, `fd00::1`. */
export function formatIp({ family, bytes }: Ip): string {
  if (family === "ipv4") return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, index) => ((bytes[2 * index] ?? 0) << 8) | (bytes[2 * index + 1] ?? 0));
  const address = groups.map((group) => group.toString(16)).join(":");
  return new net.SocketAddress({ address, family }).address;
}

/** Whether two texts are the same address, in any notation. */
export function isSameAddress(one: string, other: string): boolean {
  const [ip, otherIp] = [readIp(one), readIp(other)];
  return ip !== undefined && otherIp !== undefined && formatIp(ip) === formatIp(otherIp);
}

/** Formats a network: `10.0.0.0/8`; a single address without its prefix. */
export function formatNetwork(network: Network): string {
  const address = formatIp(network);
  return network.prefix === BITS[network.family] ? address : `${address}/${network.prefix}`;
}

/** Returns the bits of the byte at `index` that belong to the first `prefix` bits. */
function maskAt(index: number, prefix: number): number {
  const bits = Math.min(8, Math.max(0, prefix - 8 * index));
  return (0xff << (8 - bits)) & 0xff;
}
