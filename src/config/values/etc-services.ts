import { readFileSync } from "node:fs";
import { codeOf, messageOf } from "../../errors.ts";
import { suggest } from "../yaml/suggest.ts";
import { UnitError } from "./units.ts";

export type Protocol = "tcp" | "udp";

/** Returns the port of a name. @throws UnitError if the name is unknown */
export type PortNames = (name: string, protocol: Protocol) => number;

const FILE = "/etc/services";

/** The names of a file like /etc/services. The first entry of a name applies, as in getservbyname(3). */
type Table = Readonly<Record<Protocol, ReadonlyMap<string, number>>>;

/** Parses lines of the form `ftp 21/tcp alias … # comment` and ignores others. */
function parseTable(text: string): Table {
  const table = { tcp: new Map<string, number>(), udp: new Map<string, number>() };
  for (const line of text.split("\n")) {
    const [name, number, ...aliases] = line.split("#", 1).join("").split(/\s+/).filter(Boolean);
    const [, port, protocol] = /^(\d{1,5})\/(tcp|udp)$/.exec(number ?? "") ?? [];
    if (name === undefined || port === undefined || Number(port) < 1 || Number(port) > 65_535) continue;
    const names = table[protocol as Protocol];
    for (const one of [name, ...aliases]) if (!names.has(one)) names.set(one, Number(port));
  }
  return table;
}

/**
 * Returns a lookup in a file like /etc/services.
 *
 * @param read returns the text of the file; called once, at the first lookup
 */
export function portNames(read: () => string): PortNames {
  let found: Table | Error | undefined;
  return (name, protocol) => {
    found ??= tableOf(read);
    if (found instanceof Error) throw new UnitError(missingFile(name, found));
    const port = found[protocol].get(name);
    if (port === undefined) throw new UnitError(unknownName(name, protocol, found));
    return port;
  };
}

/** Lookup in /etc/services of this machine. */
export const systemPortNames: PortNames = portNames(() => readFileSync(FILE, "utf8"));

function tableOf(read: () => string): Table | Error {
  try {
    return parseTable(read());
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function missingFile(name: string, error: Error): string {
  const reason = codeOf(error) === "ENOENT" ? "is missing on this machine" : `cannot be read: ${messageOf(error)}`;
  return `the port "${name}" is a name, and ${FILE} ${reason}: install it (Debian package netbase), or write the number`;
}

function unknownName(name: string, protocol: Protocol, table: Table): string {
  const other = protocol === "tcp" ? "udp" : "tcp";
  const elsewhere = table[other].get(name);
  if (elsewhere !== undefined) return `"${name}" has no port for ${protocol} in ${FILE}, only ${elsewhere}/${other}`;
  const near = suggest(name, table[protocol].keys());
  const hint = near === undefined ? "write the number" : `did you mean "${near}"?`;
  return `port "${name}" for ${protocol} is not in ${FILE}: ${hint}`;
}
