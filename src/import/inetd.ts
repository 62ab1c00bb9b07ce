/** inetd.conf, as OpenBSD's inetd (Debian's openbsd-inetd) and its elder relatives read it, as wakeport.yaml. */
import net from "node:net";
import { builtinNames } from "../config/config.ts";
import { UnitError } from "../config/values/units.ts";
import { Conversion, ListenAddresses, mappingOf, omitted, ServiceNames } from "./conversion.ts";
import { type Draft, type Entry, type Place, placeOf, type ServiceDraft, type Warning, warningLine } from "./draft.ts";
import { ImportError, reasonOf } from "./sources.ts";
import { type ImportContext, isBuiltin } from "./xinetd-target.ts";

const GENERAL: readonly string[] = [
  "The environment of a server is PATH, LANG, TZ and HOME.",
  "/etc/hosts.allow and /etc/hosts.deny (libwrap, inetd -l) are not read here; the program tcpd still reads them.",
  "Without a limit of its own a service has inetd's default, 256 starts a minute (inetd -R); beyond it a client is refused, but the port stays open.",
];

/** More lines than any real configuration has. */
const MAX_LINES = 10_000;

/**
 * Makes a draft of these files.
 *
 * @throws ImportError when one cannot be read
 */
export function convertInetd(paths: readonly string[], context: ImportContext): Draft {
  const work: Work = { ...context, serviceNames: new ServiceNames(), listeners: new ListenAddresses(context.names) };
  const converted = paths.flatMap((path) => {
    const lines = entriesOf(path, read(path, context));
    if (lines.length > MAX_LINES) throw new ImportError(`${path}: more than ${MAX_LINES} entries`);
    let addresses: readonly string[] = [];
    return lines.flatMap((line): Converted[] => {
      const [first = "", second] = line.words;
      if (first.endsWith(":") && second === undefined) {
        addresses = first.slice(0, -1).split(",");
        return [];
      }
      return [convert(line, addresses, work)];
    });
  });
  return {
    remarks: ["What is different from inetd:", ...GENERAL.map((line) => `- ${line}`)],
    sections: {},
    services: converted.map(({ draft }) => draft),
    warnings: converted.flatMap(({ warnings }) => warnings),
  };
}

interface Line {
  readonly place: Place;
  readonly words: readonly string[];
}

interface Work extends ImportContext {
  readonly serviceNames: ServiceNames;
  readonly listeners: ListenAddresses;
}

interface Converted {
  readonly draft: ServiceDraft;
  readonly warnings: readonly Warning[];
}

function read(path: string, { sources }: ImportContext): string[] {
  try {
    if (sources.kindOf(path) === "folder") throw new ImportError(`${path}: that is a folder: name the files in it`);
    return sources.lines(path);
  } catch (error) {
    throw error instanceof ImportError ? error : new ImportError(`${path}: ${reasonOf(error)}`, { cause: error });
  }
}

/** The lines that say something; one that begins with a blank goes on with the line before. */
function entriesOf(file: string, lines: readonly string[]): Line[] {
  const entries: { place: Place; words: string[] }[] = [];
  let last: string[] | undefined;
  for (const [index, text] of lines.entries()) {
    const words = text.split(/\s+/).filter(Boolean);
    const isComment = words[0]?.startsWith("#") === true;
    if (words.length === 0 || isComment) {
      last = undefined;
      continue;
    }
    if (/^\s/.test(text) && last !== undefined) last.push(...words);
    else {
      last = words;
      entries.push({ place: { file, line: index + 1 }, words });
    }
  }
  return entries;
}

function convert({ place, words }: Line, addresses: readonly string[], work: Work): Converted {
  const [listener = "", type = "", protocol = "", wait = "", account = "", server = "", ...args] = words;
  const own = /^(.*):([^:]*)$/s.exec(listener);
  const service = own?.[2] ?? listener;
  const name = service === "" ? "service" : service;
  const made = new Conversion(new Map());
  const none = (reason: string): Converted => ({
    draft: omitted(name, reason, placeOf(place), [words.join(" ")]),
    warnings: [{ place, message: `${name} is not imported: ${reason}` }],
  });
  if (server === "") return none("a line has at least a service, type, protocol, wait or nowait, user and server");
  const [kind = "", ...buffers] = protocol.split(",");
  const unsupported = unsupportedKind(type, kind);
  if (unsupported !== undefined) return none(unsupported);
  if (buffers.length > 0) made.warn(place, `${buffers.join(", ")}: the sizes of the socket's buffers cannot be set`);
  const ports = portsOf(service, kind, own === null ? addresses : (own[1] ?? "").split(","), made, place);
  try {
    for (const port of ports) work.listeners.read(port);
  } catch (error) {
    if (!(error instanceof UnitError)) throw error;
    return none(error.message);
  }
  const [, mode, limits = ""] = /^(wait|nowait)((?:[./].*)?)$/s.exec(wait) ?? [];
  if (mode === undefined) return none(`"${wait}" is neither wait nor nowait`);
  const note = placeOf(place);
  const target = targetOf({ service, account, server, args, isWaiting: mode === "wait" }, made, place, work);
  if ("reason" in target) return none(target.reason);
  // A server that is handed the listener accepts its clients itself.
  const limit = mode === "wait" ? undefined : limitsOf(limits, made, place);
  if (mode === "wait" && limits !== "")
    made.warn(place, `"${limits}" is left out: the server accepts its clients itself`);
  if (made.reasons.length === 0) {
    const taken = ports.map((port) => work.listeners.claim(name, port)).find((other) => other !== undefined);
    if (taken !== undefined) made.disable(place, `the port is taken by ${taken}`);
  }
  const isOff = made.reasons.length > 0;
  return {
    draft: {
      name: work.serviceNames.give(name),
      remarks: [`${name}, ${note}`, ...made.warnings.map((one) => `warning: ${warningLine(one)}`)],
      keys: {
        ports: { value: ports, note },
        ...(isOff && { enabled: { value: false, note: made.reasons.join("; ") } }),
        [target.key]: target.entry,
        ...(limit && { limits: limit }),
      },
    },
    warnings: made.warnings.map((one) => ({ ...one, message: `${name}: ${one.message}` })),
  };
}

