import { readFile } from "node:fs/promises";
import type { ContainerFacts } from "./container-facts.ts";
import type { Engine } from "./engine.ts";

/**
 * Docker and Podman mount these three files of their own over the image's, from a folder named by the container's id:
 * `…/containers/ID/hostname`, `…/overlay-containers/ID/userdata/hostname`.
 */
const MOUNT =
  /[/-]containers\/([0-9a-f]{64})\/(?:userdata\/)?(?:resolv\.conf|hostname|hosts) \/etc\/(?:resolv\.conf|hostname|hosts) /;

/**
 * The container that this process runs in, from the text of /proc/self/mountinfo; undefined outside of one. Of a
 * container that uses another one's network Docker mounts the other one's files, so that is the one that is named:
 * right for addresses, and, within one compose project, for the project.
 */
export function containerIdIn(mountinfo: string): string | undefined {
  return MOUNT.exec(mountinfo)?.[1];
}

/** Upper directory of this process's root file system, as the engine names it; undefined outside of an overlay. */
export function upperDirIn(mountinfo: string): string | undefined {
  return /^\d+ \d+ \S+ \S+ \/ .* - overlay \S+ (?:\S*,)?upperdir=([^,\s]+)/m.exec(mountinfo)?.[1];
}

/** Content of /proc/self/mountinfo; empty if it cannot be read. */
export function readMounts(): Promise<string> {
  return readFile("/proc/self/mountinfo", "utf8").catch(() => "");
}

/** Knows the container that wakeport itself runs in, or whose network it uses. */
export class OwnContainer {
  readonly #engine: Engine;
  #facts: ContainerFacts | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /**
   * Looks at it: undefined when wakeport runs on the host, or in a container of some other engine.
   *
   * @throws TargetError when the engine cannot tell
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

  /** Whether wakeport runs in this container, as opposed to one whose network it uses. @throws TargetError */
  async isSelf({ id, upperDir }: Pick<ContainerFacts, "id" | "upperDir">, signal: AbortSignal): Promise<boolean> {
    const own = upperDirIn(await readMounts());
    // Without an upper directory the two cases cannot be distinguished.
    return own === undefined ? (await this.known(signal))?.id === id : own === upperDir;
  }

  /** What the last look told, or a first look. @throws TargetError */
  async known(signal: AbortSignal): Promise<ContainerFacts | undefined> {
    return this.#facts ?? this.inspect(signal);
  }
}
