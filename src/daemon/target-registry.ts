/**
 * All targets with their activators, one for each: those of the services, and those that nobody but another container
 * needs. Services come and go; a target stays as long as something uses it.
 */
import { Activator } from "../activation/activator.ts";
import { DependencyLeases } from "../activation/dependency-leases.ts";
import { Group } from "../activation/group.ts";
import type { Holder } from "../activation/lease.ts";
import { OneShot } from "../activation/one-shot.ts";
import type { Policy } from "../activation/policy.ts";
import type { Probe, Target } from "../activation/target.ts";
import { Usage } from "../activation/usage.ts";
import { type ContainerReference, isWoken, type Service, type WokenService } from "../config/config.ts";
import { describeReference } from "../config/describe.ts";
import type { ContainerFacts } from "../docker/container-facts.ts";
import { TargetError } from "../errors.ts";
import { all } from "../readiness/probe.ts";
import { ContainerTarget } from "../targets/container.ts";
import { CreatedContainer } from "../targets/created-container.ts";
import { ProcessTarget } from "../targets/process.ts";
import type { Observer } from "../telemetry/observer.ts";
import { type ActivatorLookup, DependencyResolver } from "./dependency-resolver.ts";
import {
  createTarget,
  type EngineParts,
  graceOf,
  type HostEnvironment,
  keyOf,
  networkOf,
  policyOf,
  probeOf,
  requiredLabelOf,
} from "./target-factory.ts";

export interface TargetRegistryOptions {
  /** Undefined when no service needs one. */
  readonly engine: EngineParts | undefined;
  readonly host: HostEnvironment;
  readonly observer: Observer;
  /** How containers are put to sleep that no service names. */
  readonly dependencyPolicy: Policy;
}

interface Entry {
  readonly target: Target;
  readonly activator: Activator;
  /** None for a container that is only depended on. */
  services: readonly WokenService[];
}

export interface CloseOptions {
  readonly drainMs: number;
  readonly targets: "stop" | "leave";
}

/** What needs no service to be ready is ready when it is up. */
const up: Probe = all([]);

export class TargetRegistry {
  #options: TargetRegistryOptions;
  readonly #entries = new Map<string, Entry>();
  /** Those that nobody uses any more, as long as they are being let go of, each with its end. */
  readonly #leaving = new Map<Entry, Promise<void>>();
  readonly #groups = new Map<string, Group>();
  readonly #oneShots = new Map<string, OneShot>();
  readonly #dependencies: DependencyResolver;
  #isOpen = false;

  constructor(options: TargetRegistryOptions) {
    this.#options = options;
    const wakers: ActivatorLookup = {
      ofService: (name) => this.#targetOfService(name),
      ofContainer: (reference, signal) => this.#targetOfContainer(reference, signal),
      oneShot: (reference) => this.#oneShot(reference),
    };
    this.#dependencies = new DependencyResolver(wakers, (event, message) => options.observer.warning(event, message));
  }

  get size(): number {
    return this.#entries.size;
  }

