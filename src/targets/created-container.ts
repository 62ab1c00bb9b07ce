import type { SleepAction, Target, TargetStatus, UseMoment } from "../activation/target.ts";
import type { CreatedSpec } from "../config/config.ts";
import { type CreatedContainerFacts, type CreateRequest, createRequestOf } from "../docker/created-containers.ts";
import { isNetworkMissing } from "../docker/faults.ts";
import type { Pulls } from "../docker/pulls.ts";
import { sentenceOf, TargetError } from "../errors.ts";
import { ContainerTarget } from "./container.ts";
import type { ContainerOptions } from "./container-options.ts";
import type { ContainerOwner } from "./container-owner.ts";
import type { CreatedContainerFinder } from "./created-container-finder.ts";

export interface CreatedContainerOptions extends Omit<ContainerOptions, "reference" | "prepare"> {
  /** The service for which it is created. Each service has its own container. */
  readonly service: string;
  readonly spec: CreatedSpec;
  readonly owner: ContainerOwner;
  readonly createdContainers: CreatedContainerFinder;
  readonly pulls: Pulls;
}

/**
 * A container that wakeport creates from an image when it is needed. A missing image is pulled. The container is removed
 * after a stop if the configuration requires that.
 */
export class CreatedContainer implements Target {
  readonly name: string;
  #options: CreatedContainerOptions;
  readonly #container: ContainerTarget;
  #isPulling = false;
  /** Pending reads of its log. A removal waits for them. */
  #pendingReads: Promise<void> | undefined;

  constructor(options: CreatedContainerOptions) {
    this.#options = options;
    this.name = options.name;
    const { service } = options;
    const find = async (signal: AbortSignal): Promise<string | undefined> => (await this.#find(signal))?.id;
    const prepare = (signal: AbortSignal): Promise<void> => this.#createIfNeeded(signal);
    this.#container = new ContainerTarget({ ...options, reference: { createdFor: service, find }, prepare });
  }

  /** Replaces the settings. A running container is recreated after its next sleep. */
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

  /** Reports a container that does not exist as down, because `start` creates it. */
  async inspect(signal: AbortSignal): Promise<TargetStatus> {
    const status = await this.#container.inspect(signal);
    return status.up || status.missing === undefined ? status : { up: false, exit: { stopRequested: true } };
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
    await this.#pendingReads;
    const { engine, onWarning } = this.#options;
    try {
      const found = await this.#find(signal);
      if (found?.isDown) await engine.remove(found, signal);
    } catch (error) {
      // The stop itself succeeded. The next start removes the container.
      if (!(error instanceof TargetError)) throw error;
      if (error.fault !== "conflict")
        onWarning("container.not_removed", `${this.name} is down, but not removed: ${sentenceOf(error)}`);
    }
  }

  lastLines(signal: AbortSignal, limit?: number): Promise<readonly string[]> {
    const lines = this.#container.lastLines(signal, limit);
    const others = this.#pendingReads;
    this.#pendingReads = lines.then(() => others);
    return lines;
  }

  async follow(incarnation: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    await this.#container.follow(incarnation, onLine, signal);
  }

  watch(onChange: () => void): Disposable {
    return this.#container.watch(onChange);
  }

  /** Returns undefined if this wakeport has not created the container. */
  async #find(signal: AbortSignal): Promise<CreatedContainerFacts | undefined> {
    const { createdContainers, service } = this.#options;
    return (await createdContainers.find(signal)).find((one) => one.service === service);
  }

  /** Creates the container, or recreates it if its configuration changed. */
  async #createIfNeeded(signal: AbortSignal): Promise<void> {
    const { engine, spec } = this.#options;
    const found = await this.#find(signal);
    // A running container is recreated only after its next sleep.
    if (found !== undefined && !found.isDown) return;
    const request = await this.#request(signal);
    if (found !== undefined && (spec.remove || found.spec !== request.spec)) {
      await engine.remove(found, signal);
    } else if (found !== undefined) return this.#connect(found, found.networks, request, signal);
    const id = (await engine.create(request, signal)) ?? (await this.#createAfterPull(request, signal));
    await this.#connect({ id, name: request.name }, request.networks.slice(0, 1), request, signal);
  }

  async #request(signal: AbortSignal): Promise<CreateRequest> {
    const { owner, spec, service } = this.#options;
    const [ownerName, name, networks] = await Promise.all([
      owner.name(signal),
      owner.containerName(service, signal),
      owner.networks(spec.networks, signal),
    ]);
    return createRequestOf(name, spec, networks, { owner: ownerName, service });
  }

  async #createAfterPull(request: CreateRequest, signal: AbortSignal): Promise<string> {
    const { engine, pulls } = this.#options;
    const { image } = request;
    this.#isPulling = true;
    await pulls.pull(image, signal).finally(() => {
      this.#isPulling = false;
    });
    const id = await engine.create(request, signal);
    if (id !== undefined) return id;
    throw new TargetError("missing", `image ${image} was pulled, but the engine does not have it`, {
      remedy: "check whether another program removes images on the engine's machine",
    });
  }

  /** Connects the container to the missing networks, also if wakeport was killed between creation and this step. */
  async #connect(
    container: Pick<CreatedContainerFacts, "id" | "name">,
    present: readonly string[],
    { networks }: CreateRequest,
    signal: AbortSignal,
  ): Promise<void> {
    for (const network of networks) {
      if (!present.includes(network)) await this.#options.engine.connect(container, network, signal);
    }
  }
}
