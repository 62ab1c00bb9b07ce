/** The routes of one listener: a single route, or one for each host name (SNI or Host header). */
import type { NameKind, Names } from "../../net/hostname.ts";
import { isIn, type Network, readIp } from "../../net/ip.ts";
import type { Route } from "../connection.ts";
import type { ListenAddress } from "../listen/listener.ts";
import type { ListenerLoan } from "../offload/listener-loan.ts";
import { HostTable } from "./host-table.ts";

/** The route of a listener's clients, or of the clients that send one of the names. */
export interface RouteEntry {
  readonly listener: ListenAddress;
  readonly route: Route;
  /** Absent: the route is for all clients. */
  readonly names?: Names | undefined;
  /** Trusted proxies, which must send a header of the PROXY protocol. */
  readonly receive: readonly Network[];
  /** Health checks, which are accepted and closed. */
  readonly monitors?: readonly Network[] | undefined;
  /** Lends the listener to the data plane, if it has no other routes. Absent: wakeport must see each client. */
  readonly offload?: ((loan: ListenerLoan) => Disposable) | undefined;
}

export class RouteTable {
  /** The kind of name that clients must send; undefined if there is a single route. */
  readonly kind: NameKind | undefined;
  readonly #entries: readonly RouteEntry[];
  readonly #last: RouteEntry;
  /** Undefined if there is a single route. */
  readonly #hosts: HostTable<Route> | undefined;

  /** @param routeEntries of one listener, the latest last, which decides the kind of names and the trusted proxies */
  constructor(routeEntries: readonly [RouteEntry, ...RouteEntry[]]) {
    this.#entries = routeEntries;
    this.#last = routeEntries.at(-1) ?? routeEntries[0];
    this.kind = this.#last.names?.kind;
    this.#hosts = this.kind && hostTableOf(routeEntries, this.kind);
  }

  /** Returns the route of a client with this address; undefined if bytes must be read first. */
  routeWithoutReading(address: string): Route | undefined {
    return this.isTrustedProxy(address) || this.hasUnknownAddress(address) ? undefined : this.routeWithoutName(address);
  }

  /** Does the same for a client whose PROXY header was read or is not needed. */
  routeWithoutName(address: string): Route | undefined {
    return this.kind === undefined || this.#isMonitor(address) ? this.#last.route : undefined;
  }

  /** A monitor of all services here need not send a name, because each service would accept and close it. */
  #isMonitor(address: string): boolean {
    const ip = readIp(address);
    const hasMonitor = ({ monitors = [] }: RouteEntry): boolean => monitors.some((network) => ip && isIn(ip, network));
    return this.#entries.every(hasMonitor);
  }

  /** The only route, if the data plane can serve its clients. */
  get offload(): RouteEntry["offload"] {
    return this.#entries.length === 1 ? this.#last.offload : undefined;
  }

  isTrustedProxy(address: string): boolean {
    if (this.#last.receive.length === 0) return false;
    const ip = readIp(address);
    return ip !== undefined && this.#last.receive.some((network) => isIn(ip, network));
  }

  /** Whether the client left before accept, so that its bytes may or may not begin with a PROXY header. */
  hasUnknownAddress(address: string): boolean {
    return this.#last.receive.length > 0 && readIp(address) === undefined;
  }

  /** Returns undefined if no service here has the name. @param name undefined if the client sent none */
  routeForName(name: string | undefined): Route | undefined {
    return this.#hosts === undefined ? this.#last.route : this.#hosts.find(name);
  }

  routeForService(service: string): Route | undefined {
    return this.#entries.find(({ route }) => route.service === service)?.route;
  }
}

function hostTableOf(routeEntries: readonly RouteEntry[], kind: NameKind): HostTable<Route> {
  const named = routeEntries.flatMap(({ names, route }) =>
    names?.kind === kind ? names.patterns.map((name) => [name, route] as const) : [],
  );
  return new HostTable(named);
}
