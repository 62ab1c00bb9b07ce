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
  /** Bits of an IPv6 address that identify a source. */
  readonly ipv6Prefix: number;
  readonly access: AccessRules;
  readonly monitors: readonly Network[];
  readonly dataPorts: DataPorts;
  /** Shared by all services. */
  readonly bans: BanList;
  /** Slots of the process. */
  readonly slots: Slots;
  /** Unix time in milliseconds. */
  readonly unixTime: () => number;
}

/**
 * Admits clients that have a served control connection. Times and limits were checked for the control connection and
 * are not checked again; addresses and bans are.
 */
export class DataPortAdmission {
  readonly #options: DataPortAdmissionOptions;

  constructor(options: DataPortAdmissionOptions) {
    this.#options = options;
  }

  /**
   * Admits a client, until the result is disposed.
   *
   * @param ip undefined for a client that left before accept
   * @throws MonitorError, DeniedError
   */
  async admit(ip: Ip | undefined): Promise<Pass> {
    const { service, ipv6Prefix, access, monitors, bans, dataPorts, slots, unixTime } = this.#options;
    rejectMonitor(monitors, ip);
    checkSource(access, bans, ip, unixTime());
    if (ip === undefined || !dataPorts.has(ip)) {
      const client = ip === undefined ? "the client" : formatIp(ip);
      throw new DeniedError("no_control", `${client} has no open control connection for this data port`);
    }
    const slot = slots.take({ service, source: sourceOf(ip, ipv6Prefix) });
    return { slot, [Symbol.dispose]: () => slot[Symbol.dispose]() };
  }
}
