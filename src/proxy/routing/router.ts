/** Looks up the route of each accepted client, creates its connection and keeps the connection until it is closed. */
import type net from "node:net";
import { ClosedError } from "../../activation/errors.ts";
import { within } from "../../async/wait.ts";
import { DeadlineError } from "../../errors.ts";
import { Connection, type Route } from "../connection.ts";
import type { Ident } from "../ident.ts";
import { formatListenAddress, type Listener } from "../listen/listener.ts";
import { PendingLookups, type PendingLookupsOptions } from "./pending-lookups.ts";
import type { RoutedClient } from "./route-lookup.ts";
import type { RouteTable } from "./route-table.ts";

export interface RouterOptions extends PendingLookupsOptions {
  /** Returns undefined if clients' ident servers are not queried. */
  readonly ident: () => Ident | undefined;
}

export class Router {
  readonly #options: RouterOptions;
  readonly #lookups: PendingLookups;
  readonly #connections = new Map<Connection, Promise<void>>();
  #lastId = 0;

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#lookups = new PendingLookups(options);
  }

  /** Number of accepted clients whose route is not known yet. */
  get lookups(): number {
    return this.#lookups.size;
  }

  /** Returns a number for a connection or a UDP flow. */
  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  /** @param routeTable returns the listener's current routes, undefined after the listener is closed */
  accept(client: net.Socket, listener: Listener, routeTable: () => RouteTable | undefined): void {
    const name = formatListenAddress(listener.address);
    this.#lookups.start(client, { listener: name, routeTable }, (routed) =>
      this.#connect(client, routed, listener, routeTable),
    );
  }

  /** Rejects all clients that are not served yet. */
  close(): void {
    this.#lookups.close();
    for (const connection of this.#connections.keys())
      connection.rejectIfWaiting(new ClosedError("wakeport is shutting down"));
  }

  /** Resolves when all connections are closed, or after `drainMs` milliseconds. */
  async drain(drainMs: number): Promise<void> {
    const open = Promise.all(this.#connections.values());
    await within(drainMs, "connections", open).catch((error: unknown) => {
      if (!(error instanceof DeadlineError)) throw error;
    });
  }

  /** Resets all connections; resolves when they are closed and reported. */
  async end(): Promise<void> {
    this.#lookups.close();
    this.#options.sharedAdmission.lingering.close();
    for (const connection of this.#connections.keys()) connection.reset();
    await this.#lookups.finished();
    await Promise.all(this.#connections.values());
  }

  #connect(
    client: net.Socket,
    { route, addresses }: RoutedClient,
    listener: Listener,
    routeTable: () => RouteTable | undefined,
  ): void {
    const current = (): Route | undefined => routeTable()?.routeForService(route.service);
    const { observer } = this.#options;
    // The machine of a client behind a proxy knows the port of another connection.
    const ident = addresses === undefined ? this.#options.ident() : undefined;
    const id = this.nextId();
    const connection = new Connection({
      id,
      client,
      addresses,
      listener,
      route,
      current,
      observer,
      ident,
      onEnd: this.#onEnd,
    });
    this.#connections.set(connection, connection.run());
  }

  readonly #onEnd = (connection: Connection): void => {
    this.#connections.delete(connection);
  };
}
