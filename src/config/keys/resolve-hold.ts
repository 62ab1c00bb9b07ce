/** What clients speak, and how they are held: not every way is of use for every protocol. */

import { type HoldSpec, type ProtocolName, type Service, type TargetSpec, wokenKinds } from "../config.ts";
import type { ParsedService } from "../schema.ts";
import type { PortMapping } from "../values/ports.ts";
import type { Report } from "../yaml/schema-errors.ts";
import { builtInDefaults } from "./defaults.ts";
import type { ParsedHold, ParsedPolicies } from "./schema-policies.ts";

/** Ports at which TLS comes first, so that clients take lines of text for a broken server. */
export const tlsFirst: Readonly<Partial<Record<ProtocolName, number>>> = { smtp: 465, ftp: 990 };

/** What a service inherits and cannot use counts as not said: `defaults` are for services of more than one kind. */
export function resolveHold(
  name: string,
  own: ParsedService,
  defaults: ParsedPolicies,
  { kind }: TargetSpec,
  report: Report,
): Pick<Service, "protocol" | "hold"> {
  // Nobody waits for it, and what it says itself of these is reported as without a meaning.
  if (!wokenKinds.has(kind)) return { protocol: builtInDefaults.protocol, hold: { kind: "auto" } };
  const protocol: ProtocolName = own.protocol ?? defaults.protocol ?? builtInDefaults.protocol;
  const hold = holdOf(own.hold ?? defaults.hold ?? builtInDefaults.hold);
  // FTP is read while it passes, too, and not only while clients wait.
  if (hold.kind === "auto" || protocol === "ftp") checkPorts(name, own.ports, protocol, report);
  if (hold.kind !== "page" || protocol === "http") return { protocol, hold };
  if (own.hold !== undefined) {
    const message = `service "${name}": "hold: page" is a page for browsers, and its protocol is "${protocol}"`;
    const hint = 'write "protocol: http" if its clients use HTTP, or remove "hold"';
    report({ path: ["services", name, "hold"], message, hint });
  }
  return { protocol, hold: { kind: "auto" } };
}

function checkPorts(name: string, ports: readonly PortMapping[], protocol: ProtocolName, report: Report): void {
  const tlsPort = tlsFirst[protocol];
  if (tlsPort === undefined) return;
  const isFtp = protocol === "ftp";
  for (const [index, { listen, target = listen, count = 1, protocol: transport }] of ports.entries()) {
    const isThere = [listen, target].some((first) => first <= tlsPort && tlsPort < first + count);
    if (!isThere || transport === "udp") continue;
    const what = isFtp ? "reads nothing" : "has no words for those who wait";
    const message = `service "${name}": clients of port ${tlsPort} speak TLS, in which "protocol: ${protocol}" ${what}`;
    const own = 'give that port a service of its own, with "protocol: raw" and the same target';
    const hint = isFtp ? `${own}, and "data:" ports` : `${own}, or write "hold: silent"`;
    report({ path: ["services", name, "ports", index], message, hint });
  }
}

function holdOf(parsed: ParsedHold): HoldSpec {
  if (typeof parsed === "object") return { kind: "page", logLines: parsed.page.log_lines ?? builtInDefaults.log_lines };
  return parsed === "page" ? { kind: "page", logLines: builtInDefaults.log_lines } : { kind: parsed };
}
