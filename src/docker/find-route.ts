/** Finds the way to a container: asks for whoever else has a part in it, then chooses (address.ts). */
import { platform } from "node:os";
import { TargetError } from "../errors.ts";
import { checkNetworks, type Route, routeTo, type Standpoint } from "./address.ts";
import type { ContainerFacts } from "./container-facts.ts";
import type { Engine } from "./engine.ts";
import { holderDown, holderGone } from "./no-route.ts";
import type { OwnContainer } from "./own-container.ts";

/** A container may use the network of one that uses the network of another. More than this is a circle. */
const MAX_CHAIN = 8;

export interface RouteOptions {
  readonly engine: Engine;
  readonly own: OwnContainer;
  /** The name of the network to take, or "auto". */
  readonly network: string;
}

/** The way to a container in its present life. */
export interface LivingRoute extends Route {
  /** The life of the container whose network it uses, if that is another one: with it the route ends. */
  readonly holderLife?: string;
  /** Why the container cannot be dialled; the address is empty then. */
  readonly noRoute?: TargetError;
}

/**
 * Finds where a running container is dialled from here.
 *
 * @throws TargetError "no_route" if the network that it uses does not exist, "invalid"; errors of the engine's calls
 */
export async function findRoute(
  container: ContainerFacts,
  options: RouteOptions,
  signal: AbortSignal,
): Promise<LivingRoute> {
  const holder = await holderOf(container, options.engine, signal);
  if (!holder.isRunning) throw holderDown(container, holder);
  const route = await chooseRoute(container, holder, options, signal).catch(withoutRoute);
  if (holder === container) return route;
  const caveat = lostCaveat(container, holder) ?? route.caveat;
  const holderLife = `${holder.id} ${holder.startedAt}`;
  return { ...route, holderLife, ...(caveat !== undefined && { caveat }) };
}

/**
 * Refuses a container, stopped or not, that could not be dialled if it were started, as far as that can be known.
 *
 * @throws TargetError "no_route"; what the engine's calls throw
 */
export async function checkRoute(container: ContainerFacts, options: RouteOptions, signal: AbortSignal): Promise<void> {
  const holder = await holderOf(container, options.engine, signal);
  checkNetworks(container, holder, options.network);
  if (holder !== container && !holder.isRunning) throw holderDown(container, holder);
}

function withoutRoute(error: unknown): LivingRoute {
  if (error instanceof TargetError && error.fault === "no_route") return { address: "", noRoute: error };
  throw error;
}

/** Networks may have been connected since wakeport last looked at itself. */
async function chooseRoute(
  container: ContainerFacts,
  holder: ContainerFacts,
  { engine, own, network }: RouteOptions,
  signal: AbortSignal,
): Promise<Route> {
  try {
    return routeTo(container, holder, await standpoint(engine, await own.known(signal), signal), network);
  } catch (error) {
    if (!(error instanceof TargetError) || error.fault !== "no_route") throw error;
    return routeTo(container, holder, await standpoint(engine, await own.inspect(signal), signal), network);
  }
}

async function standpoint(engine: Engine, own: ContainerFacts | undefined, signal: AbortSignal): Promise<Standpoint> {
  const isLocalLinux = platform() === "linux" && engine.url.startsWith("unix:") && !/desktop/.test(engine.url);
  return { own: own && (await holderOf(own, engine, signal)), mayBeElsewhere: !isLocalLinux };
}

/** The container whose networks it uses, which is itself for most. @throws TargetError */
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

/** A container stays in the network that it was started in, even when that is torn down by a restart of its holder. */
function lostCaveat(container: ContainerFacts, holder: ContainerFacts): string | undefined {
  // Only a hint, because a clock that was set back tells the order wrong.
  if (Date.parse(holder.startedAt) <= Date.parse(container.startedAt)) return undefined;
  return `${holder.name}, whose network it uses, was started after it: it needs a restart itself`;
}
