/** Finds the containers of a compose service by the labels of compose, which other programs can copy. */
import type Dockerode from "dockerode";
import type { ListedContainer } from "./container-facts.ts";

const numberLabel = "com.docker.compose.container-number";
const oneOffLabel = "com.docker.compose.oneoff";

/** Compose puts this many characters of an id before a name while it replaces a container. */
const ID_PREFIX = 12;

/**
 * Drops the containers of `docker compose run` and sorts the rest by container number. Of two with the same number, which
 * exist while compose replaces one, the running one comes first, else the newer one.
 */
export function inOrder(containers: readonly Dockerode.ContainerInfo[]): Dockerode.ContainerInfo[] {
  return containers.filter(({ Labels }) => !isOneOff(Labels)).toSorted(byNumber);
}

/**
 * Returns the first container and all others with its number; empty if the number is unique. A container and its
 * replacement count as one while compose recreates it.
 *
 * @param containers the sorted containers of one service
 */
export function ambiguousContainers(containers: readonly ListedContainer[]): readonly ListedContainer[] {
  const [first] = containers;
  if (first === undefined) return [];
  const sameNumber = containers.filter(({ labels }) => containerNumber(labels) === containerNumber(first.labels));
  const distinct = sameNumber.filter((one) => !sameNumber.some((other) => other !== one && isReplacing(one, other)));
  return distinct.length > 1 ? distinct : [];
}

/** Compose 2 creates the new container as ID_NAME, with the id of the old one. Compose 1 renames the old one, with its own id. */
function isReplacing(one: ListedContainer, other: ListedContainer): boolean {
  const renamed = [one.id, other.id].map((id) => `${id.slice(0, ID_PREFIX)}_${other.name}`);
  return renamed.includes(one.name);
}

function byNumber(a: Dockerode.ContainerInfo, b: Dockerode.ContainerInfo): number {
  const running = (container: Dockerode.ContainerInfo): number => (container.State === "running" ? 0 : 1);
  return containerNumber(a.Labels) - containerNumber(b.Labels) || running(a) - running(b) || b.Created - a.Created;
}

/** podman-compose does not write the label. */
function isOneOff(labels: Readonly<Record<string, string>>): boolean {
  return labels[oneOffLabel] === "True";
}

/** Compose counts from 1. Containers without a valid number come last. */
function containerNumber(labels: Readonly<Record<string, string>>): number {
  const number = labels[numberLabel] ?? "";
  return /^[1-9]\d{0,8}$/.test(number) ? Number(number) : Number.MAX_SAFE_INTEGER;
}
