/** The refusals of a container that cannot be dialled: each says what is in the way, and which line removes it. */
import { TargetError } from "../errors.ts";
import type { ContainerFacts } from "./container-facts.ts";

/** The engine's network that everything is in which names none; compose cannot name it beside others. */
const DEFAULT_BRIDGE = "bridge";

/** It has no network at all. */
export function noNetwork(container: ContainerFacts): TargetError {
  return refusal(
    `container ${container.name} has no network (network_mode: none), so nothing can reach it`,
    `remove "network_mode: none" from ${serviceOf(container)} and recreate it: ${recreate(container)}`,
  );
}

/** None of its networks gave it an address that can be dialled. */
export function noAddress(container: ContainerFacts): TargetError {
  return refusal(
    `container ${container.name} has no address on any network (${namesOf(container)})`,
    `connect it to a bridge network (docker network connect NETWORK ${container.name}); ` +
      "one with IPv6 alone needs a subnet that is not link-local, like fd00:1::/64",
  );
}

/** `network:` names one that the holder of its networks is not in. */
export function notInNetwork(container: ContainerFacts, holder: ContainerFacts, wanted: string): TargetError {
  const [first] = holder.networks;
  return refusal(
    `container ${container.name} is not in network "${wanted}", only in ${namesOf(holder)}`,
    `in the service write "network: ${first?.name ?? "auto"}", or leave "network" out`,
  );
}

/** Wakeport's own container has no network that the target is in, or not the one that is asked for. */
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

/** It is in the host's network, and wakeport in none from which the host can be seen. */
export function noHost(container: ContainerFacts, own: ContainerFacts): TargetError {
  return refusal(
    `container ${container.name} is in the host's network, of which wakeport (in ${namesOf(own)}) sees nothing`,
    `give ${serviceOf(own)} the line "network_mode: host", or a network that is not internal`,
  );
}

/** Wakeport is itself in the network that goes away with the target. */
export function inOneNetwork({ name }: ContainerFacts): TargetError {
  return new TargetError("invalid", `wakeport uses the network of container ${name}, and loses it when that sleeps`, {
    remedy: `give wakeport a network of its own; ${name} may use that one: network_mode: "service:wakeport"`,
  });
}

/** It uses the network of a container that was removed, and can never start again. */
export function holderGone(container: ContainerFacts, id: string): TargetError {
  return refusal(
    `container ${container.name} uses the network of container ${id.slice(0, 12)}, which does not exist any more`,
    `recreate it: ${recreate(container)}`,
  );
}

/** It uses the network of a container that is not running. */
export function holderDown(container: ContainerFacts, holder: ContainerFacts): TargetError {
  return refusal(
    `container ${container.name} uses the network of container ${holder.name}, which is not running`,
    `start that one first: docker start ${holder.name}`,
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

/** How the two come together: wakeport joins the target, unless the target is only where compose cannot put wakeport. */
function sharing(holder: ContainerFacts, own: ContainerFacts, wanted: string): string {
  if (own.networkMode === "none") return `remove "network_mode: none" from ${serviceOf(own)}, and recreate it`;
  const theirs = holder.networks.map(({ name }) => name).filter((name) => name !== DEFAULT_BRIDGE);
  const asked = theirs.find((name) => name === wanted || name === `${holder.project}_${wanted}`) ?? theirs[0];
  if (asked !== undefined) return joining(own, asked);
  const ours = own.networks.map(({ name }) => name).find((name) => name !== DEFAULT_BRIDGE);
  return joining(ours === undefined ? own : holder, ours ?? DEFAULT_BRIDGE);
}

/** The YAML that puts a container into a network, beside those it is in, and the command that does so until then. */
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
