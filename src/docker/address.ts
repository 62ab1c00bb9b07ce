import type { ContainerFacts, ContainerNetwork } from "./container-facts.ts";
import { inOneNetwork, noAddress, noHost, noNetwork, notInNetwork, notShared } from "./no-route.ts";

/** From where wakeport dials. */
export interface Standpoint {
  /** The container whose network wakeport uses, as a rule the one it runs in; undefined outside of one. */
  readonly own: ContainerFacts | undefined;
  /** Whether this machine may not be the engine's host: macOS, Windows, an engine that is asked over TCP. */
  readonly mayBeElsewhere: boolean;
}

/** Where a container is dialled. */
export interface Route {
  /** An IP address. */
  readonly address: string;
  /** What to think of when nobody answers there; absent where there is nothing special about it. */
  readonly caveat?: string;
}

const LOOPBACK = "127.0.0.1";

/** Names the network with which a container has none at all. */
const NONE = "none";
const HOST = "host";

/**
 * Chooses which of a running container's addresses to dial.
 *
 * The first network that both sides are in, in the order of their names, unless one is asked for. Of a network with
 * IPv4 and IPv6 the IPv4 address is taken: many programs listen on IPv4 alone, hardly one on IPv6 alone.
 *
 * @param container the target
 * @param holder the container whose networks it uses: itself, or another one (`network_mode: service:…`)
 * @param wanted a network's name, with or without the compose project before it, or "auto"
 * @throws TargetError "no_route" that names the networks on both sides and the way out, "invalid" where there is none
 */
export function routeTo(container: ContainerFacts, holder: ContainerFacts, from: Standpoint, wanted: string): Route {
  checkNetworks(container, holder, wanted);
  const { own } = from;
  if (own?.id === container.id) throw inOneNetwork(container);
  // What shares our network may listen on its loopback alone, as a sidecar's neighbour does.
  if (own?.id === holder.id) return { address: LOOPBACK };
  // In the host's network it has a leg in every bridge network, as the host has.
  const inside = own?.networkMode === HOST ? undefined : own;
  if (holder.networkMode === HOST) return routeToHost(container, inside);

  const addressed = holder.networks.filter(hasAddress);
  if (addressed.length === 0) throw noAddress(container);
  const reachable = inside === undefined ? addressed : addressed.filter((network) => shares(inside, network));
  const [chosen] = reachable.filter((network) => isWanted(network, holder, wanted));
  const address = chosen?.ipv4 ?? chosen?.ipv6;
  if (chosen === undefined || address === undefined) {
    throw inside === undefined ? noAddress(container) : notShared(container, holder, inside, wanted);
  }
  const caveats = [choiceCaveat(chosen, reachable, wanted), elsewhereCaveat(from)].filter(Boolean);
  return { address, ...(caveats.length > 0 && { caveat: caveats.join("; ") }) };
}

/**
 * Refuses what no address can ever lead to, running or not.
 *
 * @throws TargetError "no_route"
 */
export function checkNetworks(container: ContainerFacts, holder: ContainerFacts, wanted: string): void {
  if (holder.networkMode === NONE) throw noNetwork(container);
  if (wanted === "auto" || holder.networks.length === 0) return;
  if (!holder.networks.some((network) => isWanted(network, holder, wanted))) {
    throw notInNetwork(container, holder, wanted);
  }
}

/** @param inside the container that wakeport is in; undefined on the host */
function routeToHost(container: ContainerFacts, inside: ContainerFacts | undefined): Route {
  if (inside === undefined) return { address: LOOPBACK };
  const gateway = inside.networks.find((network) => network.gateway !== undefined)?.gateway;
  if (gateway === undefined) throw noHost(container, inside);
  const caveat =
    `${container.name} is in the host's network, which is ${gateway} from here: its program must listen on all ` +
    "addresses, and the host's firewall must let containers in";
  return { address: gateway, caveat };
}

function hasAddress(network: ContainerNetwork): boolean {
  return network.ipv4 !== undefined || network.ipv6 !== undefined;
}

function isWanted(network: ContainerNetwork, holder: ContainerFacts, wanted: string): boolean {
  return wanted === "auto" || network.name === wanted || network.name === `${holder.project}_${wanted}`;
}

function shares(own: ContainerFacts, network: ContainerNetwork): boolean {
  return own.networks.some(({ id }) => id === network.id);
}

function choiceCaveat(chosen: ContainerNetwork, all: readonly ContainerNetwork[], wanted: string): string | undefined {
  const others = all.filter((network) => network !== chosen).map(({ name }) => name);
  if (wanted !== "auto" || others.length === 0) return undefined;
  return `it was dialled on its network "${chosen.name}"; "network:" chooses another one (${others.join(", ")})`;
}

function elsewhereCaveat({ own, mayBeElsewhere }: Standpoint): string | undefined {
  if (own !== undefined || !mayBeElsewhere) return undefined;
  return "where the engine runs in a virtual machine or on another one, run wakeport as a container of that engine";
}
