/**
 * The header of the PROXY protocol, which contains the addresses of a proxy's client. The parser rejects all deviations
 * from the specification; in version 2 it accepts only streams, and checks only the length of the TLVs.
 *
 * @see https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt, sections 2.1 and 2.2
 */
import net from "node:net";
import type { SocketAddresses } from "./addresses.ts";
import { formatIp, type Ip, type IpFamily, inIpv6, readIp } from "./ip.ts";
import type { Parsed } from "./peek.ts";

export const proxyVersions = ["v1", "v2"] as const;
export type ProxyVersion = (typeof proxyVersions)[number];

/** The bytes are not a valid PROXY header. */
export class ProxyHeaderError extends Error {
  override readonly name = "ProxyHeaderError";
}

/** The longest header of version 1, including CR LF. */
const MAX_V1 = 107;
/** The longest accepted header in bytes, which fits into the smallest packet. */
export const MAX_PROXY_HEADER = 536;

const V1 = Buffer.from("PROXY ");
const V2: Buffer = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const HEAD_V2 = 16;
const NUMBER = /^(0|[1-9]\d{0,4})$/;

/**
 * Parses the header at the start of the bytes.
 *
 * @returns undefined while the end is missing. The value is undefined if the proxy has no client (LOCAL), or does not
 *   know its addresses (UNKNOWN, AF_UNSPEC, AF_UNIX)
 * @throws ProxyHeaderError at the first invalid byte
 */
export function readProxyHeader(bytes: Buffer): Parsed<SocketAddresses | undefined> | undefined {
  if (beginsLike(bytes, V2)) return bytes.length < HEAD_V2 ? undefined : readV2(bytes);
  if (beginsLike(bytes, V1)) return bytes.length < V1.length ? undefined : readV1(bytes);
  throw new ProxyHeaderError("the first bytes are not a PROXY header");
}

/** Creates a header with these addresses; without addresses, one of a proxy that has no client. */
export function proxyHeader(version: ProxyVersion, addresses?: SocketAddresses): Buffer {
  const ips =
    addresses === undefined ? [] : [addresses.peer, addresses.local].flatMap(({ address }) => readIp(address) ?? []);
  const [source, destination] = ips;
  if (addresses === undefined || source === undefined || destination === undefined) return localHeader(version);
  const ports = [addresses.peer.port, addresses.local.port] as const;
  const write = version === "v1" ? writeV1 : writeV2;
  if (source.family === destination.family) return write(source.family, [source, destination], ports);
  // A header contains addresses of one family only.
  return write("ipv6", [inIpv6(source), inIpv6(destination)], ports);
}

/** Whether the bytes are a prefix of the signature, or begin with it. */
function beginsLike(bytes: Buffer, signature: Buffer): boolean {
  const length = Math.min(bytes.length, signature.length);
  return bytes.subarray(0, length).equals(signature.subarray(0, length));
}

function readV1(bytes: Buffer): Parsed<SocketAddresses | undefined> | undefined {
  const end = bytes.subarray(0, MAX_V1).indexOf("\n");
  if (end < 0) {
    if (bytes.length < MAX_V1) return undefined;
    throw new ProxyHeaderError(`the PROXY header is longer than ${MAX_V1} bytes`);
  }
  const line = bytes.toString("latin1", 0, end + 1);
  if (!line.endsWith("\r\n")) throw new ProxyHeaderError("the PROXY header does not end with CR LF");
  const [, family, ...rest] = line.slice(0, -2).split(" ");
  const used = end + 1;
  // The specification requires the rest of the line to be ignored.
  if (family === "UNKNOWN") return { value: undefined, used };
  const [from = "", to = "", fromPort = "", toPort = "", ...more] = rest;
  const isAddress = family === "TCP4" ? net.isIPv4 : family === "TCP6" ? isPlainIPv6 : undefined;
  if (isAddress === undefined) throw new ProxyHeaderError("the PROXY header has an unknown address family");
  if (more.length > 0 || !isAddress(from) || !isAddress(to) || !isPort(fromPort) || !isPort(toPort)) {
    throw new ProxyHeaderError("the PROXY header does not contain two addresses and ports");
  }
  const value = { peer: { address: from, port: Number(fromPort) }, local: { address: to, port: Number(toPort) } };
  return { value, used };
}

/** Rejects a zone, which has a meaning only on the sender's machine. */
function isPlainIPv6(text: string): boolean {
  return net.isIPv6(text) && !text.includes("%");
}

