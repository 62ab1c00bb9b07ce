/** Decides which services the kernel can forward exactly as wakeport relays them. */
import { isWoken, type Service } from "../config/config.ts";
import { eachPort } from "../config/values/ports.ts";

/** The rules are checked with one dial for each port. */
const MAX_PORTS = 16;

/** Settings of the file that apply to all services. */
export interface SharedSettings {
  /** Whether a sensor may ban sources from all services. */
  readonly hasSensor: boolean;
  /** Whether clients' ident servers are queried. */
  readonly usesIdent: boolean;
}

/**
 * Returns why connections of a service must pass through wakeport, as the end of "…, because"; undefined if the kernel
 * can forward them.
 */
export function reasonToRelay(service: Service, { hasSensor, usesIdent }: SharedSettings): string | undefined {
  const { access, limits, names, proxyProtocol, banner, monitors, data, ports, protocol, wakeOn } = service;
  const reasons: readonly (readonly [boolean, string])[] = [
    [!isWoken(service), "its target is not started by wakeport"],
    [access.allow !== undefined || access.deny.length > 0, 'it has "access" rules'],
    [access.times !== undefined, 'it has "access.times"'],
    [hasLimit(limits), 'it has "limits"'],
    [names !== undefined, "its clients are routed by name"],
    [proxyProtocol.send !== undefined || proxyProtocol.receive.length > 0, 'it has "proxy_protocol"'],
    [banner.connect !== undefined || banner.accept !== undefined, 'it has a "banner"'],
    [monitors.length > 0, 'it has "monitors"'],
    [data.length > 0 || protocol === "ftp", "addresses in the FTP protocol are replaced"],
    [wakeOn === "first_byte", 'it has "wake_on: first_byte"'],
    [ports.some(({ address }) => address !== undefined), "it listens on one address"],
    [ports.flatMap(eachPort).length > MAX_PORTS, `it has more than ${MAX_PORTS} ports`],
    [hasSensor, "a sensor bans sources from all services"],
    [usesIdent, 'the file has "log.user_id"'],
  ];
  return reasons.find(([applies]) => applies)?.[1];
}

function hasLimit({ connections, perSource, rate, ratePerSource, maxLoad }: Service["limits"]): boolean {
  return [connections, perSource, rate, ratePerSource, maxLoad].some((limit) => limit !== undefined);
}

/** Returns what the settings of a file mean for all services. */
export function sharedSettings(services: readonly Service[], usesIdent: boolean): SharedSettings {
  const hasSensor = services.some(({ enabled, target }) => enabled && target.kind === "sensor");
  return { hasSensor, usesIdent };
}
