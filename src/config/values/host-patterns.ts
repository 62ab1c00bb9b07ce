/** Values of `host` and `sni`: name patterns. */
import net from "node:net";
import { domainToASCII } from "node:url";
import { ANY, type NameKind, readName } from "../../net/hostname.ts";
import { UnitError } from "./units.ts";

/**
 * Parses `app.test`, `*.app.test` (`*` is one or more labels), or `*` (all other clients).
 *
 * @returns the pattern in lower case, without a dot at the end
 * @throws UnitError
 */
export function parseName(text: string, kind: NameKind): string {
  if (text === ANY) return ANY;
  const isWildcard = text.startsWith("*.");
  const name = readName(isWildcard ? text.slice(2) : text);
  if (name === undefined) throw new UnitError(hintFor(text));
  if (kind === "sni" && net.isIPv4(name)) {
    throw new UnitError(`"${text}": TLS clients never send an address (RFC 6066): write a name, or "*"`);
  }
  return isWildcard ? `*.${name}` : name;
}

function hintFor(text: string): string {
  const entry = text.trim();
  if (entry.includes("://")) return `"${text}" is a URL: write the host name alone`;
  if (/^[^:]+:\d+$/.test(entry)) return `"${text}": a name has no port: write "${entry.replace(/:\d+$/, "")}"`;
  if (net.isIPv6(entry.replace(/^\[|\]$/g, "")))
    return `"${text}": an IPv6 address is not a name: use "*" for clients that send one`;
  if (entry.includes("*")) return `"${text}": "*" is the whole name, or the first label: "*.app.test"`;
  const ascii = /[^\x20-\x7e]/.test(entry) ? domainToASCII(entry) : "";
  if (ascii !== "" && readName(ascii) !== undefined)
    return `"${text}": clients send this name in ASCII: write "${ascii}"`;
  return `"${text}" is not a name: write it as "app.test" or "*.app.test", and several names as a list`;
}
