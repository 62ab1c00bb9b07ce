/** A trap: each client that it admits is banned from all services for a configured time. */

import { readIp } from "../../net/ip.ts";
import type { BanList } from "../admission/ban-list.ts";
import type { CloseOptions, LingeringClose } from "../admission/lingering-close.ts";
import type { Served } from "../outcome.ts";
import type { ProxyObserver } from "../reports.ts";
import type { Client, Handler } from "./handler.ts";

export interface SensorOptions {
  readonly service: string;
  readonly banMs: number;
  /** Number of bits of an IPv6 address that identify a source. */
  readonly ipv6Prefix: number;
  readonly bans: BanList;
  readonly lingering: LingeringClose;
  readonly closeOptions: CloseOptions;
  readonly unixTime: () => number;
  readonly observer: ProxyObserver;
}

export class Sensor implements Handler {
  readonly isCold = false;
  readonly #options: SensorOptions;

  constructor(options: SensorOptions) {
    this.#options = options;
  }

  async serve(client: Client): Promise<Served> {
    const { lingering, closeOptions } = this.#options;
    client.opened();
    this.#ban(client.peer.address);
    await lingering.start(client.socket, closeOptions);
    return { outcome: "served", end: "banned" };
  }

  #ban(address: string): void {
    const { service, banMs, ipv6Prefix, bans, unixTime, observer } = this.#options;
    const [ip, now] = [readIp(address), unixTime()];
    // Two connections of one source may have been admitted at once.
    if (ip === undefined || bans.has(ip, now)) return;
    observer.banned(bans.add(ip, { service, ipv6Prefix, until: now + banMs }, now));
  }
}
