import { readFile } from "node:fs/promises";
import type { ContainerFacts } from "./container-facts.ts";
import type { Engine } from "./engine.ts";

/**
 * Docker and Podman mount these three files into each container, from a folder with the container's id as its name:
 * `…/containers/ID/hostname`, `…/overlay-containers/ID/userdata/hostname`.
 */
const MOUNT =
  /[/-]containers\/([0-9a-f]{64})\/(?:userdata\/)?(?:resolv\.conf|hostname|hosts) \/etc\/(?:resolv\.conf|hostname|hosts) /;

/**
 * Returns the id of the container in which this process runs, or undefined on the host. In a container that uses the
 * network of another container, Docker mounts the files of the other one, so its id is returned.
 *
 * @param mountinfo content of /proc/self/mountinfo
 */
export function containerIdIn(mountinfo: string): string | undefined {
  return MOUNT.exec(mountinfo)?.[1];
}

/** Returns the upper directory of the root file system, or undefined if it is not an overlay. */
export function upperDirIn(mountinfo: string): string | undefined {
  return /^\d+ \d+ \S+ \S+ \/ .* - overlay \S+ (?:\S*,)?upperdir=([^,\s]+)/m.exec(mountinfo)?.[1];
}

/** Returns the content of /proc/self/mountinfo, or an empty string if it cannot be read. */
export function readMounts(): Promise<string> {
  return readFile("/proc/self/mountinfo", "utf8").catch(() => "");
}

/** The container in which wakeport runs, or whose network it uses. */
export class OwnContainer {
  readonly #engine: Engine;
  #facts: ContainerFacts | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /**
   * Inspects it. Returns undefined if wakeport runs on the host or in a container of another engine.
   *
   * @throws TargetError
   */
  async inspect(signal: AbortSignal): Promise<ContainerFacts | undefined> {
    const id = containerIdIn(await readMounts());
    if (id === undefined) return undefined;
    this.#facts = await this.#engine.inspect(id, signal).catch((error) => {
      if (error.fault === "missing") return undefined;
      throw error;
    });
    return this.#facts;
  }

  /** Whether wakeport runs in this container or uses its network. @throws TargetError */
  async isOwn(container: ContainerFacts, signal: AbortSignal): Promise<boolean> {
    return (await this.known(signal))?.id === container.id || this.isSelf(container, signal);
  }

  /** Whether wakeport runs in this container, as opposed to using its network. @throws TargetError */
  async isSelf({ id, upperDir }: Pick<ContainerFacts, "id" | "upperDir">, signal: AbortSignal): Promise<boolean> {
    const own = upperDirIn(await readMounts());
    // Without an upper directory the two cases cannot be distinguished.
    return own === undefined ? (await this.known(signal))?.id === id : own === upperDir;
  }

  /** Returns the result of the last inspection, or of a first one. @throws TargetError */
  async known(signal: AbortSignal): Promise<ContainerFacts | undefined> {
    return this.#facts ?? this.inspect(signal);
  }
}
