import type { ActivationPolicy } from "../activation/activation-policy.ts";
import { Activator } from "../activation/activator.ts";
import { Bypasses } from "../activation/bypass.ts";
import { DependencyLeases } from "../activation/dependency-leases.ts";
import { Group } from "../activation/group.ts";
import type { Holder } from "../activation/lease.ts";
import type { Probe, Target } from "../activation/target.ts";
import { isWoken, type Service, type WokenService } from "../config/config.ts";
import type { KernelRoute } from "../kernel-route/kernel-route.ts";
import { TargetOffload } from "../proxy/offload/target-offload.ts";
import { all } from "../readiness/probe.ts";
import { ContainerTarget } from "../targets/container.ts";
import { CreatedContainer } from "../targets/created-container.ts";
import { ProcessTarget } from "../targets/process.ts";
import type { Observer } from "../telemetry/observer.ts";
import { DependencyResolver } from "./dependency-resolver.ts";
import { DependencyTargets, type TargetEntry } from "./dependency-targets.ts";
import type { EngineParts } from "./engine-parts.ts";
import { createTarget, type HostEnvironment, keyOf } from "./target-factory.ts";
import { graceOf, networkOf, policyOf, probeOf, requiredLabelOf } from "./target-settings.ts";

export interface TargetRegistryOptions {
  /** Undefined if no service needs an engine. */
  readonly engine: EngineParts | undefined;
  readonly host: HostEnvironment;
  readonly observer: Observer;
  readonly kernelRoute: KernelRoute;
  /** Returns the number of connections of the process below which the data plane accepts; 0: never. */
  readonly offloadLimit: () => number;
  /** The policy of containers that no service names. */
  readonly dependencyPolicy: ActivationPolicy;
}

export interface CloseOptions {
  readonly drainMs: number;
  readonly targets: "stop" | "leave";
}

/** Probe of a target that no service names: it is ready when it is up. */
const up: Probe = all([]);

/**
 * All targets with their activators: the targets of services, and containers that only other containers need. A target is
 * removed with the last service or dependent that uses it.
 */
export class TargetRegistry {
  #options: TargetRegistryOptions;
  readonly #entries = new Map<string, TargetEntry>();
  /** Removed targets that are not closed yet, each with its close. */
  readonly #closing = new Map<TargetEntry, Promise<void>>();
  readonly #groups = new Map<string, Group>();
  readonly #dependencies: DependencyResolver;
  #isOpen = false;

