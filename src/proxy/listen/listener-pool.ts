import type net from "node:net";
import type { DataPlane } from "../../dataplane/data-plane.ts";
import { reset } from "../../net/reset.ts";
import { ListenerLoan } from "../offload/listener-loan.ts";
import { type RouteEntry, RouteTable } from "../routing/route-table.ts";
import { bindAll, type PendingBind } from "./bind-all.ts";
import { formatListenAddress, type ListenAddress, Listener } from "./listener.ts";

export interface WantedListener {
  /** For messages. */
  readonly service: string;
  readonly listener: ListenAddress;
}

/** @param routeTable returns the listener's current routes, undefined after the listener is closed */
type OnClient = (client: net.Socket, listener: Listener, routeTable: () => RouteTable | undefined) => void;

interface BoundListener {
  readonly listener: Listener;
  /** One for each service, the latest last. */
  readonly routeEntries: Map<string, RouteEntry>;
  routeTable: RouteTable | undefined;
  readonly loan: ListenerLoan;
  /** Of `routeTable`, while the data plane may have the listener. */
  offload: Disposable | undefined;
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
  readonly #dataPlane: DataPlane;

  /** @param dataPlane gets the listeners on loan */
  constructor(onClient: OnClient, dataPlane: DataPlane) {
    this.#onClient = onClient;
    this.#dataPlane = dataPlane;
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
      this.#updateRouteTable(bound);
      for (const client of bound.early.splice(0)) this.#onClient(client, bound.listener, bound.routes);
    }
  }

  /** Removes a service's routes except the `kept` ones. Closes listeners without routes. */
  removeRoutes(service: string, kept: readonly RouteEntry[] = []): void {
    const keptKeys = keysOf(kept);
    for (const [key, bound] of this.#bound) {
      if (keptKeys.has(key) || !bound.routeEntries.delete(service)) continue;
      this.#updateRouteTable(bound);
      if (bound.routeTable === undefined) this.#close(key);
    }
  }

  /** Closes all listeners except those of the `kept` routes. Open connections stay. */
  close(kept: readonly RouteEntry[] = []): void {
    const keptKeys = keysOf(kept);
    for (const key of this.#bound.keys()) if (!keptKeys.has(key)) this.#close(key);
  }

  #add({ service, listener }: WantedListener): Listener {
    const onClient = (client: net.Socket): void => {
      // The data plane may return a client of a closed listener.
      if (bound.routeTable !== undefined || open.closed.aborted)
        return this.#onClient(client, bound.listener, bound.routes);
      client.pause().on("error", () => {});
      bound.early.push(client);
    };
    const open = new Listener(service, listener, onClient);
    const bound: BoundListener = {
      routeEntries: new Map(),
      routeTable: undefined,
      offload: undefined,
      routes: () => bound.routeTable,
      early: [],
      listener: open,
      loan: new ListenerLoan({ dataPlane: this.#dataPlane, listener: open, onReturned: onClient }),
    };
    this.#bound.set(formatListenAddress(listener), bound);
    return bound.listener;
  }

  #updateRouteTable(bound: BoundListener): void {
    const [first, ...others] = bound.routeEntries.values();
    bound.routeTable = first === undefined ? undefined : new RouteTable([first, ...others]);
    bound.offload?.[Symbol.dispose]();
    bound.offload = bound.routeTable?.offload?.(bound.loan);
  }

  #close(key: string): void {
    const bound = this.#bound.get(key);
    if (bound === undefined) return;
    bound.listener.close();
    bound.loan.close();
    bound.offload?.[Symbol.dispose]();
    bound.offload = undefined;
    bound.routeTable = undefined;
    for (const client of bound.early) reset(client);
    this.#bound.delete(key);
  }
}

function keysOf(routeEntries: readonly RouteEntry[]): ReadonlySet<string> {
  return new Set(routeEntries.map(({ listener }) => formatListenAddress(listener)));
}
