/** Finds the address at which a container is dialled: inspects the containers involved, then chooses (address.ts). */
import { platform } from "node:os";
import { TargetError } from "../errors.ts";
import { checkNetworks, type DialAddress, dialAddressOf, type Standpoint } from "./address.ts";
import { holderDown, holderGone } from "./address-errors.ts";
import type { ContainerFacts } from "./container-facts.ts";
import type { Engine } from "./engine.ts";
import type { OwnContainer } from "./own-container.ts";

/** A container may use the network of a container that uses the network of another. More steps than this are a circle. */
const MAX_CHAIN = 8;

export interface AddressOptions {
  readonly engine: Engine;
  readonly own: OwnContainer;
  /** The name of a network, or "auto". */
  readonly network: string;
}

/** The address of a container in its present incarnation. */
export interface ContainerAddress extends DialAddress {
  /** The incarnation of the other container whose network it uses. The address is valid until that ends. */
  readonly holderIncarnation?: string;
  /** Why the container cannot be dialled; `address` is empty then. */
  readonly noRoute?: TargetError;
}

/**
 * Returns the address at which a running container is dialled.
 *
 * @throws TargetError "no_route" if the container whose network it uses does not run, "invalid"; errors of the engine
 */
export async function findAddress(
  container: ContainerFacts,
  options: AddressOptions,
  signal: AbortSignal,
): Promise<ContainerAddress> {
  const holder = await holderOf(container, options.engine, signal);
  if (!holder.isRunning) throw holderDown(container, holder);
  const address = await chooseAddress(container, holder, options, signal).catch(withoutAddress);
  if (holder === container) return address;
  const caveat = staleCaveat(container, holder) ?? address.caveat;
  const holderIncarnation = `${holder.id} ${holder.startedAt}`;
  return { ...address, holderIncarnation, ...(caveat !== undefined && { caveat }) };
}

/**
 * Checks that a container, running or not, can be dialled after a start.
 *
 * @throws TargetError "no_route"; errors of the engine
 */
export async function checkAddress(
  container: ContainerFacts,
  options: AddressOptions,
  signal: AbortSignal,
): Promise<void> {
  const holder = await holderOf(container, options.engine, signal);
  checkNetworks(container, holder, options.network);
  if (holder !== container && !holder.isRunning) throw holderDown(container, holder);
}

function withoutAddress(error: unknown): ContainerAddress {
  if (error instanceof TargetError && error.fault === "no_route") return { address: "", noRoute: error };
  throw error;
}

/** Retries after a new inspection of wakeport's own container, which may have joined a network since. */
async function chooseAddress(
  container: ContainerFacts,
  holder: ContainerFacts,
  { engine, own, network }: AddressOptions,
  signal: AbortSignal,
): Promise<DialAddress> {
  try {
    return dialAddressOf(container, holder, await standpoint(engine, await own.known(signal), signal), network);
  } catch (error) {
    if (!(error instanceof TargetError) || error.fault !== "no_route") throw error;
    return dialAddressOf(container, holder, await standpoint(engine, await own.inspect(signal), signal), network);
  }
}

async function standpoint(engine: Engine, own: ContainerFacts | undefined, signal: AbortSignal): Promise<Standpoint> {
  const isLocalLinux = platform() === "linux" && engine.url.startsWith("unix:") && !/desktop/.test(engine.url);
  return { own: own && (await holderOf(own, engine, signal)), mayBeElsewhere: !isLocalLinux };
}

/** Returns the container whose networks a container uses, usually itself. @throws TargetError */
async function holderOf(container: ContainerFacts, engine: Engine, signal: AbortSignal): Promise<ContainerFacts> {
  let holder = container;
  for (let steps = 0; holder.networkOf !== undefined && steps < MAX_CHAIN; steps += 1) {
    const id = holder.networkOf;
    holder = await engine.inspect(id, signal).catch((error) => {
      throw error.fault === "missing" ? holderGone(container, id) : error;
    });
  }
  return holder;
}

/** A restart of the holder creates a new network namespace. Containers that used the old one remain in it. */
function staleCaveat(container: ContainerFacts, holder: ContainerFacts): string | undefined {
  // Only a caveat: a clock that was set back changes the order.
  if (Date.parse(holder.startedAt) <= Date.parse(container.startedAt)) return undefined;
  return `${holder.name}, whose network it uses, was started after it: restart ${container.name}`;
}
