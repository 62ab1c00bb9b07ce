import net from "node:net";
import { formatIp, ipv6Bytes } from "../../net/ip.ts";
import { type PortNames, type Protocol, systemPortNames } from "./etc-services.ts";
import { UnitError } from "./units.ts";

/** More listeners than this are no service. */
export const MAX_PORTS = 1_000;

/** One entry of `ports`: where wakeport listens, and on which port of the target it ends. */
export interface PortMapping {
  /** IP address to listen on; absent: all, IPv4 and IPv6. */
  readonly address?: string;
  readonly listen: number;
  /** Absent when only the front is given: then the target says, or it is the same. */
  readonly target?: number;
  /** How many ports in a row these are, of which `front` and `target` are the first; absent: one. */
  readonly count?: number;
  /** Absent: TCP. */
  readonly protocol?: "udp";
}

/** An IP address comes first, or a name that should have been one; then the front's port, then the target's. */
const ENTRY = /^(?:(?<address>\[[^\]]*\]|\d*\.[\d.]*|[^:[\]]+(?=:[^:]+:)):)?(?<front>[^:]+)(?::(?<target>[^:]+))?$/;

/**
 * Reads one entry in the short syntax of Docker Compose: `2121`, `2121:21`, `127.0.0.1:2121:21`, `[::1]:2121:21`,
 * `53/udp`; or a range of ports, each of which leads to the one in the same place: `30000-30009`, `30000-30009:40000-40009`.
 * Other than there, `127.0.0.1:2121` names the front: wakeport does not hand out ports; and a port may be a name of
 * /etc/services, `ftp`.
 *
 * @param names where names of ports are looked up
 * @throws UnitError
 * @see https://docs.docker.com/reference/compose-file/services/#short-syntax-4
 */
export function parsePort(text: string, names: PortNames = systemPortNames): PortMapping {
  const range = text.trim().replace(/(\d)\s*-\s*(?=\d)/g, "$1-");
  if (range !== text.trim() && !/[\s,]/.test(range))
    throw new UnitError(`"${text}": write a range without blanks: "${range}"`);
  if (/[\s,]/.test(text.trim())) throw new UnitError(`"${text}": of several ports write a list: [21, "2121:21"]`);
  if (text.includes("://") || /^unix:|^\//.test(text)) {
    throw new UnitError(`"${text}": wakeport listens on ports, not on paths: write "2121:21" or "127.0.0.1:2121:21"`);
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
 * Reads one entry of `data`: as an entry of `ports`, but of TCP alone, and always leading to the same number.
 *
 * @throws UnitError
 */
export function parseDataPort(text: string): PortMapping {
  const port = parsePort(text);
  if (port.protocol === "udp") throw new UnitError(`"${text}": data ports are for TCP: remove "/udp"`);
  if (port.target !== undefined && port.target !== port.listen) {
    throw new UnitError(`"${text}": a data port has the same number at the target, because servers tell it to clients`);
  }
  return port;
}

function mappingHint(text: string, ports: string): string {
  const [, ipv6 = "", port = ""] = /^([\da-f:]*:):?(\w+)$/i.exec(ports) ?? [];
  const address = net.isIPv6(ipv6) ? ipv6 : ipv6.slice(0, -1);
  if (net.isIPv6(address)) return `"${text}": write an IPv6 address in brackets: "[${address}]:${port}"`;
  return `"${text}" is no port mapping: write "2121:21" or "127.0.0.1:2121:21"`;
}

function splitEntry(ports: string): { address?: string; listen: string; target?: string } | undefined {
  const found = ENTRY.exec(ports)?.groups;
  if (found?.["front"] === undefined) return undefined;
  const { address, front: listen, target } = found;
  return { listen, ...(address !== undefined && { address }), ...(target !== undefined && { target }) };
}

function parseAddress(text: string, entry: string): string {
  const address = text.replace(/^\[|\]$/g, "");
  if (net.isIP(address) === 0) {
    throw new UnitError(`"${entry}": "${address}" is no IP address; wakeport listens on addresses, not on names`);
  }
  if (net.isIPv6(address) !== text.startsWith("["))
    throw new UnitError(`"${entry}": write an IPv6 address in brackets`);
  return oneSpelling(address);
}

/** Of an IPv6 address, so that two services that write it differently share it. One with a zone stays as it is. */
function oneSpelling(address: string): string {
  return net.isIPv6(address) && !address.includes("%")
    ? formatIp({ family: "ipv6", bytes: ipv6Bytes(address) })
    : address;
}

/** What has a letter is a name; that is how they differ from numbers and ranges of them. */
const NAME = /^(?=.*[a-z])[a-z0-9][a-z0-9_.+-]*$/i;
/** Longer ones are in no file, and the search for near names would take its time. */
const MAX_NAME = 64;

/** Ports in a row; of a single one the count is 1. */
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
    throw new UnitError(`"${entry}": a range begins with the lower port: write "${last}-${first}"`);
  }
  const count = last - first + 1;
  if (count > MAX_PORTS) {
    throw new UnitError(`"${entry}": these are ${count} ports, and a service has ${MAX_PORTS} at most`);
  }
  return { first, count };
}

