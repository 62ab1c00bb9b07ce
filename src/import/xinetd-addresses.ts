/** What the words of `only_from` and `no_access` match in xinetd, traps included, as networks. */
import net from "node:net";

export interface AddressRule {
  /** Two rules with the same key are the same to `-=`. */
  readonly key: string;
  /** What it matches; empty when that cannot be said as networks. */
  readonly networks: readonly string[];
  /** It is compared with the name that the client's address has in DNS. */
  readonly isName?: boolean;
  /** It does not match what it seems to. */
  readonly trap?: string;
}

/** A word at which xinetd gives up, and disables the service. */
export class AddressError extends Error {
  override readonly name = "AddressError";
}

/**
 * Reads one word as xinetd does.
 *
 * @returns several rules for a factorised address; none for a word that xinetd logs and leaves out
 * @throws AddressError
 */
export function readAddress(word: string): AddressRule[] {
  if (word.includes(",") && !word.includes("{")) throw new AddressError(`"${word}" has a comma in it`);
  if (word.includes("{")) return factorised(word);
  if (word.includes("/")) return withMask(word);
  if (word.includes(":")) return isSixth(word) ? [sixth(word, 128)] : named(word);
  const number = fourth(word);
  return number === undefined ? named(word) : [wildcard(word, number)];
}

/** The elements of a factorised address as words of their own; any other word as it is. */
export function splitAddress(word: string): { readonly text: string; readonly key: string }[] {
  const [, head = "", list = ""] = /^([\d.]*)\{([\d,]+)\}$/.exec(word) ?? [];
  const words = list === "" ? [word] : list.split(",").map((last) => `${head}{${last}}`);
  return words.map((text) => ({ text, key: keyOf(text) }));
}

function keyOf(word: string): string {
  try {
    return readAddress(word)[0]?.key ?? word;
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    return word;
  }
}

/** Zero octets at the right are wildcards. */
function wildcard(word: string, number: number): AddressRule {
  const octets = [24, 16, 8].find((bits) => number % 2 ** bits === 0) ?? 0;
  const length = number === 0 ? 0 : 32 - octets;
  const isShort = word.split(".").length < 4;
  const rule = ruleOf(number, length);
  return isShort ? { ...rule, trap: `"${word}" is the address ${dotted(number)}, no network` } : rule;
}

/** `1.2.3.{4,7}`, `1.2.{3,4}`: of each element the octets after it are wildcards. */
function factorised(word: string): AddressRule[] {
  const [, head, list] = /^((?:\d{1,3}\.){0,3})\{(\d{1,3}(?:,\d{1,3})*)\}$/.exec(word) ?? [];
  if (head === undefined || list === undefined) throw new AddressError(`"${word}" is no factorised address`);
  const octets = head.split(".").filter(Boolean).map(Number);
  return list.split(",").map((last) => {
    const all = [...octets, Number(last)];
    if (all.some((octet) => octet > 255)) throw new AddressError(`"${word}" is no factorised address`);
    return ruleOf(
      all.reduce((sum, octet, at) => sum + octet * 2 ** (24 - 8 * at), 0),
      8 * all.length,
    );
  });
}

/** `1.2.3.0/24`, `fd00::/8`; of what stands behind the slash only the first number is read. */
function withMask(word: string): AddressRule[] {
  const [address = "", mask = ""] = word.split(/\/(.*)/s);
  const digits = /^\d+/.exec(mask)?.[0];
  if (digits === undefined) return [];
  const given = Number(digits);
  if (isSixth(address)) {
    // Taken for a name without any text, as it seems: it was tried with ::1/128.
    if (given >= 128) return [{ key: word, networks: [], trap: `"${word}" matches nobody: "${address}" matches` }];
    return [sixth(address, given)];
  }
  const number = fourth(address);
  if (number === undefined) return [];
  const rule = ruleOf(number, Math.min(given, 32));
  if (mask.includes(".")) return [{ ...rule, trap: dottedMask(word, number, mask) }];
  if (address.split(".").length === 4) return [rule];
  return [
    { ...rule, trap: `"${address}" of "${word}" is the address ${dotted(number)}: it matches ${rule.networks[0]}` },
  ];
}

