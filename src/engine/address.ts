import { TargetError } from "../errors.ts";
import type { ContainerFacts, ContainerNetwork } from "./container-facts.ts";

/**
 * Chooses which of a running container's addresses to dial.
 *
 * @param own the container that wakeport runs in; undefined on the host, which has a leg in every bridge network
 * @param wanted a network's name, with or without the compose project before it, or "auto"
 * @throws TargetError "no_route" that names the networks on both sides and the way out
 */
export function addressOf(container: ContainerFacts, own: ContainerFacts | undefined, wanted: string): string {
  if (container.networkMode === "host" && own === undefined) return "127.0.0.1";
  const candidates = container.networks.filter(
    (network) => hasAddress(network) && isWanted(network, container, wanted),
  );
  const reachable = own === undefined ? candidates : candidates.filter((network) => shares(own, network));
  const [network] = reachable;
  const address = network?.ipv4 ?? network?.ipv6;
  if (address === undefined) throw noRoute(container, own, wanted);
  return address;
}

function hasAddress(network: ContainerNetwork): boolean {
  return network.ipv4 !== undefined || network.ipv6 !== undefined;
}

function isWanted(network: ContainerNetwork, container: ContainerFacts, wanted: string): boolean {
  return wanted === "auto" || network.name === wanted || network.name === `${container.project}_${wanted}`;
}

function shares(own: ContainerFacts, network: ContainerNetwork): boolean {
  return own.networks.some(({ id }) => id === network.id);
}

function noRoute(container: ContainerFacts, own: ContainerFacts | undefined, wanted: string): TargetError {
  const theirs = namesOf(container);
  if (wanted !== "auto" && !container.networks.some((network) => isWanted(network, container, wanted))) {
    return new TargetError("no_route", `container ${container.name} is not in network "${wanted}", only in ${theirs}`, {
      remedy: 'correct "network" in the service, or leave it out',
    });
  }
  if (own === undefined) {
    return new TargetError("no_route", `container ${container.name} has no address on any network (${theirs})`, {
      remedy: "connect it to a bridge network",
    });
  }
  const message = `container ${container.name} (in ${theirs}) shares no network with wakeport (in ${namesOf(own)})`;
  const name = container.networks[0]?.name ?? "NETWORK";
  return new TargetError("no_route", message, {
    remedy: `add "${name}" to wakeport's networks in the compose file, or: docker network connect ${name} ${own.name}`,
  });
}

function namesOf({ networks }: ContainerFacts): string {
  return networks.map((network) => network.name).join(", ") || "none";
}
