/** Clients that only look whether somebody is there: monitors, load balancers. What the configuration calls monitors. */
import { formatIp, type Ip, isIn, type Network } from "../../net/ip.ts";

/** The client is an onlooker: its connection is over when it was accepted. */
export class MonitorError extends Error {
  override readonly name = "OnlookerError";
}

/** @throws OnlookerError for a source of that kind */
export function rejectMonitor(monitors: readonly Network[], source: Ip | undefined): void {
  if (source === undefined || !monitors.some((network) => isIn(source, network))) return;
  throw new MonitorError(`${formatIp(source)} only looks whether somebody is there`);
}
