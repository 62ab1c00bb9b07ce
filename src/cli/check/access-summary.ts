/** Summarises the access rules and limits of a service in one line of `wakeport check`. */
import type { Service } from "../../config/config.ts";
import { formatTimes } from "../../config/values/access-times.ts";
import { formatRate } from "../../config/values/rates.ts";
import { formatNetwork, type Network } from "../../net/ip.ts";

/** Returns undefined if the service has no rules and no limits. */
export function accessSummary({
  access,
  limits,
  proxyProtocol,
  monitors,
}: Pick<Service, "access" | "limits" | "proxyProtocol" | "monitors">): string | undefined {
  const { allow, deny, times = [], timeZone } = access;
  const { connections, perSource, rate, ratePerSource, maxLoad, onLimit } = limits;
  const bounds = [
    connections !== undefined && `${connections} ${connections === 1 ? "connection" : "connections"}`,
    perSource !== undefined && `${perSource} per source`,
    rate !== undefined && formatRate(rate),
    ratePerSource !== undefined && `${formatRate(ratePerSource)} per source`,
    maxLoad !== undefined && `a load of ${maxLoad}`,
  ].filter((bound) => bound !== false);
  const { receive } = proxyProtocol;
  const rules = [
    (allow !== undefined || deny.length > 0) && sourceSummary(allow, deny),
    receive.length > 0 && `client addresses from PROXY headers of ${listed(receive)}`,
    times.length > 0 && `${times.map(formatTimes).join(" or ")}${timeZone === undefined ? "" : ` (${timeZone})`}`,
    bounds.length > 0 && `at most ${bounds.join(", ")}${onLimit === "queue" ? "; further clients wait" : ""}`,
    monitors.length > 0 && `monitors from ${listed(monitors)} are accepted and closed`,
  ].filter((rule) => rule !== false);
  return rules.length === 0 ? undefined : rules.join("; ");
}

function sourceSummary(allow: readonly Network[] | undefined, deny: readonly Network[]): string {
  if (allow?.length === 0) return "no clients";
  const from = allow === undefined ? "all clients" : `from ${listed(allow)}`;
  return deny.length === 0 ? from : `${from} except ${listed(deny)}`;
}

const MAX_LISTED = 5;

function listed(networks: readonly Network[]): string {
  const shown = networks.slice(0, MAX_LISTED).map(formatNetwork).join(", ");
  const more = networks.length - MAX_LISTED;
  return more > 0 ? `${shown} and ${more} more` : shown;
}
