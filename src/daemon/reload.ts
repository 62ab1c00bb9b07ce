import { isWoken, type Service } from "../config/config.ts";
import type { ServiceChanges } from "../config/diff.ts";
import { messageOf } from "../errors.ts";
import type { ListenAddress } from "../proxy/listen/listener.ts";
import type { ListenerPool } from "../proxy/listen/listener-pool.ts";
import type { Observer } from "../telemetry/observer.ts";
import { bindUdpListeners } from "../udp/bind-listeners.ts";
import type { UdpListenerSocket } from "../udp/listener.ts";
import type { UdpService } from "../udp/service.ts";
import type { LiveService } from "./live-service.ts";
import { tcpListenersOf, udpListenersOf } from "./service-listeners.ts";
import { checkAccount, type HostEnvironment } from "./target-factory.ts";
import type { TargetRegistry } from "./target-registry.ts";

export interface ReloadOptions {
  readonly targets: TargetRegistry;
  readonly host: HostEnvironment;
  readonly observer: Observer;
  readonly listenerPool: ListenerPool;
  /** The running services, by name. */
  readonly live: Map<string, LiveService>;
  /** Adds a running service, or replaces the one with its name. */
  readonly register: (service: Service) => LiveService;
}

/** Listeners that are closed on disposal unless they are kept. */
interface BoundListeners extends Disposable {
  readonly udp: readonly UdpListenerSocket[];
  keep(): void;
}

/** Changes the running services in two phases: first everything that can fail, then the swap. */
export class Reload {
  readonly #options: ReloadOptions;
  /** UDP services of removed services that still have flows. */
  readonly #removedUdp = new Set<UdpService>();
  readonly #retiring = new Set<Promise<void>>();
  #queue: Promise<void> = Promise.resolve();

  constructor(options: ReloadOptions) {
    this.#options = options;
  }

  /**
   * Adds, changes and removes all these services, or none. Changes are applied one after the other, because each must know
   * the listeners of the previous one.
   *
   * @param changes called when the previous change is applied
   * @param commit called when nothing can fail any more, before the first client is routed by the change
   * @throws BindError, TargetError; then everything is as before
   */
  change(changes: () => ServiceChanges, drainMs: number, commit: () => void): Promise<void> {
    const applied = this.#queue.then(() => this.#apply(changes(), drainMs, commit));
    this.#queue = applied.catch(() => {});
    return applied;
  }

  /** Resolves when all replaced and removed services have ended. */
  async retired(): Promise<void> {
    await Promise.all(this.#retiring);
  }

  async #apply({ added, changed, removed }: ServiceChanges, drainMs: number, commit: () => void): Promise<void> {
    const pairs = [...added.map((to) => ({ from: undefined, to })), ...changed];
    const services = pairs.map(({ to }) => to);
    using bound = await this.#bind(services);
    this.#inBackground(this.#options.targets.change(pairs, drainMs));
    bound.keep();
    commit();
    this.#swap(services, bound.udp, drainMs);
    for (const service of removed) this.#inBackground(this.#remove(service, drainMs));
  }

  /** Binds the listeners of these services that are not bound yet. @throws BindError, TargetError */
  async #bind(services: readonly Service[]): Promise<BoundListeners> {
    const { host, listenerPool } = this.#options;
    for (const service of services) checkAccount(service, host);
    using stack = new DisposableStack();
    const tcp = stack.use(await listenerPool.bind(services.flatMap(tcpListenersOf)));
    const isBound = (listener: ListenAddress): boolean => this.#udpServices.some((udp) => udp.isListeningOn(listener));
    const udp = stack.use(
      await bindUdpListeners(services.flatMap(udpListenersOf).filter(({ listener }) => !isBound(listener))),
    );
    const keep = (): void => {
      tcp.commit();
      udp.commit();
    };
    const pending = stack.move();
    return { udp: udp.listeners, keep, [Symbol.dispose]: () => pending.dispose() };
  }

  /** Replaces services. No listener is closed before all routes are set, because another service may take it over. */
  #swap(services: readonly Service[], bound: readonly UdpListenerSocket[], drainMs: number): void {
    const { listenerPool, live, register } = this.#options;
    const udpBefore = this.#udpServices;
    const pairs = services.map((service) => {
      const before = live.get(service.name);
      return { before, after: register(service) };
    });
    // Set together, so that a shared listener has all its host names for the first client.
    listenerPool.setRoutes(pairs.flatMap(({ after }) => after.routeEntries));
    for (const { after } of pairs) {
      if (after.udp !== undefined && !udpBefore.includes(after.udp)) after.udp.takeOver(udpBefore, bound);
    }
    for (const { before, after } of pairs) {
      listenerPool.removeRoutes(after.service.name, after.routeEntries);
      if (before === undefined) continue;
      this.#inBackground(before.retire(drainMs));
      if (before.udp !== after.udp) this.#inBackground(endUdp(before.udp));
    }
    for (const { after } of pairs) this.#inBackground(this.#openUdp(after));
  }

  /** Removes a service. Its connections may finish, and its container is left as it is. */
  async #remove(service: Service, drainMs: number): Promise<void> {
    const { listenerPool, live, targets } = this.#options;
    const current = live.get(service.name);
    // Another service may have the name by now.
    const removed = current?.service === service ? current : undefined;
    if (removed !== undefined) {
      listenerPool.removeRoutes(service.name);
      removed.dataPorts?.configure([]);
      for (const listener of removed.udp?.listeners ?? []) listener.close();
      if (removed.udp !== undefined) this.#removedUdp.add(removed.udp);
      live.delete(service.name);
    }
    if (isWoken(service)) await targets.remove(service, drainMs);
    await Promise.all([removed?.udp?.close(), removed?.retire(drainMs)]);
    if (removed?.udp !== undefined) this.#removedUdp.delete(removed.udp);
  }

  /** Opens listeners that a removed service closed just before they were taken over. */
  async #openUdp({ service: { name }, udp }: LiveService): Promise<void> {
    for (const listener of udp?.listeners ?? []) {
      await listener.open().catch((error: unknown) => {
        this.#options.observer.warning("config.udp", `service "${name}": ${messageOf(error)}`);
      });
    }
  }

  get #udpServices(): UdpService[] {
    return [...[...this.#options.live.values()].flatMap(({ udp }) => udp ?? []), ...this.#removedUdp];
  }

  #inBackground(ending: Promise<void>): void {
    const done = ending.finally(() => this.#retiring.delete(done));
    this.#retiring.add(done);
  }
}

/** Ends all flows. Clients that send more datagrams begin new flows. */
async function endUdp(udp: UdpService | undefined): Promise<void> {
  for (const listener of udp?.listeners ?? []) listener.close();
  await udp?.close();
}
