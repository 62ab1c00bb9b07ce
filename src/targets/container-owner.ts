import { hostname } from "node:os";
import path from "node:path";
import type { OwnContainer } from "../docker/own-container.ts";
import { TargetError } from "../errors.ts";

export interface ContainerOwnerOptions {
  readonly own: OwnContainer;
  /** File name of the configuration. */
  readonly source: string;
  /** The key `docker.project`. */
  readonly project: string | undefined;
}

/**
 * Identifies this wakeport as the owner of the containers that it creates. The name survives a restart and differs from
 * that of any other wakeport of the same engine.
 */
export class ContainerOwner {
  readonly #options: ContainerOwnerOptions;

  constructor(options: ContainerOwnerOptions) {
    this.#options = options;
  }

  /**
   * Returns the name for a label: in a container, the compose service or the name of the container; on a host, the file of
   * the configuration.
   *
   * @throws TargetError
   */
  async name(signal: AbortSignal): Promise<string> {
    const { own, source } = this.#options;
    const container = await own.known(signal);
    if (container === undefined) return `host:${hostname()}:${path.resolve(source)}`;
    const { project, composeService, name } = container;
    return project === undefined ? `container:${name}` : `compose:${project}/${composeService ?? name}`;
  }

  /** Returns the name for the container of a service. @throws TargetError */
  async containerName(service: string, signal: AbortSignal): Promise<string> {
    const project = this.#options.project ?? (await this.#options.own.known(signal))?.project;
    return project === undefined ? `wakeport-${service}` : `${project}-${service}-wakeport`;
  }

  /**
   * Returns the full names of a container's networks; empty for the engine's default network.
   *
   * @param wanted names in the configuration; empty for the network of wakeport itself
   * @throws TargetError if wakeport is in several networks and none is configured
   */
  async networks(wanted: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
    const container = await this.#options.own.known(signal);
    const known = (container?.networks ?? []).map(({ name }) => name);
    const project = this.#options.project ?? container?.project;
    if (wanted.length > 0) {
      return wanted.map((name) => (known.includes(`${project}_${name}`) ? `${project}_${name}` : name));
    }
    if (known.length <= 1) return known;
    throw new TargetError("invalid", `wakeport is in several networks: ${known.join(", ")}`, {
      remedy: `choose the networks of the container: networks: [${known[0]}]`,
    });
  }
}
