import { type OpenConnection, openConnection } from "../admin/api.ts";
import { isWoken, type Service } from "../config/config.ts";
import type { ServiceChanges } from "../config/diff.ts";
import type { DataPlane } from "../dataplane/data-plane.ts";
import { bindErrorOf } from "../errors.ts";
import type { KernelRoute } from "../kernel-route/kernel-route.ts";
import type { SharedAdmission } from "../proxy/admission/admission-stage.ts";
import { Slots } from "../proxy/admission/slots.ts";
import type { Ident } from "../proxy/ident.ts";
import { claimInherited, type InheritedSocket } from "../proxy/listen/inherited-sockets.ts";
import type { ListenAddress } from "../proxy/listen/listener.ts";
import { ListenerPool } from "../proxy/listen/listener-pool.ts";
import type { RouteEntry } from "../proxy/routing/route-table.ts";
import { Router } from "../proxy/routing/router.ts";
import type { ServiceConnections } from "../proxy/service-connections.ts";
import type { Observer } from "../telemetry/observer.ts";
import type { UdpListener } from "../udp/service.ts";
import type { InetdEnvironment } from "./handler-factory.ts";
import { LiveService } from "./live-service.ts";
import { Reload } from "./reload.ts";
import type { TargetRegistry } from "./target-registry.ts";

export interface ServiceRegistryOptions {
  readonly targets: TargetRegistry;
  readonly sharedAdmission: SharedAdmission;
  readonly kernelRoute: KernelRoute;
  readonly host: InetdEnvironment;
  readonly dataPlane: DataPlane;
  readonly observer: Observer;
  /** Called for each added or changed service. */
  readonly onRegister: (service: Service) => void;
  /** Returns undefined if clients' ident servers are not queried. */
  readonly ident: () => Ident | undefined;
  /** Sockets that were bound before the start. A socket without a matching listener is closed. */
  readonly inheritedFds: readonly number[];
}

/** The running services with their listeners and connections. */
export class ServiceRegistry {
  readonly #options: ServiceRegistryOptions;
  readonly #live = new Map<string, LiveService>();
  readonly #router: Router;
  readonly #listenerPool: ListenerPool;
  readonly #reload: Reload;

  constructor(options: ServiceRegistryOptions) {
    this.#options = options;
    this.#router = new Router(options);
    this.#listenerPool = new ListenerPool((...accepted) => this.#router.accept(...accepted), options.dataPlane);
    this.#reload = new Reload({
      ...options,
      listenerPool: this.#listenerPool,
      live: this.#live,
      register: (service) => this.register(service),
    });
  }

  get all(): LiveService[] {
    return [...this.#live.values()];
  }

  /** Number of services. */
  get size(): number {
    return this.#live.size;
  }

  get(name: string): LiveService | undefined {
    return this.#live.get(name);
  }

  /** Number of listening sockets. */
  get listeners(): number {
    return this.all.reduce((count, { udp }) => count + (udp?.listeners.length ?? 0), this.#listenerPool.size);
  }

  /** Adds or replaces a service whose target is registered. Does not bind its listeners. */
  register(service: Service): LiveService {
    const { name } = service;
    const { targets, onRegister, ...shared } = this.#options;
    const before = this.#live.get(name);
    const live = new LiveService({
      service,
      before,
      activator: isWoken(service) ? targets.activatorOf(service) : undefined,
      offload: isWoken(service) ? targets.offloadOf(service) : undefined,
      connections: before?.connections ?? this.#newConnections(name),
      ...shared,
      nextId: () => this.#router.nextId(),
    });
    this.#live.set(name, live);
    onRegister(service);
    return live;
  }

  /** Binds all listeners, or uses the inherited sockets. @throws BindError with a line for each address that cannot be bound */
  async open(): Promise<void> {
    const { routeEntries, udpListeners } = this.#all;
    const inherited = this.#inherited([...routeEntries, ...udpListeners].map(({ listener }) => listener));
    const opened = await Promise.allSettled([
      this.#bind(routeEntries, inherited),
      ...udpListeners.map((listener) => listener.open(inherited.get(listener.listener)?.fd)),
    ]);
    const failure = bindErrorOf(opened);
    if (failure === undefined) return;
    this.#closeListeners();
    throw failure;
  }

  /** Adds, changes and removes services: see Reload.change. @throws BindError, TargetError; then everything is as before */
  change(changes: () => ServiceChanges, drainMs: number, commit: () => void): Promise<void> {
    return this.#reload.change(changes, drainMs, commit);
  }

  /** Closes all listeners except data ports, which open connections need, and rejects clients that are not served yet. */
  close(): void {
    this.#closeListeners(this.all.flatMap(({ dataEntries }) => dataEntries));
    this.#router.close();
  }

  /** Resolves when all connections are closed, or after `drainMs` milliseconds. */
  drain(drainMs: number): Promise<void> {
    return this.#router.drain(drainMs);
  }

  /** Waits for replaced and removed services, and closes all connections. */
  async end(): Promise<void> {
    await this.#reload.retired();
    this.#listenerPool.close();
    await Promise.all([this.#router.end(), ...this.all.map(({ udp }) => udp?.close())]);
  }

  /** Returns the first `limit` connections of a service. */
  openOf(service: string, limit: number): OpenConnection[] {
    const open = this.#live.get(service)?.connections.open.values() ?? [].values();
    return [...open.take(limit).map(({ view }) => openConnection(view))];
  }

  #closeListeners(kept: readonly RouteEntry[] = []): void {
    this.#listenerPool.close(kept);
    for (const listener of this.#all.udpListeners) listener.close();
  }

  #inherited(listeners: readonly ListenAddress[]): ReadonlyMap<ListenAddress, InheritedSocket> {
    const onStray = (message: string): void => this.#options.observer.warning("listen_fds.stray", message);
    return claimInherited(this.#options.inheritedFds, listeners, onStray);
  }

  async #bind(
    routeEntries: readonly RouteEntry[],
    inherited: ReadonlyMap<ListenAddress, InheritedSocket>,
  ): Promise<void> {
    using bound = await this.#listenerPool.bind(
      routeEntries.map(({ listener, route: { service } }) => ({ service, listener })),
      inherited,
    );
    bound.commit();
    this.#listenerPool.setRoutes(routeEntries);
  }

  #newConnections(name: string): ServiceConnections {
    const limit = (): number => this.#live.get(name)?.service.limits.waiting ?? 0;
    return {
      waiting: new Slots({ limit, what: `clients waiting for service "${name}"` }),
      active: 0,
      open: new Set(),
      meter: { in: 0, out: 0 },
    };
  }

  get #all(): { readonly routeEntries: readonly RouteEntry[]; readonly udpListeners: readonly UdpListener[] } {
    return {
      routeEntries: this.all.flatMap(({ routeEntries }) => routeEntries),
      udpListeners: this.all.flatMap(({ udp }) => udp?.listeners ?? []),
    };
  }
}