  get activators(): Activator[] {
    return [...this.#entries.values()].map(({ activator }) => activator);
  }

  /** Containers that no service names, but that others depend on. */
  get implicitTargets(): Activator[] {
    return [...this.#entries.values()].flatMap(({ services, activator }) => (services.length === 0 ? activator : []));
  }

  /**
   * Takes services in; those that name the same target share its activator.
   *
   * @throws TargetError for a user or group that does not exist
   */
  add(services: readonly WokenService[]): void {
    for (const [key, sharing] of Map.groupBy(services, keyOf)) {
      const entry = this.#entries.get(key);
      if (entry === undefined) this.#enter(key, sharing);
      else this.#configure(entry, [...entry.services, ...sharing]);
    }
  }

  /** Of a service that was taken in. */
  activatorOf(service: WokenService): Activator {
    return this.#entries.get(keyOf(service))!.activator;
  }

  /** Begins to follow all targets, and from now on each that comes. */
  open(): void {
    this.#isOpen = true;
    for (const activator of this.activators) activator.open();
  }

  /** Of containers that no service names, from now on. */
  configure({ dependencyPolicy }: Pick<TargetRegistryOptions, "dependencyPolicy">): void {
    this.#options = { ...this.#options, dependencyPolicy };
    for (const entry of this.#entries.values()) if (entry.services.length === 0) this.#configure(entry, []);
  }

  /**
   * Takes in what services have become. What still leads to the same target goes on there, in its new way; what led
   * elsewhere is let go of.
   *
   * @returns when that is done, at most after `drainMs` and the time that a stop takes
   * @throws TargetError for a user or group that does not exist
   */
  change(
    changes: readonly { readonly from: Service | undefined; readonly to: Service }[],
    drainMs: number,
  ): Promise<void> {
    const letGo: Promise<void>[] = [];
    for (const { from, to } of changes) {
      const isSame = from && isWoken(from) && isWoken(to) && keyOf(from) === keyOf(to);
      if (isSame) this.#replace(from, to);
      else if (isWoken(to)) this.add([to]);
      if (isSame || from === undefined || !isWoken(from)) continue;
      letGo.push(this.remove(from, drainMs));
    }
    return Promise.all(letGo).then(() => {});
  }

  /**
   * Lets a service go, once its connections are over. A container that nobody else uses is left as it is, and followed
   * no more; a process ends.
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
    this.#leaving.set(entry, closed);
    await closed.finally(() => this.#leaving.delete(entry));
    if (entry.target instanceof ContainerTarget) entry.target.release();
  }

  /** Puts everything to sleep, or leaves it running: what others depend on after those others. */
  async close({ drainMs, targets }: CloseOptions): Promise<void> {
    const end = performance.now() + drainMs;
    const closed = new Set<Entry>();
    // A start that was under way may have made another one meanwhile.
    const rest = (): Entry[] => [...this.#entries.values()].filter((entry) => !closed.has(entry));
    for (let remaining = rest(); remaining.length > 0; remaining = rest()) {
      const free = remaining.filter(({ activator }) => activator.view.dependents.length === 0);
      const next = free.length > 0 ? free : remaining;
      await Promise.all(
        next.map(({ activator, target }) => {
          // Nobody could adopt a process that we leave.
          const leaveRunning = targets === "leave" && !(target instanceof ProcessTarget);
          // Those who were let in at the same time have the same time to finish.
          return activator.close({ drainMs: Math.max(0, end - performance.now()), leaveRunning });
        }),
      );
      for (const entry of next) closed.add(entry);
    }
  }

  /** For an end without a drain: processes would outlive us. */
  kill(): void {
    for (const { target } of [...this.#entries.values(), ...this.#leaving.keys()])
      if (target instanceof ProcessTarget) target.kill();
  }

  #enter(key: string, services: readonly WokenService[]): Entry {
    const { engine, host, observer } = this.#options;
    const names = new Set([...this.#entries.values()].map((entry) => entry.target.name));
    const target = createTarget(services, engine, host, observer, names);
    return this.#keep(key, target, services, { probe: probeOf(services, target), policy: policyOf(services) });
  }

  #keep(
    key: string,
    target: Target,
    services: readonly WokenService[],
    { probe, policy }: { readonly probe: Probe; readonly policy: Policy },
  ): Entry {
    const { observer } = this.#options;
    const dependencies = this.#needsOf(
      target,
      () => activator.asHolder,
      () => this.#entries.get(key)?.services ?? [],
    );
    const companions = this.#companionsOf(
      () => activator.asHolder,
      () => this.#entries.get(key)?.services ?? [],
    );
    const name = services.find(({ group }) => group !== undefined)?.group;
    const group = name === undefined ? undefined : this.#group(name);
    const names = services.map((service) => service.name);
    const activator: Activator = new Activator({
      target,
      probe,
      policy,
      services: names,
      dependencies,
      companions,
      observer,
      ...(group && { group }),
    });
    group?.add(activator);
    const entry: Entry = { target, activator, services };
    if (target instanceof ProcessTarget) target.startAfter(() => this.#removedByOthers(entry, target));
    this.#entries.set(key, entry);
    if (this.#isOpen) activator.open();
    return entry;
  }

  /** Of the same service, or with the same port: a process starts when the ones before it have ended. */
  #removedByOthers({ services }: Entry, { port }: ProcessTarget): Promise<unknown> {
    const names = new Set(services.map(({ name }) => name));
    const before = [...this.#leaving].filter(([other]) => {
      const isSamePort = port !== undefined && other.target instanceof ProcessTarget && other.target.port === port;
      return isSamePort || other.services.some(({ name }) => names.has(name));
    });
    return Promise.allSettled(before.map(([, ended]) => ended));
  }

  #configure(entry: Entry, services: readonly WokenService[]): void {
    const { target, activator } = entry;
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
  }

  #replace(from: WokenService, to: WokenService): void {
    const entry = this.#entries.get(keyOf(to));
    const services = entry?.services.map((service) => (service === from ? to : service));
    if (entry !== undefined && services !== undefined) this.#configure(entry, services);
  }

  #needsOf(target: Target, holder: () => Holder, services: () => readonly WokenService[]): DependencyLeases {
    const { observer } = this.#options;
    return new DependencyLeases({
      resolve: (signal) => {
        const names = services().flatMap(({ dependsOn }) => dependsOn);
        return this.#dependencies.of(target, holder(), names, signal);
      },
      onFailure: (error) => observer.warning("target.dependencies", `${target.name}: ${error.message}`),
    });
  }

  /** Returns the targets of the services that are `with` one of these services. */
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

  #targetOfService(name: string): Activator {
    const entry = [...this.#entries.values()].find(({ services }) => services.some((service) => service.name === name));
    if (entry === undefined) throw new TargetError("invalid", `there is no service "${name}" any more`);
    return entry.activator;
  }

  /** A container may be known already under another name; one that is asked for by its id has a name that lasts. */
  async #targetOfContainer(reference: ContainerReference, signal: AbortSignal): Promise<Activator | "own" | "missing"> {
    const facts = await this.#newTarget(reference).inspectOnce(signal);
    // A known container may be in the course of being recreated.
    if (facts === undefined) return this.#entries.get(containerKey(reference))?.activator ?? "missing";
    if (await this.#options.engine?.own.isOwn(facts, signal)) return "own";
    // A container that is referenced by its id keeps its name.
    const lasting = isId(reference) ? referenceTo(facts) : reference;
    const key = containerKey(lasting);
    const known = (await this.#ownerOf(facts.id, signal)) ?? this.#entries.get(key);
    if (known !== undefined) return known.activator;
    return this.#keep(key, this.#newTarget(lasting), [], { probe: up, policy: this.#options.dependencyPolicy })
      .activator;
  }

  /** Whose container it is; also of those that have not looked for theirs yet. */
  async #ownerOf(id: string, signal: AbortSignal): Promise<Entry | undefined> {
    for (const entry of this.#entries.values()) {
      if (entry.target instanceof ContainerTarget && (await entry.target.isOwnerOf(id, signal))) return entry;
    }
    return undefined;
  }

  #oneShot(reference: ContainerReference): OneShot {
    const key = containerKey(reference);
    const known = this.#oneShots.get(key);
    if (known !== undefined) return known;
    const target = this.#newTarget(reference);
    // A one-shot claims its dependencies only while it runs, for a dependent that is in use.
    const usage = new Usage();
    usage.addClient();
    const holder: Holder = { name: target.name, kind: "dependent", usage };
    const dependencies = this.#needsOf(
      target,
      () => holder,
      () => [],
    );
    const oneShot = new OneShot({ target, dependencies, observer: this.#options.observer });
    this.#oneShots.set(key, oneShot);
    return oneShot;
  }

  /** A container that nobody dials. */
  #newTarget(reference: ContainerReference): ContainerTarget {
    const { engine, observer } = this.#options;
    if (engine === undefined) throw new Error("a container needs an engine");
    return new ContainerTarget({
      ...engine,
      reference,
      name: describeReference(reference),
      isNamed: false,
      requiredLabel: undefined,
      network: undefined,
      graceMs: undefined,
      onWarning: (event, message) => observer.warning(event, message),
    });
  }
}

function containerKey(reference: ContainerReference): string {
  return `container ${JSON.stringify(reference)}`;
}

function isId(reference: ContainerReference): boolean {
  return "name" in reference && /^[0-9a-f]{64}$/.test(reference.name);
}

function referenceTo({ name, project, composeService }: ContainerFacts): ContainerReference {
  return project === undefined || composeService === undefined ? { name } : { service: composeService, project };
}
