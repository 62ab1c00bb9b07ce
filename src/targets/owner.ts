import { hostname } from "node:os";
import path from "node:path";
import type { OwnContainer } from "../docker/own-container.ts";
import { TargetError } from "../errors.ts";

export interface OwnerOptions {
  readonly own: OwnContainer;
  /** The configuration's file. */
  readonly source: string;
  /** As the configuration has it. */
  readonly project: string | undefined;
}

/**
 * Who this wakeport is, for the containers that it makes: the same after a restart, and another one than any other
 * wakeport of the same engine. In a container that is its place in its compose project, or else its name; on a host the
 * file of its configuration.
 */
export class Owner {
  readonly #options: OwnerOptions;

  constructor(options: OwnerOptions) {
    this.#options = options;
  }

  /** For a label. @throws TargetError when the engine cannot tell */
  async name(signal: AbortSignal): Promise<string> {
    const { own, source } = this.#options;
    const container = await own.known(signal);
    if (container === undefined) return `host:${hostname()}:${path.resolve(source)}`;
    const { project, composeService, name } = container;
    return project === undefined ? `container:${name}` : `compose:${project}/${composeService ?? name}`;
  }

  /** What the container of a service is called. @throws TargetError when the engine cannot tell */
  async containerName(service: string, signal: AbortSignal): Promise<string> {
    const project = this.#options.project ?? (await this.#options.own.known(signal))?.project;
    return project === undefined ? `wakeport-${service}` : `${project}-${service}-wakeport`;
  }

  /**
   * The networks that a container has to be in, by their full names; none: the engine's default one.
   *
   * @param wanted as the configuration names them; none: the one that wakeport itself is in
   * @throws TargetError where wakeport is in several, or the engine cannot tell
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
      remedy: `say in which of them the container shall be: networks: [${known[0]}]`,
    });
  }
}
