/** When a target counts as ready. */

import type { ProtocolName, ReadySpec } from "../config.ts";
import type { ParsedService } from "../schema.ts";
import type { Report } from "../yaml/schema-errors.ts";
import { builtInDefaults } from "./defaults.ts";
import { tlsFirst } from "./resolve-hold.ts";
import type { ParsedPolicies, ParsedReady } from "./schema-policies.ts";

/** Parts of `ready` that connect to a port. */
const connecting: ReadonlySet<ReadySpec["kind"]> = new Set(["protocol", "tcp", "banner", "http"]);

/** Protocols whose servers say nothing before a client does, and those that are not asked with GET. */
const greetsNobody: ReadonlySet<ProtocolName> = new Set<ProtocolName>(["http", "redis", "postgres"]);
const answersGet: ReadonlySet<ProtocolName> = new Set<ProtocolName>(["raw", "http"]);

/** With nothing but ports for datagrams there is none to connect to: then the target is ready when it is up. */
export function resolveReady(
  name: string,
  own: ParsedService,
  defaults: ParsedPolicies,
  protocol: ProtocolName,
  report: Report,
): ReadySpec[] {
  const ready = readySpecs(own.ready ?? defaults.ready ?? builtInDefaults.ready, protocolPart(own, protocol));
  // What is handed its listener takes connections before it runs: only who asks for more waits for more.
  const isSaid = own.ready !== undefined || defaults.ready !== undefined;
  if (hasListener(own) && !isSaid) return [];
  if (own.ports.some((port) => port.protocol !== "udp")) {
    const why = ready.map((part) => mismatch(part, protocol)).find((words) => words !== undefined);
    const place = own.ready === undefined ? { path: ["services", name] } : { path: ["services", name, "ready"] };
    const hint = protocol === "http" ? 'use "tcp", {http: /path} or "healthy"' : 'use "tcp", "healthy" or {log: …}';
    if (why !== undefined) report({ ...place, message: `service "${name}" would never be ready: ${why}`, hint });
    return ready;
  }
  const wrong = ready.find(({ kind }) => connecting.has(kind));
  if (wrong !== undefined && own.ready !== undefined) {
    const isPortless = own.ports.length === 0;
    const why = isPortless ? "it has no ports" : "all its ports are for UDP";
    const message = `service "${name}": "ready: ${wrong.kind}" connects to a TCP port, and ${why}`;
    const otherwise = isPortless ? "the target is ready when it is up" : "the first datagram finds out";
    const hint = `remove it, or use {log: …} or "healthy": without "ready" ${otherwise}`;
    report({ path: ["services", name, "ready"], message, hint });
  }
  return ready.filter(({ kind }) => !connecting.has(kind));
}

/** Why a server of that protocol never answers so. */
function mismatch({ kind }: ReadySpec, protocol: ProtocolName): string | undefined {
  if (kind === "banner" && greetsNobody.has(protocol))
    return `in ${protocol} the client speaks first, and no server greets`;
  if (kind === "http" && !answersGet.has(protocol))
    return `with "protocol: ${protocol}" nobody answers to a request of HTTP`;
  return undefined;
}

/** Resolves `ready: protocol`. On a TLS port the server sends nothing before the client does. */
function protocolPart({ ports }: ParsedService, protocol: ProtocolName): ReadySpec {
  const [first] = ports.filter((port) => port.protocol !== "udp");
  const isEncrypted = first !== undefined && (first.target ?? first.listen) === tlsFirst[protocol];
  return protocol === "raw" || protocol === "http" || isEncrypted ? { kind: "tcp" } : { kind: "protocol", protocol };
}

function readySpecs(ready: ParsedReady | readonly ParsedReady[], ofProtocol: ReadySpec): ReadySpec[] {
  const parts = Array.isArray(ready) ? (ready as readonly ParsedReady[]) : [ready as ParsedReady];
  return parts.map((part) => {
    if (part === "protocol") return ofProtocol;
    if (typeof part === "string") return { kind: part };
    if ("banner" in part) return { kind: "banner", banner: part.banner };
    if ("log" in part) return { kind: "log", pattern: part.log };
    const { http: path, status = builtInDefaults.status, headers } = part;
    return { kind: "http", path, status, ...(headers !== undefined && { headers }) };
  });
}

function hasListener({ process: program }: ParsedService): boolean {
  return program?.activation === "listen_fds";
}
