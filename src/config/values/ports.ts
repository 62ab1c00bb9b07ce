import net from "node:net";
import { formatIp, ipv6Bytes } from "../../net/ip.ts";
import { type PortNames, type Protocol, systemPortNames } from "./etc-services.ts";
import { UnitError } from "./units.ts";

/** Limit of the ports of a service. */
export const MAX_PORTS = 1_000;

/** One entry of `ports`: a listen port and the port of the target. */
export interface PortMapping {
  /** IP address to listen on. Absent: all addresses of IPv4 and IPv6. */
  readonly address?: string;
  readonly listen: number;
  /** Absent: the port of the process, or the listen port. */
  readonly target?: number;
  /** Number of ports, of which `listen` and `target` are the first. Absent: one. */
  readonly count?: number;
  /** Absent: TCP. */
  readonly protocol?: "udp";
}

/** An IP address or an invalid name, the listen port, and the target port. */
const ENTRY = /^(?:(?<address>\[[^\]]*\]|\d*\.[\d.]*|[^:[\]]+(?=:[^:]+:)):)?(?<listen>[^:]+)(?::(?<target>[^:]+))?$/;

/**
 * Parses one entry in the short syntax of Docker Compose: `2121`, `2121:21`, `127.0.0.1:2121:21`, `[::1]:2121:21`,
 * `53/udp`, or ranges of the same length: `30000-30009`, `30000-30009:40000-40009`. Unlike in compose, `127.0.0.1:2121`
 * is a listen port, because wakeport assigns no random ports. A port may be a name of /etc/services: `ftp`.
 *
 * @param names lookup of port names
 * @throws UnitError
 * @see https://docs.docker.com/reference/compose-file/services/#short-syntax-4
 */
export function parsePort(text: string, names: PortNames = systemPortNames): PortMapping {
  const range = text.trim().replace(/(\d)\s*-\s*(?=\d)/g, "$1-");
  if (range !== text.trim() && !/[\s,]/.test(range))
    throw new UnitError(`"${text}": write a range without spaces: "${range}"`);
  if (/[\s,]/.test(text.trim())) throw new UnitError(`"${text}": write several ports as a list: [21, "2121:21"]`);
  if (text.includes("://") || /^unix:|^\//.test(text)) {
    throw new UnitError(
      `"${text}": wakeport listens on ports, not on Unix sockets: write "2121:21" or "127.0.0.1:2121:21"`,
    );
  }
  const [ports = "", protocol, ...more] = text.split("/");
  if ((protocol !== undefined && protocol !== "tcp" && protocol !== "udp") || more.length > 0) {
    throw new UnitError(`"${text}": the protocol is tcp or udp: write "${ports}" or "${ports}/udp"`);
  }
  const groups = splitEntry(ports);
  if (groups === undefined) throw new UnitError(mappingHint(text, ports));
  const address = groups.address === undefined ? undefined : parseAddress(groups.address, text);
  const rangeOf = (part: string): Range => parseRange(part, text, protocol ?? "tcp", names);
  const listen = rangeOf(groups.listen);
  const target = groups.target === undefined ? undefined : rangeOf(groups.target);
  checkLengths(text, listen, target);
  return {
    listen: listen.first,
    ...(target !== undefined && { target: target.first }),
    ...(listen.count > 1 && { count: listen.count }),
    ...(address !== undefined && { address }),
    ...(protocol === "udp" && { protocol }),
  };
}

/**
 * Parses one entry of `data`: an entry of `ports` with TCP only, and with the same target port.
 *
 * @throws UnitError
 */
export function parseDataPort(text: string): PortMapping {
  const port = parsePort(text);
  if (port.protocol === "udp") throw new UnitError(`"${text}": data ports are for TCP: remove "/udp"`);
  if (port.target !== undefined && port.target !== port.listen) {
    throw new UnitError(
      `"${text}": a data port has the same number at the target, because servers send the number to clients`,
    );
  }
  return port;
}

function mappingHint(text: string, ports: string): string {
  const [, ipv6 = "", port = ""] = /^([\da-f:]*:):?(\w+)$/i.exec(ports) ?? [];
  const address = net.isIPv6(ipv6) ? ipv6 : ipv6.slice(0, -1);
  if (net.isIPv6(address)) return `"${text}": write an IPv6 address in brackets: "[${address}]:${port}"`;
  return `"${text}" is not a port mapping: write "2121:21" or "127.0.0.1:2121:21"`;
}

function splitEntry(ports: string): { address?: string; listen: string; target?: string } | undefined {
  const found = ENTRY.exec(ports)?.groups;
  if (found?.["listen"] === undefined) return undefined;
  const { address, listen, target } = found;
  return { listen, ...(address !== undefined && { address }), ...(target !== undefined && { target }) };
}

function parseAddress(text: string, entry: string): string {
  const address = text.replace(/^\[|\]$/g, "");
  if (net.isIP(address) === 0) {
    throw new UnitError(`"${entry}": "${address}" is not an IP address: wakeport listens on addresses, not on names`);
  }
  if (net.isIPv6(address) !== text.startsWith("["))
    throw new UnitError(`"${entry}": write an IPv6 address in brackets`);
  return normalizeAddress(address);
}

