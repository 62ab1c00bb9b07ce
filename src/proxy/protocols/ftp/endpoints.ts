/** Parses and formats the addresses in FTP commands and replies. */
import { formatIp, type Ip, readIp } from "../../../net/ip.ts";

/** Address and port of one end of a data connection. */
export interface FtpAddress {
  readonly ip: Ip;
  readonly port: number;
}

/** A port within a reply, and the text around the address. */
export interface FoundAddress {
  readonly port: number;
  readonly before: string;
  readonly after: string;
}

const BYTES = /^ *(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}) *$/;

/** Parses the argument of PORT (RFC 959, 4.1.2): `h1,h2,h3,h4,p1,p2`. @returns undefined if it is malformed */
export function readPort(argument: string): FtpAddress | undefined {
  const [, ...texts] = BYTES.exec(argument) ?? [];
  const bytes = texts.map(Number);
  if (bytes.length !== 6 || bytes.some((byte) => byte > 255)) return undefined;
  return { ip: { family: "ipv4", bytes: bytes.slice(0, 4) }, port: portOf(bytes.slice(4)) };
}

/** Parses the argument of EPRT (RFC 2428, 2): `|1|10.1.2.3|6275|`, `|2|fd00::1|6275|`. @returns undefined if it is malformed */
export function readEprt(argument: string): FtpAddress | undefined {
  const [, , protocol, address = "", digits] = /^ *([!-~])([12])\1([\d.:a-f]+)\1(\d{1,5})\1 *$/i.exec(argument) ?? [];
  const ip = readIp(address);
  const port = Number(digits);
  // An IPv4-mapped IPv6 address becomes an IPv4 address, as everywhere in wakeport.
  const isOfProtocol = address.includes(":") === (protocol === "2");
  return ip !== undefined && isOfProtocol && port <= 65_535 ? { ip, port } : undefined;
}

/** Returns the network protocol in an argument of EPRT (RFC 2428, 2), or undefined. */
export function eprtProtocol(argument: string): string | undefined {
  return /^ *([!-~])(\d+)\1/.exec(argument)?.[2];
}

/** Returns the argument of PORT, and the address in 227. IPv4 only. */
export function writePort({ ip, port }: FtpAddress): string {
  return [...ip.bytes, port >> 8, port & 255].join(",");
}

/** Returns the argument of EPRT. */
export function writeEprt({ ip, port }: FtpAddress): string {
  return `|${ip.family === "ipv4" ? 1 : 2}|${formatIp(ip)}|${port}|`;
}

/** Finds the address in 227: six numbers, with or without the parentheses of the RFC (RFC 1123, 4.1.2.6). */
export function findPasv(text: string): FoundAddress | undefined {
  // Searches after the code. No digit before or after the numbers, or a longer number would be cut.
  const all = /(?<!\d)(\d{1,3}) ?, ?(\d{1,3}) ?, ?(\d{1,3}) ?, ?(\d{1,3}) ?, ?(\d{1,3}) ?, ?(\d{1,3})(?!\d)/.exec(
    text.slice(3),
  );
  if (all === null) return undefined;
  const bytes = all.slice(1).map(Number);
  if (bytes.some((byte) => byte > 255)) return undefined;
  const at = 3 + all.index;
  return { port: portOf(bytes.slice(4)), before: text.slice(0, at), after: text.slice(at + all[0].length) };
}

/** Finds the port in 229 (RFC 2428, 3): `(|||6446|)`, with any delimiter. Some servers fill the empty fields. */
export function findEpsv(text: string): FoundAddress | undefined {
  const all = /^(.*\(([!-~])[\d]?\2[\d.:a-f]*\2)(\d{1,5})(\2\).*)$/is.exec(text);
  const [, before = "", , digits, after = ""] = all ?? [];
  const port = Number(digits);
  return port >= 1 && port <= 65_535 ? { port, before, after } : undefined;
}

function portOf([high = 0, low = 0]: readonly number[]): number {
  return high * 256 + low;
}
