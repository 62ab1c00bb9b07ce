import type net from "node:net";
import { bindErrorOf } from "../../errors.ts";
import { reset } from "../../net/reset.ts";
import { type RouteEntry, RouteTable } from "../routing/route-table.ts";
import { formatListenAddress, type ListenAddress, Listener } from "./listener.ts";

/** Fronts that are bound on trial: they are let go of again unless they are kept. */
export interface PendingBind extends Disposable {
  commit(): void;
}

export interface WantedListener {
  readonly service: string;
  readonly listener: ListenAddress;
  /** Whether the listener is passed to a program of the service; default: no. */
  readonly isHandedOver?: boolean;
}

/** `signpost` tells how clients of the same front are led at any later time; undefined when it is gone. */
type OnClient = (client: net.Socket, listener: Listener, routeTable: () => RouteTable | undefined) => void;

interface BoundListener {
  readonly listener: Listener;
  /** By the service whose clients are led there, the latest last. */
  readonly routeEntries: Map<string, RouteEntry>;
  routeTable: RouteTable | undefined;
  /** Clients that came before it was known where they are led. */
  readonly early: net.Socket[];
}

/**
 * The TCP fronts that are bound. A front may lead to several services, and be led elsewhere while it listens: nobody is
 * refused meanwhile, and who was let in stays where they are.
 */
export class ListenerPool {
  readonly #bound = new Map<string, BoundListener>();
  readonly #onClient: OnClient;

  constructor(onClient: OnClient) {
    this.#onClient = onClient;
  }

  get size(): number {
    return this.#bound.size;
  }

  /**
   * Binds those of the fronts that are not bound yet, all or none; the others stay as they are. Until `lead` says where,
   * their clients wait.
   *
   * @param wanted the fronts, each with its service and whether its listener is passed to a program
   * @param inherited descriptors that are bound already
   * @throws BindError with a line for each address that cannot be bound
   */
  async bind(
    wanted: readonly WantedListener[],
    inherited: ReadonlyMap<ListenAddress, { readonly fd: number }> = new Map(),
  ): Promise<PendingBind> {
    const fresh = [...Map.groupBy(wanted, ({ listener }) => formatListenAddress(listener))].flatMap(([key, same]) =>
      this.#bound.has(key) ? [] : same.slice(0, 1),
    );
    const entry = fresh.map((one) => this.#add(one).open(inherited.get(one.listener)?.fd));
    const removeRoutes = (): void => {
      for (const { listener } of fresh) this.#drop(formatListenAddress(listener));
    };
    const opened = await Promise.allSettled(entry);
    const failure = bindErrorOf(opened);
    if (failure !== undefined) {
      removeRoutes();
      throw failure;
    }
    let isKept = false;
    return {
      commit: () => {
        isKept = true;
      },
      [Symbol.dispose]: () => {
        if (!isKept) removeRoutes();
      },
    };
  }

  /** From now on clients of these fronts, which are bound, are led there, or those of them who say the names. */
  setRoutes(routeEntries: readonly RouteEntry[]): void {
    const led = new Set<BoundListener>();
    for (const entry of routeEntries) {
      const bound = this.#bound.get(formatListenAddress(entry.listener));
      if (bound === undefined) continue;
      const { service } = entry.route;
      bound.routeEntries.delete(service);
      bound.routeEntries.set(service, entry);
      led.add(bound);
    }
    for (const bound of led) {
      point(bound);
      for (const client of bound.early.splice(0)) this.#onClient(client, bound.listener, () => bound.routeTable);
    }
  }

  /** Clients of a service are no longer led to it, but by the fronts that are named. A front without any is let go of. */
  removeRoutes(service: string, kept: readonly RouteEntry[] = []): void {
    const commit = new Set(kept.map(({ listener }) => formatListenAddress(listener)));
    for (const [key, bound] of this.#bound) {
      if (commit.has(key) || !bound.routeEntries.delete(service)) continue;
      point(bound);
      if (bound.routeTable === undefined) this.#drop(key);
    }
  }

  /** Lets go of all but those that are named. Connections that are open stay. */
  close(kept: readonly RouteEntry[] = []): void {
    const commit = new Set(kept.map(({ listener }) => formatListenAddress(listener)));
    for (const key of this.#bound.keys()) if (!commit.has(key)) this.#drop(key);
  }

  #add({ service, listener, isHandedOver }: WantedListener): Listener {
    const bound: BoundListener = {
      routeEntries: new Map(),
      routeTable: undefined,
      early: [],
      listener: new Listener(service, listener, (client) => onClient(client), isHandedOver),
    };
    const onClient = (client: net.Socket): void => {
      if (bound.routeTable !== undefined) return this.#onClient(client, bound.listener, () => bound.routeTable);
      client.pause().on("error", () => {});
      bound.early.push(client);
    };
    this.#bound.set(formatListenAddress(listener), bound);
    return bound.listener;
  }

  #drop(key: string): void {
    const bound = this.#bound.get(key);
    bound?.listener.close();
    if (bound !== undefined) bound.routeTable = undefined;
    for (const client of bound?.early ?? []) reset(client);
    this.#bound.delete(key);
  }
}

function point(bound: BoundListener): void {
  const [first, ...others] = bound.routeEntries.values();
  bound.routeTable = first === undefined ? undefined : new RouteTable([first, ...others]);
}
