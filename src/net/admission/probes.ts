/** Sources that only look whether somebody is there: monitors, load balancers. */
import { formatIp, type Ip, isIn, type Network } from "../ip.ts";

/** The client is a probe: its connection is over when it was accepted. */
export class ProbeError extends Error {
  override readonly name = "ProbeError";
}

/** @throws ProbeError for a source of that kind */
export function dismissProbe(probes: readonly Network[], source: Ip | undefined): void {
  if (source === undefined || !probes.some((network) => isIn(source, network))) return;
  throw new ProbeError(`${formatIp(source)} only looks whether somebody is there`);
}
