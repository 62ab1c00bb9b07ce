import { BITS, formatNetwork, type Ip, networkOf } from "../../net/ip.ts";

/** As many as xinetd's sensor keeps. */
const MAX_BANS = 10_240;

export interface Ban {
  /** Who is banned: an address, or a network of IPv6. */
  readonly source: string;
  /** Unix time in milliseconds. */
  readonly until: number;
  /** The sensor that saw it. */
  readonly service: string;
}

/** Who may use no service for a time, because a sensor saw them. Times are Unix time in milliseconds, and given. */
export class BanList {
  readonly #limit: number;
  /** By source, the oldest first. */
  readonly #bans = new Map<string, Ban>();
  /** By how many bits of an IPv6 address bans were made. */
  readonly #prefixes = new Set<number>();

  constructor(limit: number = MAX_BANS) {
    this.#limit = limit;
  }

  /** Whether this source is banned. One that is not known is not. */
  has(ip: Ip | undefined, now: number): boolean {
    if (ip === undefined || this.#bans.size === 0) return false;
    return this.#sourcesOf(ip).some((source) => (this.#bans.get(source)?.until ?? 0) > now);
  }

  /**
   * Bans a source; of IPv6 with all that share its first `ipv6Prefix` bits. When there are too many, those that are over
   * are forgotten, then the oldest.
   */
  add(ip: Ip, { service, ipv6Prefix, until }: Omit<Ban, "source"> & { readonly ipv6Prefix: number }, now: number): Ban {
    if (ip.family === "ipv6") this.#prefixes.add(ipv6Prefix);
    const source = sourceOf(ip, ipv6Prefix);
    const ban = { source, until, service };
    this.#bans.delete(source);
    if (this.#bans.size >= this.#limit) this.#forget(now);
    this.#bans.set(source, ban);
    return ban;
  }

  /** Those that hold at `now`. */
  list(now: number): Ban[] {
    return [...this.#bans.values()].filter(({ until }) => until > now);
  }

  #sourcesOf(ip: Ip): string[] {
    if (ip.family === "ipv4") return [sourceOf(ip, 0)];
    return [...this.#prefixes].map((prefix) => sourceOf(ip, prefix));
  }

  #forget(now: number): void {
    for (const [source, { until }] of this.#bans) if (until <= now) this.#bans.delete(source);
    for (const source of this.#bans.keys()) {
      if (this.#bans.size < this.#limit) return;
      this.#bans.delete(source);
    }
  }
}

/** Whose connections count as one source's: an address of IPv4, or what shares the first bits of one of IPv6. */
export function sourceOf(ip: Ip, ipv6Prefix: number): string {
  return formatNetwork(networkOf(ip, ip.family === "ipv4" ? BITS.ipv4 : ipv6Prefix));
}
