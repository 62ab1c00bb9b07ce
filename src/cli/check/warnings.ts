/** What `wakeport check` remarks on what is valid, but may not be all that is needed. */
import type { Policy } from "../../activation/policy.ts";
import { isWoken, type Service, type WokenService } from "../../config/config.ts";
import { describeTarget } from "../../config/describe.ts";
import { formatRange } from "../../config/values/ports.ts";
import { formatDuration } from "../../config/values/units.ts";
import { type WakingCycle, wakingCycles } from "../../config/wake-graph.ts";
import { keyOf } from "../../daemon/target-factory.ts";
import { policyOf } from "../../daemon/target-settings.ts";

/** Where active transfers come from, which no client connects to. */
const DATA_PORT = 20;
const FTP_PORT = 21;
/** Ports of protocols whose clients wait for the server to speak. Many of SSH do not. */
const serverFirst: Readonly<Record<number, string>> = { 21: "FTP", 25: "SMTP", 587: "SMTP", 3306: "MySQL" };

/** A sentence each, with the services that it is about. */
export function warnings(services: readonly Service[]): { readonly of: string; readonly remark: string }[] {
  const enabled = services.filter(({ enabled }) => enabled).filter(isWoken);
  return [
    ...enabled.flatMap((service) => warningsOn(service).map((remark) => ({ of: service.name, remark }))),
    ...[...Map.groupBy(enabled, keyOf).values()].flatMap(warningsOnSharing),
    ...wakingCycles(enabled).map(warningOnCycle),
  ];
}

/** Cycles are valid, but the order in which they sleep is not obvious. */
function warningOnCycle({ chain, by }: WakingCycle): { readonly of: string; readonly remark: string } {
  const [first, last] = [chain[0] ?? "", chain.at(-1) ?? ""];
  const way = chain.join(" → ");
  if (by === "with") {
    const remark = `is woken with "${last}" and depends on it (${way}): both sleep when the idle timeout of "${last}" is over, "${first}" first`;
    return { of: first, remark };
  }
  const why = `"${first}" depends on "${last}" through services outside of group "${by.group}"`;
  return { of: `${first}, ${last}`, remark: `${why} (${way}): all of these wake together, and sleep in this order` };
}

/** Services that differ in times that they can only have together. */
function warningsOnSharing(sharing: readonly WokenService[]): { readonly of: string; readonly remark: string }[] {
  const times = ({ idleTimeoutMs, minUptimeMs, startTimeoutMs }: Policy | WokenService): string => {
    const up = minUptimeMs === 0 ? "" : `up ≥ ${formatDuration(minUptimeMs)}, `;
    return `idle ${formatDuration(idleTimeoutMs)}, ${up}start ≤ ${formatDuration(startTimeoutMs)}`;
  };
  if (new Set(sharing.map(times)).size < 2) return [];
  const [{ target }] = sharing as readonly [WokenService];
  const remark = `share ${describeTarget(target)}, so that the longest of their times count: ${times(policyOf(sharing))}`;
  return [{ of: sharing.map(({ name }) => name).join(", "), remark }];
}

function warningsOn(service: WokenService): string[] {
  return service.protocol === "ftp" ? warningsOnFtp(service) : warningsOnRaw(service);
}

function warningsOnFtp({ data, ports, ftp, proxyProtocol }: Service): string[] {
  const warnings: string[] = [];
  // Compose files publish passive ranges, and port 20, beside the port that clients connect to.
  const mistaken = ports.filter(({ target, count = 1 }) => count > 1 || target === DATA_PORT);
  if (mistaken.length > 0) {
    const shown = mistaken.map(({ listen: listener, count }) => formatRange(listener, count)).join(", ");
    warnings.push(
      `${shown} in "ports": clients are taken to begin a session of FTP there. Ports of data connections wake nothing: leave them out, or write those of passive mode in "data:", see docs/ftp.md`,
    );
  } else if (data.length === 0) {
    warnings.push(
      'data connections lead by way of wakeport, but for clients that encrypt (AUTH TLS): for those passive mode needs "data:" ports, see docs/ftp.md',
    );
  }
  const isReachable = data.length > 0 && ftp.publicAddress !== undefined;
  if (proxyProtocol.receive.length > 0 && !isReachable) {
    warnings.push(
      'whoever comes by way of a proxy (proxy_protocol.receive) has active mode refused, and for passive mode needs "data:" ports that the proxy passes on, and its address as "ftp: { public_address: … }", see docs/ftp.md',
    );
  }
  return warnings;
}

function warningsOnRaw({ data, ports, names, protocol, wakeOn }: Service): string[] {
  if (protocol !== "raw" || names !== undefined || data.length > 0) return [];
  const known = ports.filter((port) => port.protocol !== "udp").map(({ target }) => target);
  const first = known.find((port) => serverFirst[port] !== undefined);
  if (wakeOn === "first_byte" && first !== undefined) {
    return [
      `port ${first} is that of ${serverFirst[first]}, in which the server speaks first: "wake_on: first_byte" would wake it for nobody`,
    ];
  }
  if (!known.includes(FTP_PORT)) return [];
  return [
    'port 21 is that of FTP, whose data connections go past wakeport or nowhere: "protocol: ftp" leads them, see docs/ftp.md',
  ];
}
