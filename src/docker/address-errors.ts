/** The errors of containers that cannot be dialled, each with its cause and remedy. */
import { TargetError } from "../errors.ts";
import type { ContainerFacts } from "./container-facts.ts";

/** The engine's default network. Compose cannot combine it with other networks. */
const DEFAULT_BRIDGE = "bridge";

/** The container has no network. */
export function noNetwork(container: ContainerFacts): TargetError {
  return refusal(
    `container ${container.name} has no network (network_mode: none), so nothing can reach it`,
    `remove "network_mode: none" from ${serviceOf(container)} and recreate it: ${recreate(container)}`,
  );
}

/** The container has no address that can be dialled. */
export function noAddress(container: ContainerFacts): TargetError {
  return refusal(
    `container ${container.name} has no address on any network (${namesOf(container)})`,
    `connect it to a bridge network (docker network connect NETWORK ${container.name}); ` +
      "a network with IPv6 only needs a subnet that is not link-local, like fd00:1::/64",
  );
}

/** `network:` names a network to which the container is not connected. */
export function notInNetwork(container: ContainerFacts, holder: ContainerFacts, wanted: string): TargetError {
  const [first] = holder.networks;
  return refusal(
    `container ${container.name} is not in network "${wanted}", only in ${namesOf(holder)}`,
    `in the service write "network: ${first?.name ?? "auto"}", or remove "network"`,
  );
}

/** wakeport's own container does not share a network, or not the wanted network, with the target. */
export function notShared(
  container: ContainerFacts,
  holder: ContainerFacts,
  own: ContainerFacts,
  wanted: string,
): TargetError {
  const shares = wanted === "auto" ? "shares no network" : `does not share its network "${wanted}"`;
  return refusal(
    `container ${container.name} (in ${namesOf(holder)}) ${shares} with wakeport (in ${namesOf(own)})`,
    sharing(holder, own, wanted),
  );
}

/** The container uses the host's network, which wakeport's networks cannot reach. */
export function noHost(container: ContainerFacts, own: ContainerFacts): TargetError {
  return refusal(
    `container ${container.name} uses the host's network, which wakeport (in ${namesOf(own)}) cannot reach`,
    `give ${serviceOf(own)} the line "network_mode: host", or a network that is not internal`,
  );
}

/** wakeport uses the target's network, which disappears when the target stops. */
export function inOneNetwork({ name }: ContainerFacts): TargetError {
  return new TargetError(
    "invalid",
    `wakeport uses the network of container ${name}, and loses it when that container sleeps`,
    {
      remedy: `give wakeport a network of its own; ${name} may use it: network_mode: "service:wakeport"`,
    },
  );
}

/** The container uses the network of a removed container, and cannot start. */
export function holderGone(container: ContainerFacts, id: string): TargetError {
  return refusal(
    `container ${container.name} uses the network of container ${id.slice(0, 12)}, which does not exist any more`,
    `recreate it: ${recreate(container)}`,
  );
}

/** The container uses the network of a container that is not running. */
export function holderDown(container: ContainerFacts, holder: ContainerFacts): TargetError {
  return refusal(
    `container ${container.name} uses the network of container ${holder.name}, which is not running`,
    `start it first: docker start ${holder.name}`,
  );
}

function refusal(message: string, remedy: string): TargetError {
  return new TargetError("no_route", message, { remedy });
}

function namesOf({ networks }: ContainerFacts): string {
  return networks.map(({ name }) => name).join(", ") || "none";
}

function serviceOf({ composeService, name }: ContainerFacts): string {
  return composeService === undefined ? `container ${name}` : `the compose service "${composeService}"`;
}

function recreate({ composeService, name }: ContainerFacts): string {
  if (composeService === undefined) return `docker rm ${name}, then docker run as before`;
  return `docker compose up -d --force-recreate ${composeService}`;
}

/** Connects wakeport to a network of the target, or the target to one of wakeport if compose cannot do the first. */
function sharing(holder: ContainerFacts, own: ContainerFacts, wanted: string): string {
  if (own.networkMode === "none") return `remove "network_mode: none" from ${serviceOf(own)}, and recreate it`;
  const theirs = holder.networks.map(({ name }) => name).filter((name) => name !== DEFAULT_BRIDGE);
  const chosen = theirs.find((name) => name === wanted || name === `${holder.project}_${wanted}`) ?? theirs[0];
  if (chosen !== undefined) return joining(own, chosen);
  const ours = own.networks.map(({ name }) => name).find((name) => name !== DEFAULT_BRIDGE);
  return joining(ours === undefined ? own : holder, ours ?? DEFAULT_BRIDGE);
}

/** Returns the YAML that connects a container to a network, and the command that does so without recreating it. */
function joining(container: ContainerFacts, network: string): string {
  const { composeService, project, name, networks } = container;
  const connect = `docker network connect ${network} ${name}`;
  if (composeService === undefined) return `connect them: ${connect}`;
  const prefix = `${project}_`;
  const keyOf = (one: string): string => (one.startsWith(prefix) ? one.slice(prefix.length) : one);
  const present = networks.map((one) => one.name).filter((one) => one !== DEFAULT_BRIDGE);
  const line = `networks: [${[...present, network].map(keyOf).join(", ")}]`;
  const isForeign = !network.startsWith(prefix);
  const declared = isForeign ? ` and at the top level  networks: { ${network}: { external: true } }` : "";
  return `in the compose file, under ${composeService}:, write  ${line}${declared}; or, until it is recreated: ${connect}`;
}
