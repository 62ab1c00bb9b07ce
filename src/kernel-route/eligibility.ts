/** Decides which services the kernel can forward exactly as wakeport relays them. */
import { clientNeeds, type SharedSettings, sharedNeeds, timesNeeds } from "../config/client-needs.ts";
import { isWoken, type Service } from "../config/config.ts";
import { eachPort } from "../config/values/ports.ts";

/** The rules are checked with one dial for each port. */
const MAX_PORTS = 16;

/**
 * Returns why connections of a service must pass through wakeport, as the end of "…, because"; undefined if the kernel
 * can forward them.
 */
export function reasonToRelay(service: Service, shared: SharedSettings): string | undefined {
  const { ports } = service;
  if (!isWoken(service)) return "its target is not started by wakeport";
  const [need] = [...timesNeeds(service), ...clientNeeds(service), ...sharedNeeds(shared)];
  if (need !== undefined) return need;
  if (ports.some(({ address }) => address !== undefined)) return "it listens on one address";
  return ports.flatMap(eachPort).length > MAX_PORTS ? `it has more than ${MAX_PORTS} ports` : undefined;
}
