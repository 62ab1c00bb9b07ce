/** Health checks of monitors and load balancers (config key `monitors`): accepted and closed, never served. */
import { formatIp, type Ip, isIn, type Network } from "../../net/ip.ts";

/** The client is a monitor. */
export class MonitorError extends Error {
  override readonly name = "MonitorError";
}

/** @throws MonitorError if a monitor has this address */
export function rejectMonitor(monitors: readonly Network[], source: Ip | undefined): void {
  if (source === undefined || !monitors.some((network) => isIn(source, network))) return;
  throw new MonitorError(`${formatIp(source)} is a monitor`);
}
