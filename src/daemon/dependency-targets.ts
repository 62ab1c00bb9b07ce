import type { Activator } from "../activation/activator.ts";
import type { DependencyLeases } from "../activation/dependency-leases.ts";
import type { Holder } from "../activation/lease.ts";
import { OneShot } from "../activation/one-shot.ts";
import type { Target } from "../activation/target.ts";
import { Usage } from "../activation/usage.ts";
import type { ContainerReference, WokenService } from "../config/config.ts";
import type { ContainerFacts } from "../docker/container-facts.ts";
import { TargetError } from "../errors.ts";
import type { TargetRoute } from "../kernel-route/target-route.ts";
import type { TargetOffload } from "../proxy/offload/target-offload.ts";
import { ContainerTarget } from "../targets/container.ts";
import type { Observer } from "../telemetry/observer.ts";
import type { ActivatorLookup } from "./dependency-resolver.ts";
import type { EngineParts } from "./engine-parts.ts";
import { containerKey, createUnnamedTarget } from "./target-factory.ts";

/** A target with its activator. */
export interface TargetEntry {
  readonly target: Target;
  readonly activator: Activator;
  readonly route: TargetRoute;
  readonly offload: TargetOffload;
  /** Empty for a container that only dependents need. */
  services: readonly WokenService[];
}

export interface DependencyTargetsOptions {
  readonly engine: EngineParts | undefined;
  readonly observer: Observer;
  /** All targets, by key. */
  readonly entries: ReadonlyMap<string, TargetEntry>;
  /** Adds a target that no service names. */
  readonly add: (key: string, target: Target) => TargetEntry;
  /** Returns the leases of a target on its dependencies in compose. */
  readonly leasesOf: (target: Target, holder: Holder) => DependencyLeases;
}

/** Finds the targets of dependencies, and adds those of containers that no service names. */
export class DependencyTargets implements ActivatorLookup {
  readonly #options: DependencyTargetsOptions;
  readonly #oneShots = new Map<string, OneShot>();

  constructor(options: DependencyTargetsOptions) {
    this.#options = options;
  }

  ofService(name: string): Activator {
    const entries = [...this.#options.entries.values()];
    const entry = entries.find(({ services }) => services.some((service) => service.name === name));
    if (entry === undefined) throw new TargetError("invalid", `service "${name}" no longer exists`);
    return entry.activator;
  }

  async ofContainer(reference: ContainerReference, signal: AbortSignal): Promise<Activator | "own" | "missing"> {
    const { engine, entries, add } = this.#options;
    const facts = await this.#newTarget(reference).inspectOnce(signal);
    // A known container may be about to be recreated.
    if (facts === undefined) return entries.get(containerKey(reference))?.activator ?? "missing";
    if (await engine?.own.isOwn(facts, signal)) return "own";
    // A recreated container has another id, so an id is replaced by a lasting reference.
    const durableReference = isId(reference) ? referenceTo(facts) : reference;
    const key = containerKey(durableReference);
    const known = (await this.#ownerOf(facts.id, signal)) ?? entries.get(key);
    return (known ?? add(key, this.#newTarget(durableReference))).activator;
  }

  oneShot(reference: ContainerReference): OneShot {
    const key = containerKey(reference);
    const known = this.#oneShots.get(key);
    if (known !== undefined) return known;
    const { observer, leasesOf } = this.#options;
    const target = this.#newTarget(reference);
    // A one-shot leases its dependencies only while it runs, for a dependent that is in use.
    const usage = new Usage();
    usage.addClient();
    const dependencies = leasesOf(target, { name: target.name, kind: "dependent", usage });
    const oneShot = new OneShot({ target, dependencies, observer });
    this.#oneShots.set(key, oneShot);
    return oneShot;
  }

  /** Returns the target that owns a container, perhaps by another reference. */
  async #ownerOf(id: string, signal: AbortSignal): Promise<TargetEntry | undefined> {
    for (const entry of this.#options.entries.values()) {
      if (entry.target instanceof ContainerTarget && (await entry.target.isOwnerOf(id, signal))) return entry;
    }
    return undefined;
  }

  #newTarget(reference: ContainerReference): ContainerTarget {
    return createUnnamedTarget(reference, this.#options.engine, this.#options.observer);
  }
}

function isId(reference: ContainerReference): boolean {
  return "name" in reference && /^[0-9a-f]{64}$/.test(reference.name);
}

function referenceTo({ name, project, composeService }: ContainerFacts): ContainerReference {
  return project === undefined || composeService === undefined ? { name } : { service: composeService, project };
}
