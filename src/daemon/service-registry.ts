/** The services that are listened for, with their fronts and clients, as they come, change and go. */
import { type OpenConnection, openConnection } from "../admin/api.ts";
import { isWoken, type Service } from "../config/config.ts";
import type { ServiceChanges } from "../config/diff.ts";
import { bindErrorOf, messageOf } from "../errors.ts";
import { Slots } from "../proxy/admission/slots.ts";
import type { SharedAdmission } from "../proxy/admission/stage.ts";
import type { Ident } from "../proxy/ident.ts";
import { claimInherited, type InheritedSocket } from "../proxy/listen/inherited-sockets.ts";
import type { ListenAddress } from "../proxy/listen/listener.ts";
import { ListenerPool } from "../proxy/listen/listener-pool.ts";
import type { RouteEntry } from "../proxy/routing/route-table.ts";
import { Router } from "../proxy/routing/router.ts";
import type { ServiceConnections } from "../proxy/service-connections.ts";
import type { Observer } from "../telemetry/observer.ts";
import { bindAll } from "../udp/bind-all.ts";
import type { UdpListenerSocket } from "../udp/listener.ts";
import type { UdpListener, UdpService } from "../udp/service.ts";
import type { InetdEnvironment } from "./handler-factory.ts";
import { handsOver, LiveService, wantedBy, wantedForUdp } from "./live-service.ts";
import { checkAccount } from "./target-factory.ts";
import type { TargetRegistry } from "./target-registry.ts";

export interface ServiceRegistryOptions {
  readonly targets: TargetRegistry;
  readonly sharedAdmission: SharedAdmission;
  readonly host: InetdEnvironment;
  readonly observer: Observer;
  /** Told each service that comes. */
  readonly onEnter: (service: Service) => void;
  /** Whom to ask who a client is; undefined: nobody. */
  readonly ident: () => Ident | undefined;
  /** Sockets that are bound already; what fits no front is closed. */
  readonly inheritedFds: readonly number[];
}

export class ServiceRegistry {
  readonly #options: ServiceRegistryOptions;
  readonly #live = new Map<string, LiveService>();
  readonly #router: Router;
  readonly #listenerPool: ListenerPool;
  readonly #udpLeaving = new Set<UdpService>();
  readonly #ending = new Set<Promise<void>>();
  /** The last change, when it is over. */
  #changing: Promise<void> = Promise.resolve();

  constructor(options: ServiceRegistryOptions) {
    this.#options = options;
    this.#router = new Router(options);
    this.#listenerPool = new ListenerPool((...accepted) => this.#router.accept(...accepted));
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

  /** How many sockets listen. */
  get listeners(): number {
    return this.all.reduce((count, { udp }) => count + (udp?.listeners.length ?? 0), this.#listenerPool.size);
  }

  /** Takes a service in whose target the roster has; its fronts are not bound yet. */
  register(service: Service): LiveService {
    const { name } = service;
    const { targets, onEnter, ...shared } = this.#options;
    const before = this.#live.get(name);
    const live = new LiveService({
      service,
      before,
      activator: isWoken(service) ? targets.activatorOf(service) : undefined,
      connections: before?.connections ?? this.#newConnections(name),
      ...shared,
      nextId: () => this.#router.nextId(),
    });
    this.#live.set(name, live);
    onEnter(service);
    return live;
  }

  /** Binds every front, those of inherited sockets excepted. @throws BindError with a line for each that cannot be bound */
  async open(): Promise<void> {
    const { routeEntries, udpListeners } = this.#all;
    const inherited = this.#inherited([...routeEntries, ...udpListeners].map(({ listener }) => listener));
    const opened = await Promise.allSettled([
      this.#bind(routeEntries, inherited),
      ...udpListeners.map((listener) => listener.open(inherited.get(listener.listener)?.fd)),
    ]);
    const failure = bindErrorOf(opened);
    if (failure === undefined) return;
    this.#releaseListeners();
    throw failure;
  }

  /**
   * Has services come, change and go: all of them, or none. One such change after the other: what one has bound on
   * trial, another would take for bound.
   *
   * @param changes asked when it is their turn: from what there is then
   * @param commit called when nothing can fail any more, before the first client meets the change
   * @throws BindError, TargetError; everything is as before then
   */
  change(changes: () => ServiceChanges, drainMs: number, commit: () => void): Promise<void> {
    return this.#inTurn(() => this.#change(changes(), drainMs, commit));
  }

  /** Whether a service could be had beside those that there are. @throws BindError, TargetError when it could not */
  checkAvailable(service: Service): Promise<void> {
    return this.#inTurn(async () => {
      using _trials = await this.#bindFor([service]);
    });
  }

