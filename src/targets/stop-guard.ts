import type { ContainerFacts } from "../docker/container-facts.ts";
import type { OwnContainer } from "../docker/own-container.ts";
import type { OwnDependencies } from "../docker/own-dependencies.ts";
import type { Dependents } from "./dependents.ts";
import { reasonsAgainstStop, type Standing } from "./stop-rule.ts";

export interface StopGuardOptions {
  readonly own: OwnContainer;
  readonly ownDependencies: OwnDependencies;
  readonly dependents: Dependents;
  /** Containers of wakeport's targets, by id. */
  readonly owners: ReadonlyMap<string, unknown>;
}

/** Collects the facts for the stop rule (stop-rule.ts). */
export class StopGuard {
  readonly #options: StopGuardOptions;

  constructor(options: StopGuardOptions) {
    this.#options = options;
  }

  /**
   * Returns why a container must not be stopped now; empty if it may be stopped, or is down.
   *
   * @param keepsNamespaces whether a paused target needs the namespaces that it shares with the container
   * @throws TargetError if the engine does not answer
   */
  async reasonsAgainstStop(
    container: ContainerFacts,
    standing: Standing,
    signal: AbortSignal,
    keepsNamespaces: boolean = false,
  ): Promise<readonly string[]> {
    if (!container.isRunning) return [];
    const { ownDependencies, dependents, own, owners } = this.#options;
    const [essential, running] = await Promise.all([
      ownDependencies.needFor(container, signal),
      dependents.of(container, signal),
    ]);
    // A paused target does not run: wakeport wakes it, and its dependencies first.
    const needing = running.filter(({ id, isPaused, sharesNamespace }) => {
      return !isPaused || !owners.has(id) || (keepsNamespaces && sharesNamespace);
    });
    // wakeport does not use the containers that it depends on in compose.
    const isSelf = await Promise.all(needing.map((one) => own.isSelf(one, signal)));
    const others = needing.filter((_, index) => !isSelf[index]);
    return reasonsAgainstStop({ standing, essential, isAutoRemoved: container.isAutoRemoved, dependents: others });
  }
}