function isPort(text: string): boolean {
  return NUMBER.test(text) && Number(text) <= 65_535;
}

/** Bytes of both addresses, by family: none, IPv4, IPv6, UNIX. */
const ADDRESS_BYTES: readonly number[] = [0, 8, 32, 216];
const PORT_BYTES = 4;
const STREAM = 1;
const [UNSPEC, INET, INET6] = [0, 1, 2];

function readV2(bytes: Buffer): Parsed<SocketAddresses | undefined> | undefined {
  const [version, command] = [(bytes[12] ?? 0) >> 4, (bytes[12] ?? 0) & 15];
  if (version !== 2) throw new ProxyHeaderError("the PROXY header has an unknown version");
  if (command > 1) throw new ProxyHeaderError("the PROXY header has an unknown command");
  const used = HEAD_V2 + bytes.readUInt16BE(14);
  if (used > MAX_PROXY_HEADER) throw new ProxyHeaderError(`the PROXY header is longer than ${MAX_PROXY_HEADER} bytes`);
  const [family, transport] = [(bytes[13] ?? 0) >> 4, (bytes[13] ?? 0) & 15];
  const isLocal = command === 0;
  if (!isLocal) checkKind(family, transport, used - HEAD_V2);
  if (bytes.length < used) return undefined;
  // The specification requires the rest of a LOCAL header to be skipped.
  if (isLocal) return { value: undefined, used };
  const block = bytes.subarray(HEAD_V2, used);
  checkTlvs(block.subarray(sizeOf(family)));
  if (family !== INET && family !== INET6) return { value: undefined, used };
  return { value: addressesIn(block, family === INET ? 4 : 16), used };
}

function checkKind(family: number, transport: number, length: number): void {
  if (family >= ADDRESS_BYTES.length) throw new ProxyHeaderError("the PROXY header has an unknown address family");
  const isStream = transport === STREAM || (family === UNSPEC && transport === 0);
  if (!isStream) throw new ProxyHeaderError("the PROXY header is not for a stream");
  if (length < sizeOf(family)) throw new ProxyHeaderError("the PROXY header is shorter than its addresses");
}

/** Returns the size of both addresses with their ports; UNIX sockets have no ports. */
function sizeOf(family: number): number {
  const addresses = ADDRESS_BYTES[family] ?? 0;
  return family === INET || family === INET6 ? addresses + PORT_BYTES : addresses;
}

/** Each TLV has a type, a length in two bytes, and that many bytes. */
function checkTlvs(tlvs: Buffer): void {
  for (let at = 0; at < tlvs.length; ) {
    const end = at + 3 <= tlvs.length ? at + 3 + tlvs.readUInt16BE(at + 1) : Number.POSITIVE_INFINITY;
    if (end > tlvs.length) throw new ProxyHeaderError("the PROXY header is shorter than its TLVs");
    at = end;
  }
}

function addressesIn(block: Buffer, size: 4 | 16): SocketAddresses {
  const family = size === 4 ? "ipv4" : "ipv6";
  const address = (at: number): string => formatIp({ family, bytes: [...block.subarray(at, at + size)] });
  return {
    peer: { address: address(0), port: block.readUInt16BE(2 * size) },
    local: { address: address(size), port: block.readUInt16BE(2 * size + 2) },
  };
}

function localHeader(version: ProxyVersion): Buffer {
  return version === "v1" ? Buffer.from("PROXY UNKNOWN\r\n") : Buffer.concat([V2, Buffer.from([0x20, 0, 0, 0])]);
}

type Two<T> = readonly [source: T, destination: T];

function writeV1(family: IpFamily, addresses: Two<Ip>, ports: Two<number>): Buffer {
  const fields = [family === "ipv4" ? "TCP4" : "TCP6", ...addresses.map(formatIp), ...ports];
  return Buffer.from(`PROXY ${fields.join(" ")}\r\n`);
}

function writeV2(family: IpFamily, addresses: Two<Ip>, ports: Two<number>): Buffer {
  const block = [...addresses.flatMap(({ bytes }) => bytes), ...ports.flatMap((port) => [port >> 8, port & 255])];
  const kind = family === "ipv4" ? 0x11 : 0x21;
  return Buffer.concat([V2, Buffer.from([0x21, kind, 0, block.length, ...block])]);
}
