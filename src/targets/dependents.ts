import { type ContainerFacts, type ContainerLink, dependsOn } from "../docker/container-facts.ts";
import type { Engine } from "../docker/engine.ts";
import { TargetError } from "../errors.ts";
import type { Dependent } from "./stop-rule.ts";

/** Dependencies that are fixed when a container is created. */
type Fixed = Pick<ContainerFacts, "id" | "name" | "project" | "composeService" | "dependsOn" | "links" | "upperDir">;

export interface RunningDependent extends Dependent, Pick<ContainerFacts, "id" | "upperDir"> {
  readonly isPaused: boolean;
  /** Whether it uses a namespace of the other container, which ends with each stop of that container. */
  readonly sharesNamespace: boolean;
}

/** How a container needs another one. */
type Need = Pick<RunningDependent, "how" | "sharesNamespace">;

const HOW: Readonly<Record<ContainerLink["by"], string>> = {
  network: "uses its network",
  "IPC namespace": "uses its IPC namespace",
  "PID namespace": "uses its PID namespace",
  volumes: "uses its volumes",
};

/** Finds the running containers that need a container, whether a service names them or not. */
export class Dependents {
  readonly #engine: Engine;
  /** The running containers, by id. Dependencies of a container never change, so each is inspected once. */
  #known: ReadonlyMap<string, Fixed> = new Map();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /**
   * Finds the running containers that depend on `container`. Empty if the engine's proxy refuses the list.
   *
   * @throws TargetError
   */
  async of(container: ContainerFacts, signal: AbortSignal): Promise<readonly RunningDependent[]> {
    const running = await this.#engine.listRunning(signal).catch(noneIfDenied);
    const inspected = (id: string): Fixed | Promise<Fixed | undefined> =>
      id === container.id ? container : (this.#known.get(id) ?? this.#inspect(id, signal));
    const found = await Promise.all(running.map(({ id }) => inspected(id)));
    this.#known = new Map(found.flatMap((one) => (one === undefined ? [] : [[one.id, one]])));
    return running.flatMap(({ id, isPaused }) => {
      const other = id === container.id ? undefined : this.#known.get(id);
      const need = other && needOf(other, container);
      return need === undefined ? [] : [{ ...other, ...need, id, isPaused, name: other?.name ?? id }];
    });
  }

  /** Returns undefined for a container that was removed meanwhile. */
  async #inspect(id: string, signal: AbortSignal): Promise<Fixed | undefined> {
    try {
      return await this.#engine.inspect(id, signal);
    } catch (error) {
      if (error instanceof TargetError && (error.fault === "missing" || error.fault === "denied")) return undefined;
      throw error;
    }
  }
}

/** Returns undefined if `one` does not need `other`. */
function needOf(one: Fixed, other: ContainerFacts): Need | undefined {
  const links = one.links.filter(({ to }) => to === other.id || to === other.name);
  const link = links.find(({ by }) => by !== "volumes") ?? links[0];
  if (link !== undefined) return { how: HOW[link.by], sharesNamespace: link.by !== "volumes" };
  return dependsOn(one, other) ? { how: "depends on it", sharesNamespace: false } : undefined;
}

/** The refusal itself is reported by the engine. */
function noneIfDenied(error: unknown): [] {
  if (error instanceof TargetError && error.fault === "denied") return [];
  throw error;
}
