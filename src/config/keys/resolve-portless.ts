/** A service without ports: no client connects to it, and its target is woken with others. */

import type { ParsedService } from "../schema.ts";
import type { Report } from "../yaml/schema-errors.ts";
import type { ParsedPolicies } from "./schema-policies.ts";
import type { TargetKind } from "./schema-targets.ts";

/** Keys about clients and connections. */
const aboutClients = [
  "data",
  "host",
  "sni",
  "network",
  "release_pace",
  "protocol",
  "hold",
  "wake_on",
  "ftp",
  "proxy_protocol",
  "access",
  "limits",
  "banner",
  "on_deny",
  "monitors",
  "udp",
] as const;
type AboutClients = (typeof aboutClients)[number];

/** Targets that are not started without a client. */
const servingClients: readonly TargetKind[] = ["inetd", "forward", "builtin", "sensor"];

/**
 * Reports keys that have no effect without ports.
 *
 * @returns the service and the defaults without such keys
 */
export function resolvePortless(
  name: string,
  own: ParsedService,
  defaults: ParsedPolicies,
  report: Report,
): { own: ParsedService; defaults: ParsedPolicies } {
  const path = ["services", name];
  const kind = servingClients.find((one) => own[one] !== undefined);
  if (kind !== undefined) {
    const message = `service "${name}" needs "ports": a target of the kind "${kind}" only serves clients`;
    report({ path, message, hint: 'write where to listen: ports: ["2121"]' });
    return { own, defaults };
  }
  for (const key of aboutClients.filter((one) => own[one] !== undefined)) {
    const message = `service "${name}": "${key}" is about clients, and a service without "ports" has none`;
    report({ path, key, message, hint: 'remove it, or add "ports"' });
  }
  const { process } = own;
  const listening = process?.listen !== undefined ? "listen" : "activation";
  if (process?.listen !== undefined || process?.activation === "listen_fds") {
    const message = `service "${name}": "${listening}" is about clients, and a service without "ports" has none`;
    report({ path: [...path, "process"], key: listening, message, hint: 'remove it, or add "ports"' });
  }
  return { own: withoutClients(own), defaults: withoutClients(defaults) };
}

function withoutClients<T extends object>(keys: T): T & { readonly [Key in AboutClients]?: undefined } {
  return { ...keys, ...Object.fromEntries(aboutClients.map((key) => [key, undefined])) };
}
