/** The entries of `access.allow` and `access.deny`. */
import net from "node:net";
import { BITS, formatIp, formatNetwork, ipv6Bytes, isMapped, type Network, networkOf, readIp } from "../../net/ip.ts";
import { UnitError } from "./units.ts";

/** The bits before the IPv4 part of a mapped address. */
const MAPPED_BITS = 96;

/**
 * Reads a network or a single address: `10.0.0.0/8`, `10.1.2.3`, `fd00::/8`, `::1`. One of IPv4-mapped addresses is the
 * IPv4 network that it stands for.
 *
 * What could mean two things is refused: somebody would be let in, or kept out, by mistake.
 *
 * @throws UnitError
 */
export function parseNetwork(text: string): Network {
  const [address = "", length, ...more] = text.split("/");
  if (more.length > 0 || address.includes("%")) throw new UnitError(strangerHint(text, address));
  const ip = net.isIP(address) === 0 ? undefined : readIp(address);
  if (ip === undefined) throw new UnitError(strangerHint(text, address));
  const isWrittenMapped = net.isIPv6(address) && isMapped(ipv6Bytes(address));
  const spare = isWrittenMapped ? MAPPED_BITS : 0;
  if (length === undefined) {
    if (endsInZero(address)) throw new UnitError(ambiguityHint(text, address));
    return { ...ip, prefix: BITS[ip.family] };
  }
  const prefix = /^\d{1,3}$/.test(length) ? Number(length) - spare : Number.NaN;
  if (!(prefix >= 0 && prefix <= BITS[ip.family])) throw new UnitError(prefixHint(text, address, length));
  const network = networkOf(ip, prefix);
  if (network.bytes.some((byte, index) => byte !== ip.bytes[index])) {
    const whole = formatNetwork(network);
    throw new UnitError(`"${text}" has more bits than its prefix says: write "${whole}", or "${formatIp(ip)}" alone`);
  }
  return network;
}

/** Zeros at the right are wildcards to some programs, and plain zeros to others. */
function endsInZero(address: string): boolean {
  return net.isIPv4(address) ? address.endsWith(".0") : address.endsWith("::");
}

function ambiguityHint(text: string, address: string): string {
  if (net.isIPv6(address)) return `"${text}" may be one address or a network: write "${text}/128", or "${text}/64"`;
  const zeros = /(?:\.0)*$/.exec(address)?.[0].length ?? 0;
  const prefix = address === "0.0.0.0" ? 0 : 32 - 4 * zeros;
  return `"${text}" may be one address or a network: write "${address}/${prefix}", or "${address}/32"`;
}

function prefixHint(text: string, address: string, length: string): string {
  const bits = net.isIPv4(address) ? 32 : 128;
  if (!net.isIPv4(length)) return `"${text}": a prefix is a number from 0 to ${bits}, like "${address}/${bits}"`;
  const mask = maskLength(length);
  if (mask === undefined || bits !== 32) return `"${text}": "${length}" is no mask of a network: write a prefix`;
  return `"${text}" has a mask: write it as a prefix, "${address}/${mask}"`;
}

/** 8 for `255.0.0.0`; undefined when its ones are not all at the left. */
function maskLength(mask: string): number | undefined {
  const bits = mask
    .split(".")
    .map((part) => Number(part).toString(2).padStart(8, "0"))
    .join("");
  return /^1*0*$/.test(bits) ? bits.replace(/0+$/, "").length : undefined;
}

function strangerHint(text: string, address: string): string {
  const word = text.trim().toLowerCase();
  if (word === "") return 'an empty entry: write an address like "10.1.2.3", or a network like "10.0.0.0/8"';
  if (/[\s,]/.test(word) && !word.includes("{")) return `"${text}": of several write a list: ["10.1.2.3", "10.1.2.4"]`;
  if (["all", "any", "*"].includes(word)) {
    return `"${text}": everybody is "0.0.0.0/0" and "::/0" (without "allow" everybody is let in)`;
  }
  if (word === "localhost") return `"${text}": names are not looked up: write "127.0.0.0/8" and "::1"`;
  if (address.includes("%")) return `"${text}": the zone of an address has no meaning here: leave out what follows "%"`;
  if (/^[\d.]+-[\d.]+$/.test(word)) return `"${text}": ranges are not known here: write networks like "10.1.2.0/28"`;
  if (/^[\d.{},]+$/.test(word) && word.includes("{")) return `"${text}": write the addresses one by one, as a list`;
  if (/^\d{1,3}(\.\d{1,3}){0,2}\.?(\/.*)?$/.test(word)) {
    return `"${text}" is a part of an address: write all four numbers and a prefix, like "10.1.0.0/16"`;
  }
  if (/^\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?$/.test(word) && /[g-z_-]/.test(word)) {
    return `"${text}" is a name: names are not looked up, for their owners could change who is meant: write addresses`;
  }
  return `"${text}" is no address: write one like "10.1.2.3" or "fd00::1", or a network like "10.0.0.0/8"`;
}
