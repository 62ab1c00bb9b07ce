/** Remarks of `wakeport check` on settings that are valid but probably incomplete. */
import type { ActivationPolicy } from "../../activation/activation-policy.ts";
import { type SharedSettings, sharedSettings } from "../../config/client-needs.ts";
import { isWoken, type Service, type WokenService } from "../../config/config.ts";
import { describeTarget } from "../../config/describe-target.ts";
import { formatRange } from "../../config/values/ports.ts";
import { formatDuration } from "../../config/values/units.ts";
import { type WakingCycle, wakingCycles } from "../../config/wake-graph.ts";
import { keyOf } from "../../daemon/target-factory.ts";
import { policyOf } from "../../daemon/target-settings.ts";
import { reasonToRelay } from "../../kernel-route/eligibility.ts";

/** The source port of active transfers. No client connects to this port. */
const DATA_PORT = 20;
const FTP_PORT = 21;
/** Ports of protocols in which the server sends first. SSH is not listed, because many of its clients send first. */
const serverFirst: Readonly<Record<number, string>> = { 21: "FTP", 25: "SMTP", 587: "SMTP", 3306: "MySQL" };

/** Returns remarks, each with the services that it applies to. */
export function warnings(
  services: readonly Service[],
  usesIdent: boolean = false,
): { readonly of: string; readonly remark: string }[] {
  const settings = sharedSettings(services, usesIdent);
  const enabled = services.filter(({ enabled }) => enabled).filter(isWoken);
  return [
    ...enabled.flatMap((service) => warningsOn(service, settings).map((remark) => ({ of: service.name, remark }))),
    ...[...Map.groupBy(enabled, keyOf).values()].flatMap(warningsOnSharing),
    ...wakingCycles(enabled).map(warningOnCycle),
  ];
}

/** A cycle is valid, but the order in which its targets sleep is not obvious. */
function warningOnCycle({ chain, by }: WakingCycle): { readonly of: string; readonly remark: string } {
  const [first, last] = [chain[0] ?? "", chain.at(-1) ?? ""];
  const path = chain.join(" → ");
  if (by === "with") {
    const remark = `starts with "${last}" and depends on it (${path}): both sleep after the idle timeout of "${last}", "${first}" first`;
    return { of: first, remark };
  }
  const cause = `"${first}" depends on "${last}" through services outside of group "${by.group}"`;
  return { of: `${first}, ${last}`, remark: `${cause} (${path}): they start together and sleep in this order` };
}

/** Services with the same target share their times. */
function warningsOnSharing(sharing: readonly WokenService[]): { readonly of: string; readonly remark: string }[] {
  const times = ({ idleTimeoutMs, minUptimeMs, startTimeoutMs }: ActivationPolicy | WokenService): string => {
    const up = minUptimeMs === 0 ? "" : `up ≥ ${formatDuration(minUptimeMs)}, `;
    return `idle ${formatDuration(idleTimeoutMs)}, ${up}start ≤ ${formatDuration(startTimeoutMs)}`;
  };
  if (new Set(sharing.map(times)).size < 2) return [];
  const [{ target }] = sharing as readonly [WokenService];
  const remark = `share ${describeTarget(target)}: the longest times apply: ${times(policyOf(sharing))}`;
  return [{ of: sharing.map(({ name }) => name).join(", "), remark }];
}

function warningsOn(service: WokenService, settings: SharedSettings): string[] {
  return [...warningsOnProtocol(service), ...warningsOnRoute(service, settings)];
}

/** Whether the machine permits the kernel's rules is known when wakeport runs: status and the log show it. */
function warningsOnRoute(service: WokenService, settings: SharedSettings): string[] {
  const reason = service.relay === "kernel" ? reasonToRelay(service, settings) : undefined;
  return reason === undefined
    ? []
    : [`"relay: kernel" has no effect, because ${reason}: wakeport relays (see docs/kernel-route.md)`];
}

function warningsOnProtocol(service: WokenService): string[] {
  return service.protocol === "ftp" ? warningsOnFtp(service) : warningsOnRaw(service);
}

function warningsOnFtp({ data, ports, ftp, proxyProtocol }: Service): string[] {
  const warnings: string[] = [];
  // Compose files publish passive ranges, and port 20, in addition to the port that clients connect to.
  const likelyDataPorts = ports.filter(({ target, count = 1 }) => count > 1 || target === DATA_PORT);
  if (likelyDataPorts.length > 0) {
    const shown = likelyDataPorts.map(({ listen: listener, count }) => formatRange(listener, count)).join(", ");
    warnings.push(
      `${shown} in "ports": wakeport treats each of these ports as a control port. Data ports start no target: remove them, or write the passive ports in "data" (see docs/ftp.md)`,
    );
  } else if (data.length === 0) {
    warnings.push(
      'clients that encrypt the control connection (AUTH TLS) need "data" ports for passive mode (see docs/ftp.md)',
    );
  }
  const isReachable = data.length > 0 && ftp.publicAddress !== undefined;
  if (proxyProtocol.receive.length > 0 && !isReachable) {
    warnings.push(
      'clients behind a proxy (proxy_protocol.receive) cannot use active mode. For passive mode write "data" ports that the proxy forwards, and its address as "ftp: { public_address: … }" (see docs/ftp.md)',
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
      `port ${first} is the port of ${serverFirst[first]}, in which the server sends first: with "wake_on: first_byte" no client starts the target`,
    ];
  }
  if (!known.includes(FTP_PORT)) return [];
  return [
    'port 21 is the port of FTP: write "protocol: ftp", so that wakeport relays data connections (see docs/ftp.md)',
  ];
}
