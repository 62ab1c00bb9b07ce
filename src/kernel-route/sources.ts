/** The sources of a service as elements of nftables sets, in which no network may contain another one. */
import type { AccessRules } from "../config/admission-policy.ts";
import { formatNetwork, type IpFamily, isIn, type Network } from "../net/ip.ts";

/** Networks of one address family, as nft(8) reads them. A source in both is not forwarded. */
export interface Sources {
  readonly allowed: readonly string[];
  readonly denied: readonly string[];
}

const ALL: Readonly<Record<IpFamily, string>> = { ipv4: "0.0.0.0/0", ipv6: "::/0" };

/** Returns the sources that a service allows and denies. */
export function sourcesOf({ allow, deny }: AccessRules, family: IpFamily): Sources {
  const allowed = allow === undefined ? [ALL[family]] : elementsOf(allow, family);
  return { allowed, denied: elementsOf(deny, family) };
}

function elementsOf(networks: readonly Network[], family: IpFamily): string[] {
  const own = networks.filter((network) => network.family === family);
  const widest = own.filter((network) => !own.some((other) => other.prefix < network.prefix && isIn(network, other)));
  return [...new Set(widest.map(formatNetwork))];
}
