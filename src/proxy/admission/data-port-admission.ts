/** Who may come in on the data ports of a service. */

import type { AccessRules } from "../../config/admission-policy.ts";
import { formatIp, type Ip, type Network } from "../../net/ip.ts";
import type { DataPorts } from "../data-ports.ts";
import { checkSource } from "./access-list.ts";
import { type BanList, sourceOf } from "./ban-list.ts";
import { DeniedError } from "./denial.ts";
import { rejectMonitor } from "./monitors.ts";
import type { Pass, Slots } from "./slots.ts";

export interface DataPortAdmissionOptions {
  readonly service: string;
  /** How many bits of an IPv6 address tell a source. */
  readonly ipv6Prefix: number;
  readonly access: AccessRules;
  readonly monitors: readonly Network[];
  readonly dataPorts: DataPorts;
  /** Shared by all services. */
  readonly bans: BanList;
  /** Places of the whole process. */
  readonly slots: Slots;
  /** Unix time in milliseconds. */
  readonly unixTime: () => number;
}

/**
 * Lets in whoever has a control connection that is being served, which was let in before. So neither times nor limits
 * are asked again: a transfer is a part of what was let in. Addresses and bans hold.
 */
export class DataPortAdmission {
  readonly #options: DataPortAdmissionOptions;

  constructor(options: DataPortAdmissionOptions) {
    this.#options = options;
  }

  /**
   * A client is in until the answer is disposed of.
   *
   * @param ip undefined for a client that left before anybody looked
   * @throws OnlookerError; DeniedError with the reason
   */
  async admit(ip: Ip | undefined): Promise<Pass> {
    const { service, ipv6Prefix, access, monitors, bans, dataPorts, slots, unixTime } = this.#options;
    rejectMonitor(monitors, ip);
    checkSource(access, bans, ip, unixTime());
    if (ip === undefined || !dataPorts.has(ip)) {
      const who = ip === undefined ? "a client" : formatIp(ip);
      throw new DeniedError("no_control", `${who} came to a data port without an open control connection`);
    }
    const slot = slots.take({ service, source: sourceOf(ip, ipv6Prefix) });
    return { slot, [Symbol.dispose]: () => slot[Symbol.dispose]() };
  }
}
