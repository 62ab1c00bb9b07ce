/** A tripwire: whoever is let in to it may use no service for a time. */

import { readIp } from "../../net/ip.ts";
import type { BanList } from "../admission/ban-list.ts";
import type { CloseOptions, LingeringClose } from "../admission/lingering-close.ts";
import type { Served } from "../outcome.ts";
import type { ProxyObserver } from "../reports.ts";
import type { Client, Handler } from "./handler.ts";

export interface SensorOptions {
  readonly service: string;
  readonly banMs: number;
  /** How many bits of an IPv6 address tell a source. */
  readonly ipv6Prefix: number;
  readonly bans: BanList;
  readonly lingering: LingeringClose;
  readonly words: CloseOptions;
  readonly unixTime: () => number;
  readonly observer: ProxyObserver;
}

export class Sensor implements Handler {
  readonly isCold = false;
  readonly #options: SensorOptions;

  constructor(options: SensorOptions) {
    this.#options = options;
  }

  async serve({ socket, peer, served: opened }: Client): Promise<Served> {
    const { lingering, words } = this.#options;
    opened();
    this.#ban(peer.address);
    await lingering.start(socket, words);
    return { outcome: "served", end: "banned" };
  }

  #ban(address: string): void {
    const { service, banMs, ipv6Prefix, bans, unixTime, observer } = this.#options;
    const [ip, now] = [readIp(address), unixTime()];
    // A second connection of the same source may have been let in before the first one was seen to.
    if (ip === undefined || bans.has(ip, now)) return;
    observer.banned(bans.add(ip, { service, ipv6Prefix, until: now + banMs }, now));
  }
}