/** Returns one spelling of an IPv6 address, so that equal addresses compare equal. Addresses with a zone are unchanged. */
function normalizeAddress(address: string): string {
  return net.isIPv6(address) && !address.includes("%")
    ? formatIp({ family: "ipv6", bytes: ipv6Bytes(address) })
    : address;
}

/** A name contains a letter. Numbers and ranges do not. */
const NAME = /^(?=.*[a-z])[a-z0-9][a-z0-9_.+-]*$/i;
/** Limit of a port name, because the search for similar names is slow. */
const MAX_NAME = 64;

/** Consecutive ports. */
interface Range {
  readonly first: number;
  readonly count: number;
}

function parseRange(text: string, entry: string, protocol: Protocol, names: PortNames): Range {
  const [, from, to] = /^(\d+)-(\d+)$/.exec(text) ?? [];
  if (from === undefined || to === undefined)
    return { first: parseNumberOrName(text, entry, protocol, names), count: 1 };
  const [first, last] = [parseNumber(from, entry), parseNumber(to, entry)];
  if (last < first) {
    throw new UnitError(`"${entry}": a range starts with the lower port: write "${last}-${first}"`);
  }
  const count = last - first + 1;
  if (count > MAX_PORTS) {
    throw new UnitError(`"${entry}": ${count} ports are more than the limit of ${MAX_PORTS}`);
  }
  return { first, count };
}

/** @throws UnitError */
function checkLengths(entry: string, listen: Range, target: Range | undefined): void {
  if (target === undefined || target.count === listen.count) return;
  throw new UnitError(
    `"${entry}": the ranges differ in length: ${listen.count} listen and ${target.count} target ports`,
  );
}

function parseNumberOrName(text: string, entry: string, protocol: Protocol, names: PortNames): number {
  if (text.length > MAX_NAME || !NAME.test(text)) return parseNumber(text, entry);
  try {
    return names(text, protocol);
  } catch (error) {
    // A name may contain dashes and digits.
    if (!/^(\d+-.+|.+-\d+)$/.test(text)) throw error;
    throw new UnitError(`"${entry}": "${text}" is neither a port name nor a range of two numbers`);
  }
}

const LAST_PORT = 65_535;

function parseNumber(text: string, entry: string): number {
  if (!/^\d+$/.test(text)) throw new UnitError(`"${entry}": "${text}" is not a port`);
  const port = Number(text);
  if (port < 1 || port > LAST_PORT) throw new UnitError(`"${entry}": a port is a number from 1 to 65535`);
  return port;
}

/**
 * Parses `host:port`.
 *
 * @throws UnitError
 */
export function parseHostPort(text: string): { host: string; port: number } {
  const match = /^(\[[^\]]+\]|[^:[\]\s]+):(\d+)$/.exec(text);
  if (match === null)
    throw new UnitError(
      `"${text}" is not an address: write host and port, for example "127.0.0.1:9000" or "[::1]:9000"`,
    );
  return { host: match[1]!.replace(/^\[|\]$/g, ""), port: parseNumber(match[2]!, text) };
}

/** A range of ports, both ends included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/**
 * Parses a range of ports, `8000-8999`, or one port, `443`.
 *
 * @throws UnitError
 */
export function parsePortRange(text: string): PortRange {
  const [, from = text, to = from] = /^(\d+)\s*-\s*(\d+)$/.exec(text.trim()) ?? [];
  const [first, last] = [parseNumber(from.trim(), text), parseNumber(to.trim(), text)];
  if (last < first) throw new UnitError(`"${text}": a range starts with the lower port: write "${last}-${first}"`);
  return { first, last };
}

/** Returns whether two entries have a listen port that only one of them can bind. */
export function clash(a: PortMapping, b: PortMapping): boolean {
  return clashingPort(a, b) !== undefined;
}

/** Returns the first listen port that only one of two entries can bind, or undefined. */
export function clashingPort(a: PortMapping, b: PortMapping): number | undefined {
  const first = Math.max(a.listen, b.listen);
  return first <= Math.min(lastListen(a), lastListen(b)) && a.protocol === b.protocol && haveCommonAddress(a, b)
    ? first
    : undefined;
}

function haveCommonAddress({ address: a }: PortMapping, { address: b }: PortMapping): boolean {
  if (a === undefined || b === undefined) return true;
  if (net.isIPv6(a) !== net.isIPv6(b)) return false;
  const isWildcard = (address: string): boolean => address === "0.0.0.0" || /^[0:]+$/.test(address);
  return a === b || isWildcard(a) || isWildcard(b);
}

/** Returns whether two entries have a common listen port number, on any address and protocol. */
export function haveCommonNumber(a: PortMapping, b: PortMapping): boolean {
  return Math.max(a.listen, b.listen) <= Math.min(lastListen(a), lastListen(b));
}

function lastListen({ listen, count = 1 }: Pick<PortMapping, "listen" | "count">): number {
  return listen + count - 1;
}

/** Returns the ports of an entry one by one. */
export function eachPort<T extends PortMapping & { readonly target: number }>(entry: T): Omit<T, "count">[] {
  const { count = 1, ...first } = entry;
  return Array.from({ length: count }, (_, index) => ({
    ...first,
    listen: first.listen + index,
    target: first.target + index,
  }));
}

/** Returns `30000-30009`, or the number of a single port. */
export function formatRange(first: number, count: number = 1): string {
  return count === 1 ? String(first) : `${first}-${first + count - 1}`;
}
