/** The entries of `host` and `sni`: whom a client must ask for. */
import net from "node:net";
import { domainToASCII } from "node:url";
import { ANY, type NameKind, readName } from "../../net/hostname.ts";
import { UnitError } from "./units.ts";

/**
 * Reads `app.test`, `*.app.test` (one or more labels in the place of the `*`), or `*` (everybody else).
 *
 * @returns in lower case, without a dot at the end
 * @throws UnitError
 */
export function parseName(text: string, kind: NameKind): string {
  if (text === ANY) return ANY;
  const isWild = text.startsWith("*.");
  const name = readName(isWild ? text.slice(2) : text);
  if (name === undefined) throw new UnitError(hintFor(text));
  if (kind === "sni" && net.isIPv4(name)) {
    throw new UnitError(`"${text}": clients of TLS never name an address (RFC 6066): write a name, or "*"`);
  }
  return isWild ? `*.${name}` : name;
}

function hintFor(text: string): string {
  const word = text.trim();
  if (word === "") return 'an empty name: write one like "app.test", or "*" for everybody else';
  if (/[\s,]/.test(word)) return `"${text}": of several names write a list: ["app.test", "www.app.test"]`;
  if (word.includes("://")) return `"${text}" is a URL: write the name of the host alone`;
  if (/^[^:]+:\d+$/.test(word)) return `"${text}": a name has no port: write "${word.replace(/:\d+$/, "")}"`;
  if (/^\[?[\da-f:]*:[\da-f:.]*\]?$/i.test(word)) {
    return `"${text}": addresses of IPv6 are no names: "*" gets the clients that ask for one`;
  }
  if (word.startsWith(".")) return `"${text}": for all names below write "*${word}"`;
  if (word.includes("*")) return `"${text}": a "*" stands alone, or before the first dot: "*.app.test"`;
  const ascii = /[^\x20-\x7e]/.test(word) ? domainToASCII(word) : "";
  if (ascii !== "" && readName(ascii) !== undefined) {
    return `"${text}": clients say such a name in another form: write "${ascii}"`;
  }
  return `"${text}" is no name: write one like "app.test" or "*.app.test"`;
}
