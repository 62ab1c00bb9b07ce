/** Converts the address and port of a service: the attributes port, bind and v6only, and the name of the service. */
import net from "node:net";
import type { PortNames } from "../config/values/etc-services.ts";
import { UnitError } from "../config/values/units.ts";
import { NotImportedError } from "./conversion.ts";
import type { Entry } from "./draft.ts";
import type { XinetdAttributes } from "./xinetd-service.ts";

export type Ports = Entry & { readonly value: readonly string[] };

/** @throws NotImportedError if the service has no port */
export function portsOf(name: string, attributes: XinetdAttributes, names: PortNames): Ports {
  const address = addressOf(attributes);
  const port = listenPortOf(name, attributes, names);
  const value = [address === undefined ? port : `${address}:${port}`];
  const set = ["port", "bind", "v6only"].filter((attribute) => attributes.take(attribute) !== undefined);
  return set.length === 0
    ? { value, note: "the name of the service" }
    : { value, note: attributes.entry(set.join(", "), value).note ?? "" };
}

function listenPortOf(name: string, attributes: XinetdAttributes, names: PortNames): string {
  const [written] = attributes.words("port");
  const number = written === undefined ? undefined : parsePortNumber(written);
  if (attributes.words("type").includes("UNLISTED")) {
    if (number === undefined) throw new NotImportedError("it is UNLISTED and has no port");
    return String(number);
  }
  const listed = listedPort(name, names);
  if (listed instanceof UnitError) {
    if (number === undefined) throw new NotImportedError(listed.message);
    const reason = `${listed.message}; without the type UNLISTED xinetd disables the service`;
    attributes.disable("port", reason);
  } else if (number !== undefined && number !== listed) {
    const reason = `port: "${name}" has the port ${listed} in /etc/services, so xinetd disables the service`;
    attributes.disable("port", reason);
  }
  return number !== undefined || !/^(?=.*[a-z])[\w.+-]+$/i.test(name) ? String(number ?? listed) : name;
}

function parsePortNumber(text: string): number {
  const number = /^\+?\d{1,15}$/.test(text) ? Number(text) : 0;
  if (number < 1 || number > 65_535) throw new NotImportedError(`port: "${text}" is not a port`);
  return number;
}

function listedPort(name: string, names: PortNames): number | UnitError {
  try {
    return names(name, "tcp");
  } catch (error) {
    if (error instanceof UnitError) return error;
    throw error;
  }
}

function addressOf(attributes: XinetdAttributes): string | undefined {
  const [host] = attributes.words("bind");
  const [only] = attributes.words("v6only");
  const flags = attributes.words("flags");
  if (only === "no") attributes.warn("v6only", 'v6only = no: xinetd treats "no" as "yes"');
  if (host !== undefined) {
    if (net.isIP(host) !== 0) return net.isIPv6(host) ? `[${host}]` : host;
    attributes.disable("bind", `bind: "${host}" is a name: write its address before the port`);
    return undefined;
  }
  if (flags.includes("IPv4") && !flags.includes("IPv6")) return "0.0.0.0";
  return only === undefined ? undefined : "[::]";
}
