import { inOneNetwork, noAddress, noHost, noNetwork, notInNetwork, notShared } from "./address-errors.ts";
import type { ContainerFacts, ContainerNetwork } from "./container-facts.ts";

/** The side from which wakeport dials. */
export interface Standpoint {
  /** The container whose network wakeport uses, usually its own; undefined on the host. */
  readonly own: ContainerFacts | undefined;
  /** Whether the engine may run on another machine: macOS, Windows, an engine over TCP. */
  readonly mayBeElsewhere: boolean;
}

/** The address at which a container is dialled. */
export interface DialAddress {
  /** An IP address. */
  readonly address: string;
  /** An IPv6 address in the same network, if `address` is an IPv4 address. */
  readonly ipv6?: string;
  /** A likely reason if the address does not answer, for messages. */
  readonly caveat?: string;
}

const LOOPBACK = "127.0.0.1";

/** The network mode of a container without a network. */
const NONE = "none";
const HOST = "host";

/**
 * Chooses which of a running container's addresses to dial.
 *
 * Without a wanted network, this is the first network by name that both sides share. IPv4 is preferred to IPv6, because
 * many programs listen on IPv4 only.
 *
 * @param container the target
 * @param holder the container whose networks it uses: itself, or another container (`network_mode: service:…`)
 * @param wanted the name of a network, with or without the prefix of the compose project, or "auto"
 * @throws TargetError "no_route" with the networks of both sides and a remedy, "invalid" if the two share one network
 */
export function dialAddressOf(
  container: ContainerFacts,
  holder: ContainerFacts,
  from: Standpoint,
  wanted: string,
): DialAddress {
  checkNetworks(container, holder, wanted);
  const { own } = from;
  if (own?.id === container.id) throw inOneNetwork(container);
  // A container in the same network namespace may listen on loopback only.
  if (own?.id === holder.id) return { address: LOOPBACK };
  // In the host's network, wakeport reaches every bridge network.
  const inside = own?.networkMode === HOST ? undefined : own;
  if (holder.networkMode === HOST) return addressOfHost(container, inside);

  const addressed = holder.networks.filter(hasAddress);
  if (addressed.length === 0) throw noAddress(container);
  const reachable = inside === undefined ? addressed : addressed.filter((network) => shares(inside, network));
  const [chosen] = reachable.filter((network) => isWanted(network, holder, wanted));
  const address = chosen?.ipv4 ?? chosen?.ipv6;
  if (chosen === undefined || address === undefined) {
    throw inside === undefined ? noAddress(container) : notShared(container, holder, inside, wanted);
  }
  const caveats = [choiceCaveat(chosen, reachable, wanted), elsewhereCaveat(from)].filter(Boolean);
  const ipv6 = address === chosen.ipv6 ? undefined : chosen.ipv6;
  return { address, ...(ipv6 !== undefined && { ipv6 }), ...(caveats.length > 0 && { caveat: caveats.join("; ") }) };
}

/**
 * Checks that a container, running or not, can have an address in the wanted network.
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

/** @param inside wakeport's own container; undefined on the host */
function addressOfHost(container: ContainerFacts, inside: ContainerFacts | undefined): DialAddress {
  if (inside === undefined) return { address: LOOPBACK };
  const gateway = inside.networks.find((network) => network.gateway !== undefined)?.gateway;
  if (gateway === undefined) throw noHost(container, inside);
  const caveat =
    `${container.name} uses the host's network, which has the address ${gateway} from here: its program must listen ` +
    "on all addresses, and the host's firewall must accept connections from containers";
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
  return "if the engine runs in a virtual machine or on another machine, run wakeport as a container of that engine";
}
