import type { AccessRules } from "../../config/admission-policy.ts";
import { formatIp, type Ip, isIn } from "../../net/ip.ts";
import type { BanList } from "./ban-list.ts";
import { DeniedError } from "./denial.ts";

/** Whether the list denies this source, rather than not allowing it. */
export function isDenied({ deny }: Pick<AccessRules, "deny">, source: Ip | undefined): boolean {
  return source === undefined ? deny.length > 0 : deny.some((network) => isIn(source, network));
}

/** Whether a source may connect. Deny wins over allow. An unknown source may connect only if all sources may. */
export function isAllowed(rules: AccessRules, source: Ip | undefined): boolean {
  if (isDenied(rules, source)) return false;
  if (rules.allow === undefined) return true;
  return source !== undefined && rules.allow.some((network) => isIn(source, network));
}

/**
 * Checks the bans, then the list.
 *
 * @param source undefined for a client that left before accept
 * @param now Unix time in milliseconds
 * @throws DeniedError if the source may not connect
 */
export function checkSource(rules: AccessRules, bans: BanList, source: Ip | undefined, now: number): void {
  if (bans.has(source, now)) throw new DeniedError("banned", `${nameOf(source)} is banned`);
  if (!isAllowed(rules, source)) throw new DeniedError("address", `${nameOf(source)} may not use this service`);
}

function nameOf(source: Ip | undefined): string {
  return source === undefined ? "an unknown source" : formatIp(source);
}