function dottedMask(word: string, number: number, mask: string): string {
  const bits = net.isIPv4(mask) ? (fourth(mask) ?? 0).toString(2).padStart(32, "0") : "0";
  const matched = `"${word}" matches the one address ${dotted(number)}, because masks are lengths`;
  return /^1+0*$/.test(bits)
    ? `${matched}; ${dotted(number)}/${bits.replaceAll("0", "").length} was probably meant`
    : matched;
}

/** A prefix of IPv6 is compared with all of an address, and IPv4 clients have one like ::ffff:10.0.0.1. */
function sixth(address: string, length: number): AddressRule {
  const groups = groupsOf(address);
  const network = `${masked(groups, length)}/${length}`;
  const key = `6 ${masked(groups, 128)}/${length}`;
  const mapped = groups.slice(0, 6).join(" ") === "0 0 0 0 0 65535" ? groups[6]! * 2 ** 16 + groups[7]! : undefined;
  if (mapped !== undefined && length >= 96) return { key, networks: [written(mapped, length - 96)] };
  if (length === 128) {
    const isZero = groups.every((group) => group === 0);
    const networks = [address.endsWith("::") ? network : address];
    return { key, networks, ...(isZero && { trap: '"::" matches nobody: "::/0" matches everybody' }) };
  }
  return { key, networks: length <= 96 && covers(address, length) ? [network, "0.0.0.0/0"] : [network] };
}

/** The eight numbers of an address of IPv6, without its zone. */
function groupsOf(address: string): number[] {
  const fourth = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const [a = 0, b = 0, c = 0, d = 0] = fourth?.slice(1).map(Number) ?? [];
  const plain =
    fourth === null
      ? address
      : address.replace(fourth[0], `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`);
  const [head = [], tail = []] = plain.split("::").map((half) => half.split(":").filter(Boolean));
  const zeros = Array<string>(8 - head.length - tail.length).fill("0");
  return [...head, ...zeros, ...tail].map((group) => Number.parseInt(group, 16));
}

/** The first `length` bits, the rest zero, as an address. */
function masked(groups: readonly number[], length: number): string {
  const kept = groups.map((group, at) => {
    const bits = Math.min(16, Math.max(0, length - 16 * at));
    return (group >> (16 - bits)) << (16 - bits);
  });
  const text = kept.map((group) => group.toString(16)).join(":");
  return text.replace(/(?:(?:^|:)0)+$/, "::");
}

function covers(address: string, length: number): boolean {
  if (length === 0) return true;
  const list = new net.BlockList();
  list.addSubnet(address, length, "ipv6");
  return list.check("::ffff:0:0", "ipv6");
}

/** A zone is something that only the machine itself knows. */
function isSixth(text: string): boolean {
  return net.isIPv6(text) && !text.includes("%");
}

/** What comes back from the reverse lookup is compared with these. */
function named(word: string): AddressRule[] {
  return [{ key: `name ${word}`, networks: [], isName: true }];
}

function ruleOf(number: number, length: number): AddressRule {
  return { key: `4 ${number}/${length}`, networks: [written(number, length)] };
}

function written(number: number, length: number): string {
  const network = number - (number % 2 ** (32 - length));
  return length === 32 && number % 256 !== 0 ? dotted(network) : `${dotted(network)}/${length}`;
}

function dotted(number: number): string {
  return [24, 16, 8, 0].map((bits) => Math.floor(number / 2 ** bits) % 256).join(".");
}

/** As the C library reads addresses: up to four numbers, decimal, octal or hexadecimal, the last one for all that is left. */
function fourth(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length > 4 || !parts.every((part) => /^(0x[\da-f]{1,8}|0[0-7]{0,11}|[1-9]\d{0,9})$/i.test(part))) {
    return undefined;
  }
  const numbers = parts.map((part) => (/^0[0-7]/.test(part) ? Number.parseInt(part, 8) : Number(part)));
  const last = numbers.pop() ?? 0;
  if (last >= 256 ** (4 - numbers.length) || numbers.some((one) => one > 255)) return undefined;
  return numbers.reduce((sum, one, at) => sum + one * 256 ** (3 - at), last);
}