/** @throws UnitError */
function checkLengths(entry: string, listen: Range, target: Range | undefined): void {
  if (target === undefined || target.count === listen.count) return;
  const end = target.first + listen.count - 1;
  const match = listen.count === 1 ? target.first : `${target.first}-${end}`;
  const what = `${portsOf(listen.count)} cannot lead to ${target.count}`;
  const remedy = end > LAST_PORT ? "let the range of the target begin lower" : `the target's part would be "${match}"`;
  throw new UnitError(`"${entry}": ${what}: ${remedy}`);
}

function portsOf(count: number): string {
  return count === 1 ? "1 port" : `${count} ports`;
}

function parseNumberOrName(text: string, entry: string, protocol: Protocol, names: PortNames): number {
  if (text.length > MAX_NAME || !NAME.test(text)) return parseNumber(text, entry);
  try {
    return names(text, protocol);
  } catch (error) {
    // Names may have dashes, and digits.
    if (!/^(\d+-.+|.+-\d+)$/.test(text)) throw error;
    throw new UnitError(`"${entry}": "${text}" is no name of a port, and a range has numbers at both ends`);
  }
}

const LAST_PORT = 65_535;

function parseNumber(text: string, entry: string): number {
  if (!/^\d+$/.test(text)) throw new UnitError(`"${entry}": "${text}" is no port`);
  const port = Number(text);
  if (port < 1 || port > LAST_PORT) throw new UnitError(`"${entry}": a port is a number from 1 to 65535`);
  return port;
}

/**
 * Reads `host:port`, for addresses that are dialled or that the admin server listens on.
 *
 * @throws UnitError
 */
export function parseHostPort(text: string): { host: string; port: number } {
  const match = /^(\[[^\]]+\]|[^:[\]\s]+):(\d+)$/.exec(text);
  if (match === null) throw new UnitError(addressHint(text));
  return { host: match[1]!.replace(/^\[|\]$/g, ""), port: parseNumber(match[2]!, text) };
}

function addressHint(text: string): string {
  const [, host, port] = /^(?:[a-z]+:\/\/)?([\w.-]+)?(?:[: ](\w+))?\/*$/i.exec(text) ?? [];
  if (net.isIPv6(text)) return `"${text}" has no port, or no brackets: write "[${text}]:9000"`;
  if (port !== undefined && /^\d+$/.test(port))
    return `"${text}" is no address: write "${host ?? "127.0.0.1"}:${port}"`;
  if (port !== undefined && host !== undefined) return `"${text}": "${port}" is no port: write its number`;
  if (host !== undefined && /^\d+$/.test(host)) return `"${text}" has no host: write "127.0.0.1:${host}"`;
  if (host !== undefined) return `"${text}" has no port: write "${host}:9000"`;
  return `"${text}" is no address: write "127.0.0.1:9000"`;
}

/** A range of ports, both ends included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/**
 * Reads a range of ports, `8000-8999`, or one port, `443`.
 *
 * @throws UnitError
 */
export function parsePortRange(text: string): PortRange {
  const [, from = text, to = from] = /^(\d+)\s*-\s*(\d+)$/.exec(text.trim()) ?? [];
  const [first, last] = [parseNumber(from.trim(), text), parseNumber(to.trim(), text)];
  if (last < first) throw new UnitError(`"${text}": a range begins with the lower port: write "${last}-${first}"`);
  return { first, last };
}

/** Whether two entries have fronts that cannot both be bound. */
export function clash(a: PortMapping, b: PortMapping): boolean {
  return clashingPort(a, b) !== undefined;
}

/** The first port that two entries cannot both bind. */
export function clashingPort(a: PortMapping, b: PortMapping): number | undefined {
  const first = Math.max(a.listen, b.listen);
  return first <= Math.min(lastListen(a), lastListen(b)) && a.protocol === b.protocol && meet(a, b) ? first : undefined;
}

function meet({ address: a }: PortMapping, { address: b }: PortMapping): boolean {
  if (a === undefined || b === undefined) return true;
  if (net.isIPv6(a) !== net.isIPv6(b)) return false;
  const isWildcard = (address: string): boolean => address === "0.0.0.0" || /^[0:]+$/.test(address);
  return a === b || isWildcard(a) || isWildcard(b);
}

/** Whether two entries have a front port number in common, on any address and protocol. */
export function haveCommonNumber(a: PortMapping, b: PortMapping): boolean {
  return Math.max(a.listen, b.listen) <= Math.min(lastListen(a), lastListen(b));
}

function lastListen({ listen, count = 1 }: Pick<PortMapping, "listen" | "count">): number {
  return listen + count - 1;
}

/** The ports of an entry one by one, each leading to the one in the same place. */
export function eachPort<T extends PortMapping & { readonly target: number }>(entry: T): Omit<T, "count">[] {
  const { count = 1, ...first } = entry;
  return Array.from({ length: count }, (_, index) => ({
    ...first,
    listen: first.listen + index,
    target: first.target + index,
  }));
}

/** `30000-30009` from 30000 on; of one port its number. */
export function formatRange(first: number, count: number = 1): string {
  return count === 1 ? String(first) : `${first}-${first + count - 1}`;
}
