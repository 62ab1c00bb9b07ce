/** Converts inetd.conf, as OpenBSD's inetd (Debian's openbsd-inetd) and older versions read it. */
import net from "node:net";
import {
  builtinTarget,
  type Converted,
  type Head,
  type ImportContext,
  Importer,
  mappingOf,
  type Notes,
  NotImportedError,
  ratesOf,
  sectionOf,
  type Target,
  UDP_NOT_SUPPORTED,
} from "./conversion.ts";
import { type Draft, type Entry, type Place, placeOf } from "./draft.ts";
import { ImportError, reading } from "./sources.ts";

const REMARKS: readonly string[] = [
  "Differences from inetd:",
  "- The environment of a server contains only PATH, LANG, TZ and HOME.",
  "- wakeport does not read /etc/hosts.allow and /etc/hosts.deny (libwrap, inetd -l); the program tcpd still reads them.",
  "- A service without a limit gets inetd's default, 256 starts per minute (inetd -R). Clients above the limit are rejected, but the port stays open.",
];

const MAX_LINES = 10_000;

/** Converts these files. @throws ImportError if a file cannot be read */
export function convertInetd(paths: readonly string[], context: ImportContext): Draft {
  const importer = new Importer(context);
  const converted = paths.flatMap((path) => {
    const lines = linesOf(path, context);
    if (lines.length > MAX_LINES) throw new ImportError(`${path}: more than ${MAX_LINES} entries`);
    let addresses: readonly string[] = [];
    return lines.flatMap((line): Converted[] => {
      const [first = "", second] = line.words;
      if (!first.endsWith(":") || second !== undefined) return [convert(line, addresses, importer)];
      addresses = first.slice(0, -1).split(",");
      return [];
    });
  });
  return {
    remarks: REMARKS,
    sections: {},
    services: converted.map(({ draft }) => draft),
    warnings: converted.flatMap(({ warnings }) => warnings),
  };
}

interface Line {
  readonly place: Place;
  readonly words: readonly string[];
}

/** Returns the entries of a file. A line that begins with a blank continues the line before. */
function linesOf(file: string, { sources }: ImportContext): Line[] {
  if (sources.kindOf(file) === "folder") throw new ImportError(`${file} is a folder: name the files in it`);
  const entries: { place: Place; words: string[] }[] = [];
  let last: string[] | undefined;
  for (const [index, text] of reading(file, () => sources.lines(file)).entries()) {
    const words = text.split(/\s+/).filter(Boolean);
    const isComment = words[0]?.startsWith("#") === true;
    if (words.length === 0 || isComment) last = undefined;
    else if (/^\s/.test(text) && last !== undefined) last.push(...words);
    else {
      last = words;
      entries.push({ place: { file, line: index + 1 }, words });
    }
  }
  return entries;
}

/** @param addresses the addresses of the last line that contains only addresses */
function convert({ place, words }: Line, addresses: readonly string[], importer: Importer): Converted {
  const [listener = "", type = "", protocol = "", wait = "", account = "", server = "", ...args] = words;
  const own = /^(.*):([^:]*)$/s.exec(listener);
  const service = own?.[2] ?? listener;
  const name = service === "" ? "service" : service;
  const head: Head = { label: name, name, place, lines: [words.join(" ")] };
  return importer.convert(head, (notes) => {
    if (server === "") {
      throw new NotImportedError("a line needs a service, type, protocol, wait or nowait, user and server");
    }
    const [kind = "", ...buffers] = protocol.split(",");
    checkKind(type, kind);
    if (buffers.length > 0) notes.warn(place, `not converted: ${buffers.join(",")}`);
    const hosts = own === null ? addresses : (own[1] ?? "").split(",");
    const ports = { value: portsOf(service, kind, hosts, notes, place), note: placeOf(place) };
    const [, mode, limits = ""] = /^(wait|nowait)((?:[./].*)?)$/s.exec(wait) ?? [];
    if (mode === undefined) throw new NotImportedError(`"${wait}" is neither wait nor nowait`);
    const isWaiting = mode === "wait";
    const target = targetOf({ service, account, server, args, isWaiting }, notes, place, importer.context);
    if (isWaiting && limits !== "")
      notes.warn(place, `not converted: ${wait}, because the server accepts its clients itself`);
    const limit = isWaiting ? {} : sectionOf("limits", limitsOf(limits, notes, place));
    return { ports, keys: { [target.key]: target.entry, ...limit } };
  });
}