function unsupportedKind(type: string, protocol: string): string | undefined {
  if (protocol.startsWith("rpc/")) return "SunRPC is not supported";
  if (protocol === "unix") return "sockets with a path are not supported";
  if (type === "dgram" || protocol.startsWith("udp")) {
    return 'a UDP server that takes over the socket is not supported; one that listens by itself can be a "process"';
  }
  if (type !== "stream") return `sockets of type "${type}" are not supported`;
  return /^tcp(4|6|46)?$/.test(protocol) ? undefined : `the protocol "${protocol}" is not supported`;
}

/** `tcp` is IPv4 and IPv6 in one, as a front without an address is. */
function portsOf(
  service: string,
  protocol: string,
  addresses: readonly string[],
  made: Conversion,
  place: Place,
): string[] {
  const any = { tcp4: ["0.0.0.0:"], tcp6: ["[::]:"] }[protocol] ?? [""];
  const hosts = addresses.filter((address) => address !== "").map((address) => address.replace(/^\[|\]$/g, ""));
  if (hosts.length === 0 || hosts.includes("*")) return any.map((address) => `${address}${service}`);
  const unknown = hosts.filter((host) => net.isIP(host) === 0);
  for (const host of unknown)
    made.disable(place, `"${host}" is no address: put the address of that name before the port`);
  const family = { tcp4: 4, tcp6: 6 }[protocol];
  const known = hosts.filter((host) => net.isIP(host) === (family ?? net.isIP(host)) && !unknown.includes(host));
  if (known.length === 0 && unknown.length === 0)
    made.disable(place, `${protocol} and ${hosts.join(", ")} do not match`);
  if (known.length === 0) return [service];
  return [...new Set(known)].map((host) => `${net.isIPv6(host) ? `[${host}]` : host}:${service}`);
}

interface Server {
  readonly service: string;
  readonly account: string;
  readonly server: string;
  readonly args: readonly string[];
  readonly isWaiting: boolean;
}

type Target = { readonly key: string; readonly entry: Entry } | { readonly reason: string };

function targetOf(
  { service, account, server, args, isWaiting }: Server,
  made: Conversion,
  place: Place,
  { sources }: ImportContext,
): Target {
  if (server === "internal") {
    if (!isBuiltin(service)) return { reason: `wakeport has no builtin "${service}", only ${builtinNames.join(", ")}` };
    return { key: "builtin", entry: { value: service } };
  }
  if (!sources.isProgram(server)) made.warn(place, `"${server}" is no program that can be run on this machine`);
  const [argv0, ...rest] = args;
  const [userAndGroup = "", loginClass] = account.split("/");
  const [, user = "", group = ""] = /^([^.:]*)[.:]?(.*)$/s.exec(userAndGroup) ?? [];
  if (user === "") return { reason: `"${account}" names no user` };
  if (loginClass !== undefined) made.warn(place, `the login class "${loginClass}" is left out`);
  const isUsual = argv0 === undefined || argv0 === server.split("/").at(-1);
  const value = mappingOf({
    command: { value: [server, ...rest] },
    argv0: isUsual ? undefined : { value: argv0 },
    user: { value: user },
    group: group === "" ? undefined : { value: group },
    groups: { value: "init", note: "as in inetd" },
    cwd: { value: "/", note: "inetd's own" },
    stderr: isWaiting ? undefined : { value: "socket", note: "as in inetd, where it is the connection too" },
    wait: isWaiting ? { value: true } : undefined,
  });
  return { key: "inetd", entry: { value: value ?? {} } };
}

/** One source alone would get half of the rate. */
function both(rate: Entry | undefined): Record<string, Entry> {
  return rate === undefined
    ? {}
    : { rate, rate_per_source: { value: rate.value, note: "one source may have all of it" } };
}

function single(rate: Entry | undefined): Record<string, Entry> {
  return rate === undefined ? {} : { rate_per_source: rate };
}

/** `.max` starts a minute; `/most/per source and minute/most per source`, where 0 is no limit. */
function limitsOf(text: string, made: Conversion, place: Place): Entry | undefined {
  const words = text.slice(1).split(text.startsWith("/") ? "/" : ".");
  const counts = text === "" ? [] : words.map((word) => (/^\d{1,9}$/.test(word) ? Number(word) : undefined));
  if (counts.includes(undefined) || counts.length > (text.startsWith("/") ? 3 : 1)) {
    made.disable(place, `"${text}" is no limit`);
    return undefined;
  }
  const of = (count: number | undefined, unit: string): Entry | undefined =>
    count === undefined || count === 0 ? undefined : { value: unit === "" ? count : `${count}${unit}` };
  const [first, second, third] = counts;
  const fallback = { value: "256/m", note: "inetd's default" };
  const perSource = of(third, "");
  const found = text.startsWith("/")
    ? { connections: of(first, ""), per_source: perSource, ...both(fallback), ...single(of(second, "/m")) }
    : both(first === undefined ? fallback : of(first, "/m"));
  if (!text.startsWith("/") && first !== undefined && first > 0) {
    made.warn(place, `who comes beyond ${first} a minute is refused, but the port is not closed for ten minutes`);
  }
  const value = mappingOf(found);
  return value && { value };
}
