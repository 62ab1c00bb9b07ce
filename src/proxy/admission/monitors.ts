/** Clients that only look whether somebody is there: monitors, load balancers. What the configuration calls probes. */
import { formatIp, type Ip, isIn, type Network } from "../../net/ip.ts";

/** The client is an onlooker: its connection is over when it was accepted. */
export class OnlookerError extends Error {
  override readonly name = "OnlookerError";
}

/** @throws OnlookerError for a source of that kind */
export function dismissOnlooker(probes: readonly Network[], source: Ip | undefined): void {
  if (source === undefined || !probes.some((network) => isIn(source, network))) return;
  throw new OnlookerError(`${formatIp(source)} only looks whether somebody is there`);
}
