/** Values of `access.allow`, `access.deny` and other lists of networks. */
import net from "node:net";
import { BITS, formatIp, formatNetwork, ipv6Bytes, isMapped, type Network, networkOf, readIp } from "../../net/ip.ts";
import { UnitError } from "./units.ts";

/** The bits before the IPv4 part of a mapped address. */
const MAPPED_BITS = 96;

/**
 * Parses a network or a single address: `10.0.0.0/8`, `10.1.2.3`, `fd00::/8`, `::1`. A network of IPv4-mapped addresses
 * becomes the IPv4 network. Ambiguous values are errors, because they could admit or reject clients by mistake.
 *
 * @throws UnitError
 */
export function parseNetwork(text: string): Network {
  const [address = "", length, ...more] = text.split("/");
  if (more.length > 0 || address.includes("%")) throw new UnitError(invalidHint(text));
  const ip = net.isIP(address) === 0 ? undefined : readIp(address);
  if (ip === undefined) throw new UnitError(invalidHint(text));
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
    throw new UnitError(`"${text}" has bits outside of its prefix: write "${whole}", or "${formatIp(ip)}" alone`);
  }
  return network;
}

/** Some programs read zeros at the end as wildcards. */
function endsInZero(address: string): boolean {
  return net.isIPv4(address) ? address.endsWith(".0") : address.endsWith("::");
}

function ambiguityHint(text: string, address: string): string {
  if (net.isIPv6(address)) return `"${text}" is an address or a network: write "${text}/128", or "${text}/64"`;
  const zeros = /(?:\.0)*$/.exec(address)?.[0].length ?? 0;
  const prefix = address === "0.0.0.0" ? 0 : 32 - 4 * zeros;
  return `"${text}" is an address or a network: write "${address}/${prefix}", or "${address}/32"`;
}

function prefixHint(text: string, address: string, length: string): string {
  const bits = net.isIPv4(address) ? 32 : 128;
  if (!net.isIPv4(length)) return `"${text}": a prefix is a number from 0 to ${bits}, as in "${address}/${bits}"`;
  const mask = maskLength(length);
  if (mask === undefined || bits !== 32) return `"${text}": "${length}" is not a network mask: write a prefix`;
  return `"${text}" has a mask: write it as a prefix, "${address}/${mask}"`;
}

/** Returns 8 for `255.0.0.0`, and undefined for a mask with gaps. */
function maskLength(mask: string): number | undefined {
  const bits = mask
    .split(".")
    .map((part) => Number(part).toString(2).padStart(8, "0"))
    .join("");
  return /^1*0*$/.test(bits) ? bits.replace(/0+$/, "").length : undefined;
}

function invalidHint(text: string): string {
  const entry = text.trim().toLowerCase();
  if (/[\s,]/.test(entry)) return `"${text}": write several as a list: ["10.1.2.3", "10.1.2.4"]`;
  if (["all", "any", "*"].includes(entry))
    return `"${text}": write "0.0.0.0/0" and "::/0" for all addresses, or omit "allow"`;
  // The owner of a name could change its addresses.
  if (/^(?=.*[g-z])[a-z0-9_.-]+$/.test(entry))
    return `"${text}" is a name: names are not resolved: write addresses, for example "127.0.0.0/8" and "::1"`;
  return `"${text}" is not an address: write it as "10.1.2.3" or "fd00::1", or a network as "10.0.0.0/8"`;
}
