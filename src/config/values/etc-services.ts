import { readFileSync } from "node:fs";
import { codeOf, messageOf } from "../../errors.ts";
import { suggest } from "../yaml/suggest.ts";
import { UnitError } from "./units.ts";

export type Protocol = "tcp" | "udp";

/** Looks up the port of a name. @throws UnitError that says why there is none, and what to do */
export type PortNames = (name: string, protocol: Protocol) => number;

const FILE = "/etc/services";

/** The names of a file like /etc/services; where a name is there twice, the first counts, as for everybody else. */
type Table = Readonly<Record<Protocol, ReadonlyMap<string, number>>>;

/** `ftp 21/tcp alias … # comment`; lines that are no such thing are nobody's business. */
function readTable(text: string): Table {
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
 * The names of ports that a file like /etc/services has.
 *
 * @param read brings the file's text, or throws; it is asked once, when the first name is looked up
 */
export function portNames(read: () => string): PortNames {
  let found: Table | Error | undefined;
  return (name, protocol) => {
    found ??= tableOf(read);
    if (found instanceof Error) throw new UnitError(withoutFile(name, found));
    const port = found[protocol].get(name);
    if (port === undefined) throw new UnitError(unknown(name, protocol, found));
    return port;
  };
}

/** The names of this machine. */
export const systemPortNames: PortNames = portNames(() => readFileSync(FILE, "utf8"));

function tableOf(read: () => string): Table | Error {
  try {
    return readTable(read());
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function withoutFile(name: string, error: Error): string {
  const reason = codeOf(error) === "ENOENT" ? "is missing on this machine" : `cannot be read: ${messageOf(error)}`;
  return `the port "${name}" is a name, and ${FILE} ${reason}: install it (Debian: the package netbase), or write the number`;
}

function unknown(name: string, protocol: Protocol, table: Table): string {
  const other = protocol === "tcp" ? "udp" : "tcp";
  const elsewhere = table[other].get(name);
  if (elsewhere !== undefined) return `"${name}" has no port for ${protocol} in ${FILE}, only ${elsewhere}/${other}`;
  const near = suggest(name, table[protocol].keys());
  const hint = near === undefined ? "write the number" : `did you mean "${near}"?`;
  return `there is no port "${name}" for ${protocol} in ${FILE}: ${hint}`;
}
