import { formatIp, formatNetwork, type Ip, networkOf } from "../../net/ip.ts";

/** The limit of xinetd's sensor. */
const MAX_BANS = 10_240;

export interface Ban {
  /** An address, or an IPv6 network. */
  readonly source: string;
  /** Unix time in milliseconds. */
  readonly until: number;
  /** The sensor that banned it. */
  readonly service: string;
}

/** Sources that a sensor has banned from all services. `now` is Unix time in milliseconds. */
export class BanList {
  readonly #limit: number;
  /** By source, oldest first. */
  readonly #bans = new Map<string, Ban>();
  /** The prefix lengths of the banned IPv6 networks. */
  readonly #prefixes = new Set<number>();

  constructor(limit: number = MAX_BANS) {
    this.#limit = limit;
  }

  /** Whether this source is banned. An unknown source is not. */
  has(ip: Ip | undefined, now: number): boolean {
    if (ip === undefined || this.#bans.size === 0) return false;
    return this.#sourcesOf(ip).some((source) => (this.#bans.get(source)?.until ?? 0) > now);
  }

  /**
   * Bans an IPv4 address, or the IPv6 network of the first `ipv6Prefix` bits. At the limit, removes expired bans, then
   * the oldest ones.
   */
  add(ip: Ip, { service, ipv6Prefix, until }: Omit<Ban, "source"> & { readonly ipv6Prefix: number }, now: number): Ban {
    if (ip.family === "ipv6") this.#prefixes.add(ipv6Prefix);
    const source = sourceOf(ip, ipv6Prefix);
    const ban = { source, until, service };
    this.#bans.delete(source);
    if (this.#bans.size >= this.#limit) this.#makeRoom(now);
    this.#bans.set(source, ban);
    return ban;
  }

  /** Returns the bans that have not expired. */
  list(now: number): Ban[] {
    return [...this.#bans.values()].filter(({ until }) => until > now);
  }

  #sourcesOf(ip: Ip): string[] {
    if (ip.family === "ipv4") return [sourceOf(ip, 0)];
    return [...this.#prefixes].map((prefix) => sourceOf(ip, prefix));
  }

  #makeRoom(now: number): void {
    for (const [source, { until }] of this.#bans) if (until <= now) this.#bans.delete(source);
    for (const source of this.#bans.keys()) {
      if (this.#bans.size < this.#limit) return;
      this.#bans.delete(source);
    }
  }
}

/** Returns the source that a client counts for: its IPv4 address, or its IPv6 network of `ipv6Prefix` bits. */
export function sourceOf(ip: Ip, ipv6Prefix: number): string {
  return ip.family === "ipv4" ? formatIp(ip) : formatNetwork(networkOf(ip, ipv6Prefix));
}
