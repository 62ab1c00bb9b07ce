/** The networks that the values of `only_from` and `no_access` match in xinetd. */
import net from "node:net";
import { formatNetwork, type Ip, networkOf, readIp } from "../net/ip.ts";

const OCTET = String.raw`(?:\d{1,2}|1\d\d|2[0-4]\d|25[0-5])`;
const FACTORISED = String.raw`(?:${OCTET}\.){0,3}\{${OCTET}(?:,${OCTET})*\}`;

const SINGLE_FACTORISED = new RegExp(`^${FACTORISED}$`);

/** xinetd disables a service whose addresses, joined by blanks, do not match. */
export const ADDRESS_WORDS: RegExp = new RegExp(String.raw`^(?:(?:[^\s,{]+|${FACTORISED})(?: |$))*$`);

/** The range of IPv6 in which xinetd compares IPv4 clients. */
const MAPPED = "::ffff:0:0";

/** Splits `1.2.3.{4,7}` into `1.2.3.4` and `1.2.3.7`, `1.{2}` into `1.2.0.0/16`; returns other words unchanged. */
export function splitAddress(word: string): readonly string[] {
  if (!SINGLE_FACTORISED.test(word)) return [word];
  const [head = "", list = ""] = word.replace("}", "").split("{");
  const missing = 4 - head.split(".").length;
  return list.split(",").map((octet) => {
    const address = `${head}${Number(octet)}${".0".repeat(missing)}`;
    return address.endsWith(".0") ? `${address}/${32 - 8 * missing}` : address;
  });
}

/**
 * Returns the networks of one word, or undefined if the word is not converted: names, short, octal and hexadecimal
 * addresses, dotted masks, and addresses that match no client in xinetd.
 */
export function readAddress(word: string): readonly string[] | undefined {
  const [address = "", mask, ...rest] = word.split("/");
  const ip = address.includes("%") || rest.length > 0 ? undefined : readIp(address);
  const length = mask === undefined ? wildcardLength(address) : /^\d{1,3}$/.test(mask) ? Number(mask) : undefined;
  if (ip === undefined || length === undefined) return undefined;
  if (net.isIPv4(address)) return [networkText(ip, Math.min(length, 32))];
  // Only the plain form of a single IPv6 address matches in xinetd. A prefix also matches mapped IPv4 clients.
  if (length >= 128)
    return mask === undefined && address !== "::" ? [networkText(ip, ip.family === "ipv4" ? 32 : 128)] : undefined;
  if (ip.family === "ipv4") return undefined;
  return coversMapped(address, length) ? [networkText(ip, length), "0.0.0.0/0"] : [networkText(ip, length)];
}

/** Zero octets at the end of an IPv4 address are wildcards in xinetd. */
function wildcardLength(address: string): number {
  if (net.isIPv6(address)) return 128;
  const zeros = /(?:(?:^|\.)0)*$/.exec(address)?.[0].split(".").filter(Boolean).length ?? 0;
  return 32 - 8 * zeros;
}

function coversMapped(address: string, length: number): boolean {
  if (length === 0) return true;
  const list = new net.BlockList();
  list.addSubnet(address, length, "ipv6");
  return length <= 96 && list.check(MAPPED, "ipv6");
}

/** wakeport requires a prefix for an address that ends in zero, because its meaning differs between programs. */
function networkText(ip: Ip, length: number): string {
  const text = formatNetwork(networkOf(ip, length));
  return /(\.0|::)$/.test(text) ? `${text}/${length}` : text;
}
