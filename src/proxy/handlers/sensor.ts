/** A tripwire: whoever is let in to it may use no service for a time. */

import { readIp } from "../../net/ip.ts";
import type { Observer } from "../../telemetry/observer.ts";
import type { Bans } from "../admission/ban-list.ts";
import type { Farewell, LastWords } from "../admission/lingering-close.ts";
import type { Client, Destination, Served } from "./handler.ts";

export interface SensorOptions {
  readonly service: string;
  readonly banMs: number;
  /** How many bits of an IPv6 address tell a source. */
  readonly ipv6Prefix: number;
  readonly bans: Bans;
  readonly farewell: Farewell;
  readonly words: LastWords;
  readonly unixTime: () => number;
  readonly observer: Observer;
}

export class Sensor implements Destination {
  readonly isCold = false;
  readonly #options: SensorOptions;

  constructor(options: SensorOptions) {
    this.#options = options;
  }

  async serve({ socket, peer, opened }: Client): Promise<Served> {
    const { farewell, words } = this.#options;
    opened();
    this.#ban(peer.address);
    await farewell.bid(socket, words);
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
