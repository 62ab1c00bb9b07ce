import type { Activator } from "../activation/activator.ts";
import type { Dependency, DependencyLease } from "../activation/dependency-leases.ts";
import type { Holder, Lease } from "../activation/lease.ts";
import type { OneShot } from "../activation/one-shot.ts";
import type { Target } from "../activation/target.ts";
import type { ContainerReference } from "../config/config.ts";
import { describeReference } from "../config/describe-target.ts";
import type { Condition, ContainerFacts } from "../docker/container-facts.ts";
import { TargetError } from "../errors.ts";
import { healthyProbe } from "../readiness/healthy.ts";
import { ContainerTarget } from "../targets/container.ts";
import type { Observer } from "../telemetry/observer.ts";

/** Finds the activators of dependencies. */
export interface ActivatorLookup {
  /** @throws TargetError if the service does not exist */
  ofService(name: string): Activator;
  /** "own" for the container that wakeport runs in or whose network it uses, which is always up. */
  ofContainer(reference: ContainerReference, signal: AbortSignal): Promise<Activator | "own" | "missing">;
  oneShot(reference: ContainerReference): OneShot;
}

/** Resolves what a target depends on: services in the configuration, and `depends_on` and links of compose. */
export class DependencyResolver {
  readonly #lookup: ActivatorLookup;
  /** The last known dependencies of each target, by name, to find circles. */
  readonly #edges = new Map<string, readonly string[]>();

  /** Reported missing dependencies, each with its dependent. */
  readonly #missing = new Set<string>();
  readonly #onWarning: Observer["warning"];

  constructor(lookup: ActivatorLookup, onWarning: Observer["warning"]) {
    this.#lookup = lookup;
    this.#onWarning = onWarning;
  }

  /**
   * Returns the current dependencies of a target.
   *
   * @param holder the target as the holder of leases on its dependencies
   * @param services names of the services that the target depends on in the configuration
   * @throws TargetError, "invalid" for a circle
   */
  async of(target: Target, holder: Holder, services: readonly string[], signal: AbortSignal): Promise<Dependency[]> {
    const configured = services.map((name) => this.#ready(holder, this.#lookup.ofService(name)));
    const compose = target instanceof ContainerTarget ? await this.#ofContainer(target, holder, signal) : [];
    // If both name the same dependency, the one from compose counts: its condition is stricter.
    const all = new Map([...configured, ...compose].map((dependency) => [dependency.name, dependency]));
    all.delete(target.name);
    this.#edges.set(target.name, [...all.keys()]);
    this.#rejectCircle(target.name);
    return [...all.values()];
  }

  /** Returns targets that are woken together with a target. The target does not wait for them. */
  companions(holder: Holder, activators: readonly Activator[]): Dependency[] {
    return activators.map((activator) => this.#ready(holder, activator));
  }

  async #ofContainer(target: ContainerTarget, holder: Holder, signal: AbortSignal): Promise<Dependency[]> {
    const facts = await target.findStartable(signal);
    const { project, dependsOn, links } = facts;
    const linked = links.map(async ({ to }) => {
      const activator = await this.#lookup.ofContainer({ name: to }, signal);
      // The start itself fails, with a remedy, if a namespace is missing. Volumes outlive their container.
      return typeof activator === "string" ? [] : this.#ready(holder, activator);
    });
    const ordered = dependsOn.map(async ({ service, condition }) => {
      if (project === undefined) return [];
      const reference = { service, project };
      if (condition === "service_completed_successfully") return this.#completed(facts, reference);
      const activator = await this.#lookup.ofContainer(reference, signal);
      if (activator === "missing") this.#warnOfMissing(target, reference);
      return typeof activator === "string" ? [] : this.#ready(holder, activator, condition);
    });
    return (await Promise.all([...linked, ...ordered])).flat();
  }

  /** The label of compose does not show which dependencies are optional (`required: false`). */
  #warnOfMissing(target: Target, reference: ContainerReference): void {
    const missing = describeReference(reference);
    const key = `${target.name} ${missing}`;
    if (this.#missing.has(key)) return;
    this.#missing.add(key);
    this.#onWarning(
      "target.dependency_missing",
      `${target.name} depends on ${missing}, which does not exist: started without it; ` +
        "if it is needed, create it (docker compose up --no-start)",
    );
  }

  /** Returns a dependency that waits until the target is ready, and healthy if compose requires that. */
  #ready(holder: Holder, activator: Activator, condition?: Condition): Dependency {
    const { target } = activator;
    const acquire = (signal: AbortSignal): Promise<Lease> => activator.acquire(signal, holder);
    const healthy = async (signal: AbortSignal): Promise<Lease> => {
      for (;;) {
        const lease = await acquire(signal);
        try {
          await healthyProbe(target).check({ address: "" }, AbortSignal.any([signal, lease.signal]));
          return lease;
        } catch (error) {
          lease[Symbol.dispose]();
          // Its restart policy may start it again.
          if (signal.aborted || !lease.signal.aborted || !(await isUpOrRestarting(target, signal))) throw error;
        }
      }
    };
    return {
      name: target.name,
      acquire: condition === "service_healthy" ? healthy : acquire,
      join: (signal) => activator.join(signal, holder),
      beforeHolderSleeps: () => activator.beforeDependentSleeps(),
    };
  }

  /** Returns a dependency that waits for a successful run since the dependent was created. */
  #completed({ createdAt }: ContainerFacts, reference: ContainerReference): Dependency {
    const oneShot = this.#lookup.oneShot(reference);
    const done: DependencyLease = { [Symbol.dispose]: () => {} };
    return {
      name: oneShot.target.name,
      acquire: async (signal) => {
        await oneShot.done(Date.parse(createdAt), signal);
        return done;
      },
      join: () => Promise.resolve(done),
    };
  }

  #rejectCircle(name: string): void {
    const visited = new Set<string>();
    const visit = (one: string, path: readonly string[]): void => {
      if (path.length > 0 && one === name) {
        throw new TargetError("invalid", `containers depend on each other in a circle: ${[...path, one].join(" → ")}`, {
          remedy: 'remove one "depends_on" from the configuration or the compose file',
        });
      }
      // Visit each target once: even a few containers can have very many paths.
      if (visited.has(one)) return;
      visited.add(one);
      for (const other of this.#edges.get(one) ?? []) visit(other, [...path, one]);
    };
    visit(name, []);
  }
}

async function isUpOrRestarting(target: Target, signal: AbortSignal): Promise<boolean> {
  const status = await target.inspect(signal);
  return status.up || status.isRestarting === true;
}
