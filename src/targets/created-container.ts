/**
 * A container that is made when it is needed: of an image, which is pulled where it is missing, and removed when it is
 * stopped where the configuration says so. From then on, and until then, it is a container like another.
 */

import type { SleepAction, Target, TargetStatus, UseMoment } from "../activation/target.ts";
import type { CreatedSpec } from "../config/config.ts";
import { isNetworkMissing } from "../docker/faults.ts";
import { type Creation, creationOf, type ListedCreation } from "../docker/on-demand.ts";
import type { Pulls } from "../docker/pulls.ts";
import { TargetError } from "../errors.ts";
import { ContainerTarget } from "./container.ts";
import type { ContainerOptions } from "./container-options.ts";
import type { Creations } from "./creations.ts";
import type { Owner } from "./owner.ts";

export interface CreatedContainerOptions extends Omit<ContainerOptions, "reference" | "prepare"> {
  /** Whom it is made for: one container each. */
  readonly service: string;
  readonly spec: CreatedSpec;
  readonly owner: Owner;
  readonly creations: Creations;
  readonly pulls: Pulls;
}

export class CreatedContainer implements Target {
  readonly name: string;
  #options: CreatedContainerOptions;
  readonly #container: ContainerTarget;
  #isPulling = false;
  /** A Readings of its log, which a removal has to wait for. */
  #reading: Promise<void> | undefined;

  constructor(options: CreatedContainerOptions) {
    this.#options = options;
    this.name = options.name;
    const { service } = options;
    const find = async (signal: AbortSignal): Promise<string | undefined> => (await this.#find(signal))?.id;
    const prepare = (signal: AbortSignal): Promise<void> => this.#make(signal);
    this.#container = new ContainerTarget({ ...options, reference: { createdFor: service, find }, prepare });
  }

  /** From now on it is made, reached and put away like this; one that is awake is made anew when it has slept. */
  configure({ spec, network, graceMs }: Pick<CreatedContainerOptions, "spec" | "network" | "graceMs">): void {
    this.#options = { ...this.#options, spec, network, graceMs };
    this.#container.configure({ isNamed: true, requiredLabel: undefined, network, graceMs });
  }

  get graceMs(): number {
    return this.#container.graceMs;
  }

  get pending(): string | undefined {
    return this.#isPulling ? this.#options.pulls.describe(this.#options.spec.image) : undefined;
  }

  /** One that was not made yet is down, and so is one that was removed: both are there again when they are needed. */
  async inspect(signal: AbortSignal): Promise<TargetStatus> {
    const status = await this.#container.inspect(signal);
    return status.up || status.missing === undefined ? status : { up: false, exit: { wasAsked: true } };
  }

  async start(signal: AbortSignal): Promise<"started" | "already"> {
    try {
      return await this.#container.start(signal);
    } catch (error) {
      // Its network was removed while it slept (docker compose down). wakeport created it, so it can recreate it.
      const found = isNetworkMissing(error) ? await this.#find(signal) : undefined;
      if (found === undefined || !found.isDown) throw error;
      await this.#options.engine.remove(found, signal);
      return this.#container.start(signal);
    }
  }

  keptAwakeBy(trafficBytes: number | undefined, signal: AbortSignal, moment?: UseMoment): Promise<readonly string[]> {
    return this.#container.keptAwakeBy(trafficBytes, signal, moment);
  }

  async sleep(action: SleepAction, signal: AbortSignal): Promise<void> {
    await this.#container.sleep(action, signal);
    if (action === "pause" || !this.#options.spec.remove) return;
    await this.#reading;
    const { engine, onWarning } = this.#options;
    try {
      const found = await this.#find(signal);
      if (found?.isDown) await engine.remove(found, signal);
    } catch (error) {
      // It is down, and that is what was asked for. The next start removes it.
      if (!(error instanceof TargetError)) throw error;
      const why = [error.message, error.remedy].filter(Boolean).join(": ");
      if (error.fault !== "conflict")
        onWarning("container.not_removed", `${this.name} is down, but not removed: ${why}`);
    }
  }

  lastLines(signal: AbortSignal, most?: number): Promise<readonly string[]> {
    const lines = this.#container.lastLines(signal, most);
    const others = this.#reading;
    this.#reading = lines.then(() => others);
    return lines;
  }

  async follow(incarnation: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    await this.#container.follow(incarnation, onLine, signal);
  }

  watch(onChange: () => void): Disposable {
    return this.#container.watch(onChange);
  }

  /** The container as it is now; none that another wakeport, or somebody else, made. */
  async #find(signal: AbortSignal): Promise<ListedCreation | undefined> {
    const { creations, service } = this.#options;
    return (await creations.find(signal)).find((one) => one.service === service);
  }

  /** Sees to it that there is a container to start, and that it is as the configuration has it now. */
  async #make(signal: AbortSignal): Promise<void> {
    const { engine, spec } = this.#options;
    const found = await this.#find(signal);
    // One that is awake is left as it is until it sleeps.
    if (found !== undefined && !found.isDown) return;
    const creation = await this.#creation(signal);
    if (found !== undefined && (spec.remove || found.spec !== creation.spec)) {
      await engine.remove(found, signal);
    } else if (found !== undefined) return this.#connect(found, found.networks, creation, signal);
    const id = (await engine.create(creation, signal)) ?? (await this.#createOfPulled(creation, signal));
    await this.#connect({ id, name: creation.name }, creation.networks.slice(0, 1), creation, signal);
  }

  async #creation(signal: AbortSignal): Promise<Creation> {
    const { owner, spec, service } = this.#options;
    const [who, name, networks] = await Promise.all([
      owner.name(signal),
      owner.containerName(service, signal),
      owner.networks(spec.networks, signal),
    ]);
    return creationOf(name, spec, networks, { owner: who, service });
  }

  async #createOfPulled(creation: Creation, signal: AbortSignal): Promise<string> {
    const { engine, pulls } = this.#options;
    const { image } = creation;
    this.#isPulling = true;
    await pulls.pull(image, signal).finally(() => {
      this.#isPulling = false;
    });
    const id = await engine.create(creation, signal);
    if (id !== undefined) return id;
    throw new TargetError("missing", `image ${image} was pulled, and the engine does not have it`, {
      remedy: "does something remove images on the engine's machine?",
    });
  }

  /** Into those networks that it is not in yet: also when a wakeport was killed in between. */
  async #connect(
    container: Pick<ListedCreation, "id" | "name">,
    present: readonly string[],
    { networks }: Creation,
    signal: AbortSignal,
  ): Promise<void> {
    for (const network of networks) {
      if (!present.includes(network)) await this.#options.engine.connect(container, network, signal);
    }
  }
}
