/** What the target of a service needs: what the configuration says, and what compose has written on its container. */
import type { Activator } from "../activation/activator.ts";
import type { Dependency, DependencyLease } from "../activation/dependency-leases.ts";
import type { Holder, Lease } from "../activation/lease.ts";
import type { OneShot } from "../activation/one-shot.ts";
import type { Target } from "../activation/target.ts";
import type { ContainerReference } from "../config/config.ts";
import { describeReference } from "../config/describe.ts";
import type { Condition, ContainerFacts } from "../docker/container-facts.ts";
import { TargetError } from "../errors.ts";
import { healthyProbe } from "../readiness/healthy.ts";
import { ContainerTarget } from "../targets/container.ts";
import type { Observer } from "../telemetry/observer.ts";

/** Who can wake what is depended on. */
export interface ActivatorLookup {
  /** @throws TargetError when there is no such service */
  ofService(name: string): Activator;
  /** "own" for the container that wakeport runs in or whose network it uses, which is always up. */
  ofContainer(reference: ContainerReference, signal: AbortSignal): Promise<Activator | "own" | "missing">;
  oneShot(reference: ContainerReference): OneShot;
}

export class DependencyResolver {
  readonly #wakers: ActivatorLookup;
  /** What each target, by name, was last seen to depend on: a circle would wait for itself. */
  readonly #edges = new Map<string, readonly string[]>();

  /** Reported missing dependencies, each with its dependent. */
  readonly #missing = new Set<string>();
  readonly #onWarning: Observer["warning"];

  constructor(wakers: ActivatorLookup, onWarning: Observer["warning"]) {
    this.#wakers = wakers;
    this.#onWarning = onWarning;
  }

  /**
   * Tells what a target depends on at this moment.
   *
   * @param holder the target, as the holder of claims on its dependencies
   * @param services names of services of the configuration that it depends on
   * @throws TargetError "invalid" for a circle; what the engine's calls throw
   */
  async of(target: Target, holder: Holder, services: readonly string[], signal: AbortSignal): Promise<Dependency[]> {
    const configured = services.map((name) => this.#ready(holder, this.#wakers.ofService(name)));
    const compose = target instanceof ContainerTarget ? await this.#ofContainer(target, holder, signal) : [];
    // Where both name the same one, compose's condition asks for more.
    const all = new Map([...configured, ...compose].map((dependency) => [dependency.name, dependency]));
    all.delete(target.name);
    this.#edges.set(target.name, [...all.keys()]);
    this.#refuseCircle(target.name);
    return [...all.values()];
  }

  /** Targets that are woken together with a target, which does not wait for them. */
  companions(holder: Holder, activators: readonly Activator[]): Dependency[] {
    return activators.map((activator) => this.#ready(holder, activator));
  }

  async #ofContainer(target: ContainerTarget, holder: Holder, signal: AbortSignal): Promise<Dependency[]> {
    const facts = await target.findStartable(signal);
    const { project, dependsOn, links } = facts;
    const linked = links.map(async ({ to }) => {
      const activator = await this.#wakers.ofContainer({ name: to }, signal);
      // The start itself fails, with a remedy, if a namespace is missing. Volumes outlive their container.
      return typeof activator === "string" ? [] : this.#ready(holder, activator);
    });
    const ordered = dependsOn.map(async ({ service, condition }) => {
      if (project === undefined) return [];
      const reference = { service, project };
      if (condition === "service_completed_successfully") return this.#completed(facts, reference);
      const activator = await this.#wakers.ofContainer(reference, signal);
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

  /** Ready as its own services say; and healthy, where that is asked for. */
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
          // One that went down may be back, by its restart policy.
          if (signal.aborted || !lease.signal.aborted || !(await comesBack(target, signal))) throw error;
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

  /** A result that is older than the container that needs it is none. */
  #completed({ createdAt }: ContainerFacts, reference: ContainerReference): Dependency {
    const oneShot = this.#wakers.oneShot(reference);
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

  #refuseCircle(name: string): void {
    const seen = new Set<string>();
    const visit = (one: string, way: readonly string[]): void => {
      if (way.length > 0 && one === name) {
        throw new TargetError("invalid", `containers depend on each other in a circle: ${[...way, one].join(" → ")}`, {
          remedy: 'one "depends_on" must go, in the configuration or in the compose file',
        });
      }
      // Each once: there may be very many ways through a few containers.
      if (seen.has(one)) return;
      seen.add(one);
      for (const other of this.#edges.get(one) ?? []) visit(other, [...way, one]);
    };
    visit(name, []);
  }
}

async function comesBack(target: Target, signal: AbortSignal): Promise<boolean> {
  const status = await target.inspect(signal);
  return status.up || status.comesBack === true;
}
