/** Checks that each key of a service has an effect for its target and ports. */
import { isDeepStrictEqual } from "node:util";
import type { Keys, TargetKind, UntargetedContext, Written } from "./key.ts";

/** Targets that need clients, so that a service without ports cannot have them. */
const servingKinds: readonly TargetKind[] = ["inetd", "forward", "builtin", "sensor"];

/**
 * Reports keys without an effect.
 *
 * @returns the context without keys that need ports, if the service has none
 */
export function checkApplicability<K extends Keys, C extends UntargetedContext<K>>(
  keys: K,
  kind: TargetKind,
  context: C,
): C {
  const { own, ports, report } = context;
  const hasTcp = ports.some(({ protocol }) => protocol !== "udp");
  const hasUdp = ports.some(({ protocol }) => protocol === "udp");
  const isPortless = ports.length === 0;
  if (isPortless && servingKinds.includes(kind)) {
    report(`"ports" is missing: "${kind}" only serves clients`, { hint: 'write where to listen: ports: ["2121"]' });
    return context;
  }
  for (const [key, { targets, needs, default: fallback }] of Object.entries(keys)) {
    const value = own[key];
    if (value === undefined) continue;
    if (targets !== undefined && !targets.includes(kind) && !isDeepStrictEqual(value, [])) {
      report(`"${key}" has no effect for "${kind}"`, { key, hint: "remove it" });
    } else if (needs !== undefined && isPortless) {
      report(`"${key}" has no effect without "ports"`, { key, hint: 'remove it, or add "ports"' });
    } else if (needs === "tcp" && !hasTcp && value !== fallback) {
      report(`"${key}" applies to TCP, and all ports are for UDP`, { key, hint: "remove it, or add a TCP port" });
    } else if (needs === "udp" && !hasUdp) {
      report(`"${key}" has no effect without a UDP port`, { key, hint: 'remove it, or write a port as "53/udp"' });
    }
  }
  if (!isPortless) return context;
  const clientKeys = Object.keys(keys).filter((key) => keys[key]?.needs !== undefined);
  const unset = Object.fromEntries(clientKeys.map((key) => [key, undefined])) as Written<K>;
  return { ...context, own: { ...own, ...unset }, defaults: { ...context.defaults, ...unset } };
}