  #inTurn(act: () => Promise<void>): Promise<void> {
    const done = this.#changing.then(act);
    this.#changing = done.catch(() => {});
    return done;
  }

  /** Its connections may finish. A container is left as it is. */
  async #remove(service: Service, drainMs: number): Promise<void> {
    const current = this.#live.get(service.name);
    // Another one may have its name by now.
    const live = current?.service === service ? current : undefined;
    if (live !== undefined) {
      this.#listenerPool.removeRoutes(service.name);
      live.dataPorts?.configure([]);
      for (const listener of live.udp?.listeners ?? []) listener.close();
      if (live.udp !== undefined) this.#udpLeaving.add(live.udp);
      this.#live.delete(service.name);
    }
    if (isWoken(service)) await this.#options.targets.remove(service, drainMs);
    await Promise.all([live?.udp?.close(), live?.retire(drainMs)]);
    if (live?.udp !== undefined) this.#udpLeaving.delete(live.udp);
  }

  async #change({ added, changed, removed }: ServiceChanges, drainMs: number, commit: () => void): Promise<void> {
    const arriving = [...added.map((to) => ({ from: undefined, to })), ...changed];
    const services = arriving.map(({ to }) => to);
    // All that can fail comes before the first thing that changes.
    using bound = await this.#bindFor(services);
    this.#background(this.#options.targets.change(arriving, drainMs));
    bound.keep();
    commit();
    this.#swap(services, bound.udpListeners, drainMs);
    for (const service of removed) this.#background(this.#remove(service, drainMs));
  }

  /** What these services need that is not there yet. Let go of again unless it is kept. @throws BindError, TargetError */
  async #bindFor(
    services: readonly Service[],
  ): Promise<{ readonly udpListeners: readonly UdpListenerSocket[]; keep(): void } & Disposable> {
    for (const service of services) checkAccount(service, this.#options.host);
    using stack = new DisposableStack();
    const trial = stack.use(await this.#listenerPool.bind(services.flatMap(wantedBy)));
    const isHeld = (listener: ListenAddress): boolean => this.#udpServices.some((udp) => udp.isListeningOn(listener));
    const udpTrial = stack.use(
      await bindAll(services.flatMap(wantedForUdp).filter(({ listener }) => !isHeld(listener))),
    );
    const keep = (): void => {
      trial.commit();
      udpTrial.commit();
    };
    const trials = stack.move();
    return { udpListeners: udpTrial.listeners, keep, [Symbol.dispose]: () => trials.dispose() };
  }

  /**
   * Accepts nobody any more, and refuses those who are not served yet. Who is being served may go on as before, at data
   * ports as well.
   */
  close(): void {
    this.#releaseListeners(this.all.flatMap(({ dataOpenings }) => dataOpenings));
    this.#router.close();
  }

  /** Waits for connections, also those that lead to nothing that wakeport has started. */
  drain(drainMs: number): Promise<void> {
    return this.#router.drain(drainMs);
  }

  /** Waits for what was let go of, and ends all connections that there are. */
  async end(): Promise<void> {
    await Promise.all(this.#ending);
    this.#listenerPool.close();
    await Promise.all([this.#router.end(), ...this.all.map(({ udp }) => udp?.close())]);
  }

  /** The first `most` connections of a service. */
  openOf(service: string, most: number): OpenConnection[] {
    const open = this.#live.get(service)?.connections.open.values() ?? [].values();
    return [...open.take(most).map(({ view }) => openConnection(view))];
  }

  #releaseListeners(kept: readonly RouteEntry[] = []): void {
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
    using trial = await this.#listenerPool.bind(
      routeEntries.map(({ listener, route: { service } }) => {
        const known = this.#live.get(service)?.service;
        return { service, listener, isPausable: known !== undefined && handsOver(known) };
      }),
      inherited,
    );
    trial.commit();
    this.#listenerPool.setRoutes(routeEntries);
  }

  /**
   * Has services that are new, or other than they were, in the place of what was there. No front is let go of before all
   * are led where they belong: one may have changed its owner.
   */
  #swap(services: readonly Service[], fresh: readonly UdpListenerSocket[], drainMs: number): void {
    const udpBefore = this.#udpServices;
    const pairs = services.map((service) => {
      const before = this.#live.get(service.name);
      return { before, after: this.register(service) };
    });
    // Together: of a front that they share, all names are known from the first client on.
    this.#listenerPool.setRoutes(pairs.flatMap(({ after }) => after.routeEntries));
    for (const { after } of pairs) {
      if (after.udp !== undefined && !udpBefore.includes(after.udp)) after.udp.takeOver(udpBefore, fresh);
    }
    for (const { before, after } of pairs) {
      this.#listenerPool.removeRoutes(after.service.name, after.routeEntries);
      if (before === undefined) continue;
      this.#background(before.retire(drainMs));
      if (before.udp !== after.udp) this.#background(endUdp(before.udp));
    }
    for (const { after } of pairs) this.#background(this.#openRest(after));
  }

  /** A front of one that leaves may have been closed in the very moment in which it was to be taken over. */
  async #openRest({ service: { name }, udp }: LiveService): Promise<void> {
    for (const listener of udp?.listeners ?? []) {
      await listener.open().catch((error: unknown) => {
        this.#options.observer.warning("config.udp", `service "${name}": ${messageOf(error)}`);
      });
    }
  }

  /** Also of services that are gone, as long as flows of them are not over. */
  get #udpServices(): UdpService[] {
    return [...[...this.#live.values()].flatMap(({ udp }) => udp ?? []), ...this.#udpLeaving];
  }

  /** What ends in its own time, but before wakeport does. */
  #background(ending: Promise<void>): void {
    const done = ending.finally(() => this.#ending.delete(done));
    this.#ending.add(done);
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
    const services = [...this.#live.values()];
    return {
      routeEntries: services.flatMap(({ routeEntries }) => routeEntries),
      udpListeners: services.flatMap(({ udp }) => udp?.listeners ?? []),
    };
  }
}

/** Flows end, and those who go on sending begin new ones. */
async function endUdp(udp: UdpService | undefined): Promise<void> {
  for (const listener of udp?.listeners ?? []) listener.close();
  await udp?.close();
}