function checkKind(type: string, protocol: string): void {
  if (protocol.startsWith("rpc/")) throw new NotImportedError("SunRPC is not supported");
  if (protocol === "unix") throw new NotImportedError("sockets with a path are not supported");
  if (type === "dgram" || protocol.startsWith("udp")) throw new NotImportedError(UDP_NOT_SUPPORTED);
  if (type !== "stream") throw new NotImportedError(`sockets of type "${type}" are not supported`);
  if (!/^tcp(4|6|46)?$/.test(protocol)) throw new NotImportedError(`the protocol "${protocol}" is not supported`);
}

/** `tcp` listens on IPv4 and IPv6, as a port without an address does in wakeport. */
function portsOf(
  service: string,
  protocol: string,
  addresses: readonly string[],
  notes: Notes,
  place: Place,
): string[] {
  const any = { tcp4: ["0.0.0.0:"], tcp6: ["[::]:"] }[protocol] ?? [""];
  const hosts = addresses.filter((address) => address !== "").map((address) => address.replace(/^\[|\]$/g, ""));
  if (hosts.length === 0 || hosts.includes("*")) return any.map((address) => `${address}${service}`);
  const names = hosts.filter((host) => net.isIP(host) === 0);
  for (const host of names) notes.disable(place, `"${host}" is not an address: write the address before the port`);
  const family = { tcp4: 4, tcp6: 6 }[protocol];
  const usable = hosts.filter((host) => !names.includes(host) && (family ?? net.isIP(host)) === net.isIP(host));
  if (usable.length > 0)
    return [...new Set(usable)].map((host) => `${net.isIPv6(host) ? `[${host}]` : host}:${service}`);
  if (names.length === 0) notes.disable(place, `${protocol} does not match ${hosts.join(", ")}`);
  return [service];
}

interface Server {
  readonly service: string;
  readonly account: string;
  readonly server: string;
  readonly args: readonly string[];
  readonly isWaiting: boolean;
}

function targetOf(
  { service, account, server, args, isWaiting }: Server,
  notes: Notes,
  place: Place,
  context: ImportContext,
): Target {
  if (server === "internal") return builtinTarget(service, { value: service });
  notes.checkProgram(place, server, context);
  const [argv0, ...rest] = args;
  const [userAndGroup = "", loginClass] = account.split("/");
  const [, user = "", group = ""] = /^([^.:]*)[.:]?(.*)$/s.exec(userAndGroup) ?? [];
  if (user === "") throw new NotImportedError(`"${account}" does not contain a user`);
  if (loginClass !== undefined) notes.warn(place, `not converted: the login class "${loginClass}"`);
  const isUsual = argv0 === undefined || argv0 === server.split("/").at(-1);
  const value = mappingOf({
    command: { value: [server, ...rest] },
    argv0: isUsual ? undefined : { value: argv0 },
    user: { value: user },
    group: group === "" ? undefined : { value: group },
    groups: { value: "init", note: "as in inetd" },
    cwd: { value: "/", note: "as in inetd" },
    stderr: isWaiting ? undefined : { value: "socket", note: "as in inetd: stderr is the connection" },
    wait: isWaiting ? { value: true } : undefined,
  });
  return { key: "inetd", entry: { value: value ?? {} } };
}

/** `.max` starts per minute; `/max/per source and minute/max per source`, where 0 means no limit. */
function limitsOf(text: string, notes: Notes, place: Place): Record<string, Entry | undefined> {
  const isList = text.startsWith("/");
  const counts = text === "" ? [] : text.slice(1).split(isList ? "/" : ".");
  if (counts.some((count) => !/^\d{1,9}$/.test(count)) || counts.length > (isList ? 3 : 1)) {
    notes.disable(place, `"${text}" is not a valid limit`);
    return {};
  }
  const entry = (count = 0, unit = ""): Entry | undefined =>
    count === 0 ? undefined : { value: unit === "" ? count : `${count}${unit}` };
  const [first, second, third] = counts.map(Number);
  const fallback = { value: "256/m", note: "inetd's default" };
  if (isList) {
    const perSource = entry(second, "/m");
    return {
      connections: entry(first),
      per_source: entry(third),
      ...ratesOf(fallback),
      ...(perSource && { rate_per_source: perSource }),
    };
  }
  if (first) notes.warn(place, `clients above ${first} per minute are rejected; the port is not closed for 10 minutes`);
  return ratesOf(first === undefined ? fallback : entry(first, "/m"));
}
