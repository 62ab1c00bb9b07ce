/** Where the clients of one front are led: all to one place, or by the name that they say. */

import type { NameKind, Names } from "../../net/hostname.ts";
import { isIn, type Network, readIp } from "../../net/ip.ts";
import type { Route } from "../connection.ts";
import type { Front } from "../listen/listener.ts";
import { Directory } from "./host-table.ts";

/** A front, and where its clients are led, or those of them who say one of the names. */
export interface Opening {
  readonly front: Front;
  readonly route: Route;
  /** Absent: all of them. */
  readonly names?: Names | undefined;
  /** Who has to say, in a header of the PROXY protocol, for whom it connects. */
  readonly receive: readonly Network[];
  /** Who only looks whether somebody is there; absent: nobody. */
  readonly probes?: readonly Network[] | undefined;
}

export class Signpost {
  /** What the clients are to say; undefined where all are led to one place. */
  readonly kind: NameKind | undefined;
  readonly #openings: readonly Opening[];
  readonly #last: Opening;
  readonly #directory: Directory<Route>;

  /** @param openings those of one front, the latest last: it says how all of them are told apart */
  constructor(openings: readonly [Opening, ...Opening[]]) {
    this.#openings = openings;
    this.#last = openings.at(-1) ?? openings[0];
    this.kind = this.#last.names?.kind;
    const named = openings.flatMap(({ names, route }) =>
      names === undefined || names.kind !== this.kind ? [] : names.patterns.map((name) => [name, route] as const),
    );
    this.#directory = new Directory(named);
  }

  /** Where they are led who come from this address, when nothing has to be read for that; otherwise undefined. */
  directly(address: string): Route | undefined {
    return this.trusts(address) || this.isLost(address) ? undefined : this.namelessly(address);
  }

  /** The same for one of whom it is known already for whom it connects. */
  namelessly(address: string): Route | undefined {
    return this.kind === undefined || this.#isOnlooker(address) ? this.#last.route : undefined;
  }

  /** Whether all services here would dismiss it, so that it need not say which one it came for. */
  #isOnlooker(address: string): boolean {
    const ip = readIp(address);
    const dismisses = ({ probes = [] }: Opening): boolean => probes.some((network) => ip && isIn(ip, network));
    return this.#openings.every(dismisses);
  }

  /** Whether who comes from this address is a proxy, and says for whom it connects. */
  trusts(address: string): boolean {
    if (this.#last.receive.length === 0) return false;
    const ip = readIp(address);
    return ip !== undefined && this.#last.receive.some((network) => isIn(ip, network));
  }

  /** Whether nobody can tell any more if it was a proxy, so that what it has said could be a header, or not. */
  isLost(address: string): boolean {
    return this.#last.receive.length > 0 && readIp(address) === undefined;
  }

  /** Where they are led who say this name, or none; undefined when nobody has it. */
  routeFor(name: string | undefined): Route | undefined {
    return this.kind === undefined ? this.#last.route : this.#directory.find(name);
  }

  /** Where the clients of a service are led that come in here. */
  routeOf(service: string): Route | undefined {
    return this.#openings.find(({ route }) => route.service === service)?.route;
  }
}
