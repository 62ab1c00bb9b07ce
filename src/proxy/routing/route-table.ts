/** Where the clients of one front are led: all to one place, or by the name that they say. */

import type { NameKind, Names } from "../../net/hostname.ts";
import { isIn, type Network, readIp } from "../../net/ip.ts";
import type { Route } from "../connection.ts";
import type { ListenAddress } from "../listen/listener.ts";
import { HostTable } from "./host-table.ts";

/** A front, and where its clients are led, or those of them who say one of the names. */
export interface RouteEntry {
  readonly listener: ListenAddress;
  readonly route: Route;
  /** Absent: all of them. */
  readonly names?: Names | undefined;
  /** Who has to say, in a header of the PROXY protocol, for whom it connects. */
  readonly receive: readonly Network[];
  /** Who only looks whether somebody is there; absent: nobody. */
  readonly monitors?: readonly Network[] | undefined;
}

export class RouteTable {
  /** What the clients are to say; undefined where all are led to one place. */
  readonly kind: NameKind | undefined;
  readonly #entries: readonly RouteEntry[];
  readonly #last: RouteEntry;
  readonly #hosts: HostTable<Route>;

  /** @param routeEntries those of one front, the latest last: it says how all of them are told apart */
  constructor(routeEntries: readonly [RouteEntry, ...RouteEntry[]]) {
    this.#entries = routeEntries;
    this.#last = routeEntries.at(-1) ?? routeEntries[0];
    this.kind = this.#last.names?.kind;
    const named = routeEntries.flatMap(({ names, route }) =>
      names === undefined || names.kind !== this.kind ? [] : names.patterns.map((name) => [name, route] as const),
    );
    this.#hosts = new HostTable(named);
  }

  /** Where they are led who come from this address, when nothing has to be read for that; otherwise undefined. */
  routeWithoutReading(address: string): Route | undefined {
    return this.isTrustedProxy(address) || this.hasUnknownAddress(address) ? undefined : this.routeWithoutName(address);
  }

  /** The same for one of whom it is known already for whom it connects. */
  routeWithoutName(address: string): Route | undefined {
    return this.kind === undefined || this.#isMonitor(address) ? this.#last.route : undefined;
  }

  /** Whether all services here would dismiss it, so that it need not say which one it came for. */
  #isMonitor(address: string): boolean {
    const ip = readIp(address);
    const dismisses = ({ monitors = [] }: RouteEntry): boolean => monitors.some((network) => ip && isIn(ip, network));
    return this.#entries.every(dismisses);
  }

  /** Whether who comes from this address is a proxy, and says for whom it connects. */
  isTrustedProxy(address: string): boolean {
    if (this.#last.receive.length === 0) return false;
    const ip = readIp(address);
    return ip !== undefined && this.#last.receive.some((network) => isIn(ip, network));
  }

  /** Whether nobody can tell any more if it was a proxy, so that what it has said could be a header, or not. */
  hasUnknownAddress(address: string): boolean {
    return this.#last.receive.length > 0 && readIp(address) === undefined;
  }

  /** Where they are led who say this name, or none; undefined when nobody has it. */
  routeForName(name: string | undefined): Route | undefined {
    return this.kind === undefined ? this.#last.route : this.#hosts.find(name);
  }

  /** Where the clients of a service are led that come in here. */
  routeForService(service: string): Route | undefined {
    return this.#entries.find(({ route }) => route.service === service)?.route;
  }
}
