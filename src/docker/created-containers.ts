/** Containers that wakeport creates: their labels, and the request that creates one. */
import { createHash } from "node:crypto";
import type { CreatedSpec } from "../config/config.ts";

/** Present on all containers that wakeport created. */
export const createdLabel: string = "wakeport.created";
const serviceLabel = "wakeport.service";
const specLabel = "wakeport.spec";
const sealLabel = "wakeport.seal";
/** The wakeport that created the container. */
export const ownerLabel = "wakeport.owner";

/** The engine counts processors in units of 10⁻⁹. */
const NANO = 1e9;

/** An entry of a list of containers that wakeport created. */
export interface CreatedContainerFacts {
  readonly id: string;
  readonly name: string;
  /** The service for which it was created. */
  readonly service: string;
  /** Hash of the specification with which it was created. */
  readonly spec: string;
  /** Whether it is neither running, paused nor restarting. */
  readonly isDown: boolean;
  readonly networks: readonly string[];
  readonly owner: string;
  readonly seal: string;
}

/** The wakeport and the service for which a container is created. */
export interface Origin {
  readonly owner: string;
  readonly service: string;
}

/** The request that creates a container. */
export interface CreateRequest {
  readonly name: string;
  readonly image: string;
  readonly spec: string;
  readonly body: object;
  /** Older engines connect a new container to the first of these only. */
  readonly networks: readonly string[];
}

/** Returns the request. @param networks full names; empty: the engine's default network */
export function createRequestOf(
  name: string,
  spec: CreatedSpec,
  networks: readonly string[],
  origin: Origin,
): CreateRequest {
  const [network] = networks;
  const isAnonymous = (volume: string): boolean => !volume.includes(":");
  const body = {
    Image: spec.image,
    Env: Object.entries(spec.env).map(([key, value]) => `${key}=${value}`),
    Volumes: Object.fromEntries(spec.volumes.filter(isAnonymous).map((path) => [path, {}])),
    ...(spec.command !== undefined && { Cmd: spec.command }),
    ...(spec.user !== undefined && { User: spec.user }),
    HostConfig: {
      Binds: spec.volumes.filter((volume) => !isAnonymous(volume)),
      ...(network !== undefined && { NetworkMode: network }),
      ...(spec.memoryBytes !== undefined && { Memory: spec.memoryBytes }),
      ...(spec.cpus !== undefined && { NanoCpus: Math.round(spec.cpus * NANO) }),
    },
  };
  const labels = {
    ...spec.labels,
    [createdLabel]: "1",
    [ownerLabel]: origin.owner,
    [serviceLabel]: origin.service,
  };
  const hash = createHash("sha256")
    .update(JSON.stringify([body, labels, networks]))
    .digest("hex")
    .slice(0, 16);
  const seal = sealOf({ name, spec: hash, ...origin }, spec.image);
  const all = { ...labels, [specLabel]: hash, [sealLabel]: seal };
  return { name, image: spec.image, spec: hash, networks, body: { ...body, Labels: all } };
}

/**
 * Whether the labels of a container were written for it. An image with LABEL, or `docker commit`, copies the labels, but
 * not the name and the image.
 *
 * @param image the image reference with which the container was created
 */
export function isSealed(container: CreatedContainerFacts, image: string): boolean {
  return container.seal === sealOf(container, image);
}

function sealOf(
  { name, owner, service, spec }: Pick<CreatedContainerFacts, "name" | "owner" | "service" | "spec">,
  image: string,
): string {
  const parts = [name, owner, service, spec, withoutDefaults(image)];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 32);
}

/** Podman adds the registry and the tag that Docker omits. */
function withoutDefaults(image: string): string {
  return image.replace(/^(docker\.io\/(library\/)?|localhost\/)/, "").replace(/:latest$/, "");
}

/** The used part of an entry of `GET /containers/json`. */
export interface RawListed {
  readonly Id: string;
  readonly Names?: readonly string[];
  readonly State: string;
  readonly Labels: Readonly<Record<string, string>>;
  readonly NetworkSettings?: { readonly Networks?: Readonly<Record<string, unknown>> } | null;
}

export function listedOf({ Id, Names, State, Labels, NetworkSettings }: RawListed): CreatedContainerFacts {
  return {
    id: Id,
    name: (Names?.[0] ?? Id).replace(/^\//, ""),
    service: Labels[serviceLabel] ?? "",
    spec: Labels[specLabel] ?? "",
    isDown: ["created", "exited", "dead", "configured", "stopped"].includes(State),
    networks: Object.keys(NetworkSettings?.Networks ?? {}),
    owner: Labels[ownerLabel] ?? "",
    seal: Labels[sealLabel] ?? "",
  };
}

/** Whether an event is about a container that any wakeport created for this service. */
export function isFor(service: string, attributes: Readonly<Record<string, string>>): boolean {
  return attributes[serviceLabel] === service;
}
