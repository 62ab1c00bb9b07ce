/** Why wakeport must see each client of a service before its target does. */
import type { Service } from "./config.ts";

/** Returns the reasons as the end of "…, because". */
export function clientNeeds(service: Service): readonly string[] {
  const { limits, names, proxyProtocol, banner, monitors, data, protocol, wakeOn } = service;
  const needs: readonly (readonly [boolean, string])[] = [
    [hasLimit(limits), 'it has "limits"'],
    [names !== undefined, "its clients are routed by name"],
    [proxyProtocol.send !== undefined || proxyProtocol.receive.length > 0, 'it has "proxy_protocol"'],
    [banner.connect !== undefined || banner.accept !== undefined, 'it has a "banner"'],
    [monitors.length > 0, 'it has "monitors"'],
    [data.length > 0 || protocol === "ftp", "addresses in the FTP protocol are replaced"],
    [wakeOn === "first_byte", 'it has "wake_on: first_byte"'],
  ];
  return needs.flatMap(([applies, reason]) => (applies ? reason : []));
}

/** Returns why the client's address, or the time, must be checked, in the same form. */
export function accessNeeds(service: Service): readonly string[] {
  const { allow, deny } = service.access;
  return [...(allow !== undefined || deny.length > 0 ? ['it has "access" rules'] : []), ...timesNeeds(service)];
}

/** Returns why the time must be checked, in the same form. */
export function timesNeeds({ access: { times } }: Service): readonly string[] {
  return times === undefined ? [] : ['it has "access.times"'];
}

/** Settings of the file that apply to all services. */
export interface SharedSettings {
  /** Whether a sensor may ban sources from all services. */
  readonly hasSensor: boolean;
  /** Whether clients' ident servers are queried. */
  readonly usesIdent: boolean;
}

/** Returns what the settings of a file mean for all services. */
export function sharedSettings(services: readonly Service[], usesIdent: boolean): SharedSettings {
  const hasSensor = services.some(({ enabled, target }) => enabled && target.kind === "sensor");
  return { hasSensor, usesIdent };
}

/** Does the same as `clientNeeds` for the clients of all services. */
export function sharedNeeds({ hasSensor, usesIdent }: SharedSettings): readonly string[] {
  return [
    ...(hasSensor ? ["a sensor bans sources from all services"] : []),
    ...(usesIdent ? ['the file has "log.user_id"'] : []),
  ];
}

function hasLimit({ connections, perSource, rate, ratePerSource, maxLoad }: Service["limits"]): boolean {
  return [connections, perSource, rate, ratePerSource, maxLoad].some((limit) => limit !== undefined);
}
