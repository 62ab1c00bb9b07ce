import type { AccessRules } from "../../config/admission-policy.ts";
import { formatIp, type Ip, isIn } from "../../net/ip.ts";
import type { BanList } from "./ban-list.ts";
import { DeniedError } from "./denial.ts";

/** Whether the list is told to keep this source out, rather than not told to let it in. */
export function isDenied({ deny }: Pick<AccessRules, "deny">, source: Ip | undefined): boolean {
  return source === undefined ? deny.length > 0 : deny.some((network) => isIn(source, network));
}

/**
 * Whether a source may connect. Deny wins over allow, whichever is narrower. A source that is not known (a client that
 * has left already) is let in only where everybody is.
 */
export function isAllowed(rules: AccessRules, source: Ip | undefined): boolean {
  if (isDenied(rules, source)) return false;
  if (rules.allow === undefined) return true;
  return source !== undefined && rules.allow.some((network) => isIn(source, network));
}

const UNKNOWN = "an unknown source";

/**
 * Asks the bans, then the list.
 *
 * @param now Unix time in milliseconds
 * @throws DeniedError for a source that may not connect
 */
export function checkSource(rules: AccessRules, bans: BanList, source: Ip | undefined, now: number): void {
  const name = source === undefined ? UNKNOWN : formatIp(source);
  if (bans.has(source, now)) throw new DeniedError("banned", `${name} is banned for a time`);
  if (!isAllowed(rules, source)) throw new DeniedError("address", `${name} may not use this service`);
}
