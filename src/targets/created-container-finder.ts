import { type CreatedContainerFacts, isSealed } from "../docker/created-containers.ts";
import type { Engine } from "../docker/engine.ts";
import { TargetError } from "../errors.ts";
import type { ContainerOwner } from "./container-owner.ts";
import type { TargetObserver } from "./reports.ts";

export interface CreatedContainerFinderOptions {
  readonly engine: Engine;
  readonly owner: ContainerOwner;
  readonly observer: TargetObserver;
}

/** Finds the containers that this wakeport created. Others with the same labels are reported. */
export class CreatedContainerFinder {
  readonly #options: CreatedContainerFinderOptions;
  /** Image of each listed container, by id. It never changes. */
  #images: ReadonlyMap<string, string> = new Map();
  /** Ids of reported containers with copied labels. */
  readonly #reported = new Set<string>();

  constructor(options: CreatedContainerFinderOptions) {
    this.#options = options;
  }

  /** Lists them, newest first, including stopped ones. @throws TargetError */
  async find(signal: AbortSignal): Promise<readonly CreatedContainerFacts[]> {
    const { engine, owner } = this.#options;
    const labelled = await engine.findCreated(await owner.name(signal), signal);
    const images = await Promise.all(
      labelled.map(async (one) => this.#images.get(one.id) ?? (await this.#imageOf(one, signal))),
    );
    this.#images = new Map(
      labelled.flatMap(({ id }, index) => (images[index] === undefined ? [] : [[id, images[index]]])),
    );
    return labelled.filter((one, index) => {
      const image = images[index];
      const isOurs = image !== undefined && isSealed(one, image);
      if (image !== undefined && !isOurs) this.#report(one);
      return isOurs;
    });
  }

  /** Returns undefined for a container that was removed meanwhile. */
  async #imageOf({ id }: CreatedContainerFacts, signal: AbortSignal): Promise<string | undefined> {
    try {
      return (await this.#options.engine.inspect(id, signal)).image;
    } catch (error) {
      if (error instanceof TargetError && error.fault === "missing") return undefined;
      throw error;
    }
  }

  #report({ id, name, service }: CreatedContainerFacts): void {
    if (this.#reported.has(id)) return;
    this.#reported.add(id);
    const message =
      `container ${name} has the labels of the container that wakeport created for service "${service}", but ` +
      "another name or image: ignored; remove it, or its labels wakeport.*";
    this.#options.observer.warning("container.foreign", message);
  }
}