  constructor(options: TargetRegistryOptions) {
    this.#options = options;
    const { engine, observer } = options;
    const targets = new DependencyTargets({
      engine,
      observer,
      entries: this.#entries,
      add: (key, target) => this.#add(key, target, [], up, this.#options.dependencyPolicy),
      leasesOf: (target, holder) =>
        this.#dependenciesOf(
          target,
          () => holder,
          () => [],
        ),
    });
    this.#dependencies = new DependencyResolver(targets, (event, message) => observer.warning(event, message));
  }

  get size(): number {
    return this.#entries.size;
  }

  get activators(): Activator[] {
    return [...this.#entries.values()].map(({ activator }) => activator);
  }

  /** Whether no target runs, starts or stops. */
  get areAsleep(): boolean {
    return this.activators.every(({ isAsleep }) => isAsleep);
  }

  /** Containers that no service names, but that others depend on. */
  get implicitTargets(): Activator[] {
    return [...this.#entries.values()].flatMap(({ services, activator }) => (services.length === 0 ? activator : []));
  }

  /**
   * Adds services. Services that name the same target share its activator.
   *
   * @throws TargetError if a user or group does not exist
   */
  add(services: readonly WokenService[]): void {
    const { engine, host, observer } = this.#options;
    const names = new Set([...this.#entries.values()].map(({ target }) => target.name));
    for (const [key, sharing] of Map.groupBy(services, keyOf)) {
      const entry = this.#entries.get(key);
      if (entry !== undefined) {
        this.#configure(entry, [...entry.services, ...sharing]);
        continue;
      }
      const target = createTarget(sharing, engine, host, observer, names);
      names.add(target.name);
      this.#add(key, target, sharing, probeOf(sharing, target), policyOf(sharing));
    }
  }

  /** Returns the activator of an added service. */
  activatorOf(service: WokenService): Activator {
    return this.#entries.get(keyOf(service))!.activator;
  }

  /** Returns the offload of an added service. */
  offloadOf(service: WokenService): TargetOffload {
    return this.#entries.get(keyOf(service))!.offload;
  }

  /** Opens the activators of all targets, and of each target that is added later. */
  open(): void {
    this.#isOpen = true;
    for (const activator of this.activators) activator.open();
  }

  /** Must be called when the data plane may, or may no more, accept clients of any service. */
  reconsiderOffload(): void {
    for (const { offload } of this.#entries.values()) offload.reconsider();
  }

  /** Replaces the policy of containers that no service names. */
  configure({ dependencyPolicy }: Pick<TargetRegistryOptions, "dependencyPolicy">): void {
    this.#options = { ...this.#options, dependencyPolicy };
    for (const entry of this.#entries.values()) if (entry.services.length === 0) this.#configure(entry, []);
  }

  /**
   * Adds and changes services. A service that keeps its target changes the target's settings; another target is removed.
   *
   * @returns when the removed targets are closed, at most after `drainMs` and the time of a stop
   * @throws TargetError if a user or group does not exist
   */
  change(
    changes: readonly { readonly from: Service | undefined; readonly to: Service }[],
    drainMs: number,
  ): Promise<void> {
    const removals: Promise<void>[] = [];
    for (const { from, to } of changes) {
      const isSame = from && isWoken(from) && isWoken(to) && keyOf(from) === keyOf(to);
      if (isSame) this.#replace(from, to);
      else if (isWoken(to)) this.add([to]);
      if (isSame || from === undefined || !isWoken(from)) continue;
      removals.push(this.remove(from, drainMs));
    }
    return Promise.all(removals).then(() => {});
  }

  /**
   * Removes a service after its connections have ended. If no other service or dependent uses the target, a process is
   * stopped and a container is left as it is.
   */
  async remove(service: WokenService, drainMs: number): Promise<void> {
    const key = keyOf(service);
    const entry = this.#entries.get(key);
    if (entry?.services.includes(service) !== true) return;
    const rest = entry.services.filter((one) => one !== service);
    if (rest.length > 0 || entry.activator.view.dependents.length > 0) return this.#configure(entry, rest);
    this.#entries.delete(key);
    for (const group of this.#groups.values()) group.delete(entry.activator);
    const closed = entry.activator.close({ drainMs, leaveRunning: entry.target instanceof ContainerTarget });
    this.#closing.set(entry, closed);
    await closed.finally(() => this.#closing.delete(entry));
    this.#options.kernelRoute.removeRoute(entry.route);
    if (entry.target instanceof ContainerTarget) entry.target.release();
  }

  /** Stops all targets or leaves them running. Dependents are stopped before their dependencies. */
  async close({ drainMs, targets }: CloseOptions): Promise<void> {
    const end = performance.now() + drainMs;
    const closed = new Set<TargetEntry>();
    // A pending start may have added another target meanwhile.
    const rest = (): TargetEntry[] => [...this.#entries.values()].filter((entry) => !closed.has(entry));
    for (let remaining = rest(); remaining.length > 0; remaining = rest()) {
      const free = remaining.filter(({ activator }) => activator.view.dependents.length === 0);
      const next = free.length > 0 ? free : remaining;
      await Promise.all(
        next.map(({ activator, target }) => {
          // The next wakeport can adopt a container, but not a process.
          const leaveRunning = targets === "leave" && !(target instanceof ProcessTarget);
          // The drain ends for all connections at the same time.
          return activator.close({ drainMs: Math.max(0, end - performance.now()), leaveRunning });
        }),
      );
      for (const entry of next) closed.add(entry);
    }
  }

  /** Kills all processes: for the end of wakeport without a drain. */
  kill(): void {
    for (const { target } of [...this.#entries.values(), ...this.#closing.keys()])
      if (target instanceof ProcessTarget) target.kill();
  }

  #add(
    key: string,
    target: Target,
    services: readonly WokenService[],
    probe: Probe,
    policy: ActivationPolicy,
  ): TargetEntry {
    const { observer, kernelRoute, offloadLimit: limit } = this.#options;
    const holder = (): Holder => activator.asHolder;
    const current = (): readonly WokenService[] => this.#entries.get(key)?.services ?? [];
    const name = services.find(({ group }) => group !== undefined)?.group;
    const group = name === undefined ? undefined : this.#group(name);
    const leases = {
      acquire: (holder: Holder) => activator.acquire(new AbortController().signal, holder),
      isReady: () => activator.view.state === "ready",
    };
    const route = kernelRoute.newRoute(services, leases);
    const offload = new TargetOffload({ ...leases, limit });
    const activator: Activator = new Activator({
      target,
      probe,
      policy,
      services: services.map((service) => service.name),
      dependencies: this.#dependenciesOf(target, holder, current),
      companions: this.#companionsOf(holder, current),
      observer,
      // A client that the kernel no longer forwards reaches the listener, which the data plane may have.
      bypass: new Bypasses(route, offload),
      ...(group && { group }),
    });
    group?.add(activator);
    const entry: TargetEntry = { target, activator, route, offload, services };
    if (target instanceof ProcessTarget) target.startAfter(() => this.#predecessorsEnded(entry, target));
    this.#entries.set(key, entry);
    if (this.#isOpen) activator.open();
    return entry;
  }

  /** Resolves when removed processes of the same services or with the same port have ended. */
  #predecessorsEnded({ services }: TargetEntry, { port }: ProcessTarget): Promise<unknown> {
    const names = new Set(services.map(({ name }) => name));
    const before = [...this.#closing].filter(([other]) => {
      const isSamePort = port !== undefined && other.target instanceof ProcessTarget && other.target.port === port;
      return isSamePort || other.services.some(({ name }) => names.has(name));
    });
    return Promise.allSettled(before.map(([, ended]) => ended));
  }

  #configure(entry: TargetEntry, services: readonly WokenService[]): void {
    const { target, activator, route } = entry;
    const isNamed = services.length > 0;
    entry.services = services;
    const spec = services[0]?.target;
    const requiredLabel = requiredLabelOf(services);
    const common = { isNamed, requiredLabel, network: networkOf(services), graceMs: graceOf(services) };
    if (target instanceof ContainerTarget) target.configure(common);
    if (target instanceof CreatedContainer && spec?.kind === "created") target.configure({ spec, ...common });
    activator.configure({
      services: services.map(({ name }) => name),
      probe: isNamed ? probeOf(services, target) : up,
      policy: isNamed ? policyOf(services) : this.#options.dependencyPolicy,
    });
    route.configure(services);
  }

  #replace(from: WokenService, to: WokenService): void {
    const entry = this.#entries.get(keyOf(to));
    const services = entry?.services.map((service) => (service === from ? to : service));
    if (entry !== undefined && services !== undefined) this.#configure(entry, services);
  }

  #dependenciesOf(target: Target, holder: () => Holder, services: () => readonly WokenService[]): DependencyLeases {
    const { observer } = this.#options;
    return new DependencyLeases({
      resolve: (signal) => {
        const names = services().flatMap(({ dependsOn }) => dependsOn);
        return this.#dependencies.of(target, holder(), names, signal);
      },
      onFailure: (error) => observer.warning("target.dependencies", `${target.name}: ${error.message}`),
    });
  }

  /** Returns leases on the targets of the services that are `with` one of these services. */
  #companionsOf(holder: () => Holder, services: () => readonly WokenService[]): DependencyLeases {
    return new DependencyLeases({
      resolve: async () => {
        const names = new Set(services().map(({ name }) => name));
        const followers = [...this.#entries.values()].filter((entry) => {
          const leaders = entry.services.flatMap(({ wakesWith }) => wakesWith);
          return entry.services.every(({ name }) => !names.has(name)) && leaders.some((name) => names.has(name));
        });
        const activators = followers.map(({ activator }) => activator);
        return this.#dependencies.companions(holder(), activators);
      },
      // This cannot fail, because it sends no request to the engine.
      onFailure: () => {},
    });
  }

  #group(name: string): Group {
    const group = this.#groups.get(name) ?? new Group(name);
    this.#groups.set(name, group);
    return group;
  }
}
