/** Recognizes the containers that wakeport itself needs: its own, the one whose network it uses, the engine's proxy. */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { abortable } from "../async/wait.ts";
import type { ContainerFacts } from "./container-facts.ts";
import type { Engine } from "./engine.ts";
import type { EngineHost } from "./host.ts";
import { type OwnContainer, readMounts } from "./own-container.ts";

/** A mount of one of these folders contains the engine's socket, but does not provide it. */
const COMMON_FOLDERS: ReadonlySet<string> = new Set(["/", "/run", "/var", "/var/run", "/tmp", "/mnt", "/srv", "/home"]);
const SOCKET_FILE = /\.sock$/;

export class OwnDependencies {
  readonly #engine: Engine;
  readonly #own: OwnContainer;

  constructor(engine: Engine, own: OwnContainer) {
    this.#engine = engine;
    this.#own = own;
  }

  /**
   * Returns why wakeport needs a running container ("runs in it"), or undefined if it does not need it.
   *
   * @throws TargetError if the engine does not answer
   */
  async needFor(container: ContainerFacts, signal: AbortSignal): Promise<string | undefined> {
    if (await this.#own.isSelf(container, signal)) return "runs in it";
    const own = await this.#own.known(signal);
    if (own?.id === container.id) return "uses its network";
    const { host } = this.#engine;
    const isProxy =
      host.socketPath === undefined
        ? await listensAt(host, container, own, signal)
        : providesSocket(host.socketPath, container, await readMounts());
    return isProxy ? "reaches the engine through it" : undefined;
  }
}

/**
 * Returns whether a container mounts the folder of the engine's socket, and so may provide it. A container that mounts
 * the socket itself is a client of the engine.
 */
export function providesSocket(
  socketPath: string,
  { mounts }: Pick<ContainerFacts, "mounts">,
  mountinfo: string,
): boolean {
  const folder = mountedFolderOf(socketPath, mountinfo);
  if (folder !== undefined) return mounts.some(({ source }) => source.endsWith(folder));
  return mounts.some(({ source }) => !COMMON_FOLDERS.has(source) && socketPath.startsWith(`${source}/`));
}

/** Returns the source of the mount that contains a path; undefined in the root file system. */
function mountedFolderOf(path: string, mountinfo: string): string | undefined {
  const mounts = mountinfo.split("\n").map((line) => line.split(" "));
  const containing = mounts.filter(([, , , , point = ""]) => point !== "/" && path.startsWith(`${point}/`));
  const [closest] = containing.toSorted(([, , , , a = ""], [, , , , b = ""]) => b.length - a.length);
  const source = closest?.[3];
  return source === undefined || COMMON_FOLDERS.has(source) ? undefined : source;
}

async function listensAt(
  { host = "", port }: EngineHost,
  container: ContainerFacts,
  own: ContainerFacts | undefined,
  signal: AbortSignal,
): Promise<boolean> {
  if (port !== undefined && container.publishedPorts.includes(port)) return true;
  const addresses = await addressesOf(host, signal);
  if (container.networks.some(({ ipv4, ipv6 }) => addresses.has(ipv4 ?? "") || addresses.has(ipv6 ?? ""))) return true;
  const isNeighbour = container.networkMode === "host" || (own !== undefined && container.networkOf === own.id);
  return isNeighbour && container.mounts.some(({ source }) => SOCKET_FILE.test(source));
}

/** Empty if the name cannot be resolved. Then no request reaches the engine, so nothing is stopped. */
async function addressesOf(host: string, signal: AbortSignal): Promise<ReadonlySet<string>> {
  if (isIP(host) !== 0) return new Set([host]);
  const found = await abortable(
    lookup(host, { all: true }).catch(() => []),
    signal,
  );
  return new Set(found.map(({ address }) => address));
}
