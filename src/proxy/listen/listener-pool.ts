import type net from "node:net";
import { reset } from "../../net/reset.ts";
import { type RouteEntry, RouteTable } from "../routing/route-table.ts";
import { bindAll, type PendingBind } from "./bind-all.ts";
import { formatListenAddress, type ListenAddress, Listener } from "./listener.ts";

export interface WantedListener {
  /** For messages. */
  readonly service: string;
  readonly listener: ListenAddress;
  /** Whether the listener must be able to stop accepting and stay bound; default: no. */
  readonly isPausable?: boolean;
}

/** @param routeTable returns the listener's current routes, undefined after the listener is closed */
type OnClient = (client: net.Socket, listener: Listener, routeTable: () => RouteTable | undefined) => void;

interface BoundListener {
  readonly listener: Listener;
  /** One for each service, the latest last. */
  readonly routeEntries: Map<string, RouteEntry>;
  routeTable: RouteTable | undefined;
  /** Returns the current routes. */
  readonly routes: () => RouteTable | undefined;
  /** Clients that were accepted before the listener had a route. */
  readonly early: net.Socket[];
}

/**
 * The TCP listeners. Several services may share one, and its routes may change while it listens: no client is rejected
 * meanwhile, and connections stay with their service.
 */
export class ListenerPool {
  /** By listen address. */
  readonly #bound = new Map<string, BoundListener>();
  readonly #onClient: OnClient;

  constructor(onClient: OnClient) {
    this.#onClient = onClient;
  }

  get size(): number {
    return this.#bound.size;
  }

  /**
   * Binds the listeners that are not bound yet, all or none. Their clients wait until `setRoutes`.
   *
   * @param inherited bound descriptors
   * @throws BindError with a line for each address that cannot be bound
   */
  async bind(
    wanted: readonly WantedListener[],
    inherited: ReadonlyMap<ListenAddress, { readonly fd: number }> = new Map(),
  ): Promise<PendingBind> {
    const added = [...Map.groupBy(wanted, ({ listener }) => formatListenAddress(listener))].flatMap(([key, same]) =>
      this.#bound.has(key) ? [] : same.slice(0, 1),
    );
    const close = (): void => {
      for (const { listener } of added) this.#close(formatListenAddress(listener));
    };
    const opening = added.map((options) => this.#add(options).open(inherited.get(options.listener)?.fd));
    return await bindAll(opening, close);
  }

  /** Routes the clients of bound listeners from now on. */
  setRoutes(routeEntries: readonly RouteEntry[]): void {
    const changed = new Set<BoundListener>();
    for (const entry of routeEntries) {
      const bound = this.#bound.get(formatListenAddress(entry.listener));
      if (bound === undefined) continue;
      const { service } = entry.route;
      bound.routeEntries.delete(service);
      bound.routeEntries.set(service, entry);
      changed.add(bound);
    }
    for (const bound of changed) {
      updateRouteTable(bound);
      for (const client of bound.early.splice(0)) this.#onClient(client, bound.listener, bound.routes);
    }
  }

  /** Removes a service's routes except the `kept` ones. Closes listeners without routes. */
  removeRoutes(service: string, kept: readonly RouteEntry[] = []): void {
    const keptKeys = keysOf(kept);
    for (const [key, bound] of this.#bound) {
      if (keptKeys.has(key) || !bound.routeEntries.delete(service)) continue;
      updateRouteTable(bound);
      if (bound.routeTable === undefined) this.#close(key);
    }
  }

  /** Closes all listeners except those of the `kept` routes. Open connections stay. */
  close(kept: readonly RouteEntry[] = []): void {
    const keptKeys = keysOf(kept);
    for (const key of this.#bound.keys()) if (!keptKeys.has(key)) this.#close(key);
  }

  #add({ service, listener, isPausable }: WantedListener): Listener {
    const onClient = (client: net.Socket): void => {
      if (bound.routeTable !== undefined) return this.#onClient(client, bound.listener, bound.routes);
      client.pause().on("error", () => {});
      bound.early.push(client);
    };
    const bound: BoundListener = {
      routeEntries: new Map(),
      routeTable: undefined,
      routes: () => bound.routeTable,
      early: [],
      listener: new Listener(service, listener, onClient, isPausable),
    };
    this.#bound.set(formatListenAddress(listener), bound);
    return bound.listener;
  }

  #close(key: string): void {
    const bound = this.#bound.get(key);
    if (bound === undefined) return;
    bound.listener.close();
    bound.routeTable = undefined;
    for (const client of bound.early) reset(client);
    this.#bound.delete(key);
  }
}

function keysOf(routeEntries: readonly RouteEntry[]): ReadonlySet<string> {
  return new Set(routeEntries.map(({ listener }) => formatListenAddress(listener)));
}

function updateRouteTable(bound: BoundListener): void {
  const [first, ...others] = bound.routeEntries.values();
  bound.routeTable = first === undefined ? undefined : new RouteTable([first, ...others]);
}
