import type { ContainerFacts } from "../engine/container-facts.ts";
import type { Essentials } from "../engine/essentials.ts";
import type { OwnContainer } from "../engine/own-container.ts";
import type { Dependents } from "./dependents.ts";
import { reasonsAgainstStop, type Standing } from "./stop-rule.ts";

export interface StopGuardOptions {
  readonly own: OwnContainer;
  readonly essentials: Essentials;
  readonly dependents: Dependents;
  /** The containers of wakeport's targets, by id. */
  readonly owners: ReadonlyMap<string, unknown>;
}

/** Gathers what the rule about stops (stop-rule.ts) asks for, at the moment of the question. */
export class StopGuard {
  readonly #options: StopGuardOptions;

  constructor(options: StopGuardOptions) {
    this.#options = options;
  }

  /**
   * Returns why a container must not be stopped now; empty when it may be, or is down.
   *
   * @throws TargetError when the engine cannot tell
   */
  async reasonsAgainstStop(
    container: ContainerFacts,
    standing: Standing,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    if (!container.isRunning) return [];
    const { essentials, dependents, own, owners } = this.#options;
    const [essential, running] = await Promise.all([
      essentials.needFor(container, signal),
      dependents.of(container, signal),
    ]);
    // A target that sleeps by a pause is woken through wakeport.
    const needing = running.filter(({ id, isPaused }) => !(isPaused && owners.has(id)));
    // wakeport itself does not use what compose starts before it.
    const isSelf = await Promise.all(needing.map((one) => own.isSelf(one, signal)));
    const others = needing.filter((_, index) => !isSelf[index]);
    return reasonsAgainstStop({ standing, essential, isAutoRemoved: container.isAutoRemoved, dependents: others });
  }
}
