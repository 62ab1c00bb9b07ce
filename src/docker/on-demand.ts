/** The containers that wakeport makes: their labels, and what is asked of the engine to make one. */
import { createHash } from "node:crypto";
import type { CreatedSpec } from "../config/config.ts";

/** What wakeport made has it. */
export const createdLabel: string = "wakeport.created";
const serviceLabel = "wakeport.service";
const specLabel = "wakeport.spec";
const sealLabel = "wakeport.seal";
/** Which wakeport made it. */
export const ownerLabel = "wakeport.owner";

/** Of a processor, as the engine counts them. */
const NANO = 1e9;

/** A container that wakeport made, as a list of containers tells of it. */
export interface ListedCreation {
  readonly id: string;
  readonly name: string;
  /** The service that it was made for. */
  readonly service: string;
  /** The hash of what it was made of. */
  readonly spec: string;
  /** Neither running nor paused, nor about to be either. */
  readonly isDown: boolean;
  readonly networks: readonly string[];
  readonly owner: string;
  readonly seal: string;
}

/** Who asks for a container, and for which service. */
export interface Origin {
  readonly owner: string;
  readonly service: string;
}

/** What to ask the engine for. */
export interface Creation {
  readonly name: string;
  readonly image: string;
  readonly spec: string;
  readonly body: object;
  /** Older engines take only the first of these when a container is made. */
  readonly networks: readonly string[];
}

/** Puts together what is asked of the engine. @param networks by their full names; empty: the engine's default one */
export function creationOf(name: string, spec: CreatedSpec, networks: readonly string[], origin: Origin): Creation {
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
 * Returns whether a container is the one that its labels were made for. An image with LABEL or `docker commit` copies
 * labels, but not the name and the image.
 *
 * @param image the image reference with which the container was created
 */
export function isSealed(container: ListedCreation, image: string): boolean {
  return container.seal === sealOf(container, image);
}

function sealOf(
  { name, owner, service, spec }: Pick<ListedCreation, "name" | "owner" | "service" | "spec">,
  image: string,
): string {
  const parts = [name, owner, service, spec, withoutDefaults(image)];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 32);
}

/** Podman adds the registry and the tag that Docker omits. */
function withoutDefaults(image: string): string {
  return image.replace(/^(docker\.io\/(library\/)?|localhost\/)/, "").replace(/:latest$/, "");
}

/** One entry of `GET /containers/json`, as far as it matters here. */
export interface RawListed {
  readonly Id: string;
  readonly Names?: readonly string[];
  readonly State: string;
  readonly Labels: Readonly<Record<string, string>>;
  readonly NetworkSettings?: { readonly Networks?: Readonly<Record<string, unknown>> } | null;
}

export function listedOf({ Id, Names, State, Labels, NetworkSettings }: RawListed): ListedCreation {
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

/** Whether an event is about a container that was made for this service, by whomever. */
export function isFor(service: string, attributes: Readonly<Record<string, string>>): boolean {
  return attributes[serviceLabel] === service;
}
