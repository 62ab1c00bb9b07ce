/** When a target is ready. */
import { z } from "zod";
import type { ProtocolName, ReadySpec } from "../config.ts";
import type { PortMapping } from "../values/ports.ts";
import { parseHeaders, parsePattern, parseStatus } from "../values/readiness.ts";
import { numberOrText, parsedBy, present, texts } from "./common.ts";
import { type Context, effective, key, started } from "./key.ts";
import { tlsFirst } from "./protocol.ts";
import type { targetKeys } from "./target.ts";

const probe = z.union([
  z.enum(["protocol", "tcp", "healthy"]),
  z.strictObject({ banner: z.string().min(1).describe("The text with which the server begins") }),
  z.strictObject({
    http: z
      .string()
      .regex(/^\/[!-~]*$/, 'a path starts with "/" and has no spaces')
      .describe("The path of a GET request"),
    status: numberOrText(parseStatus)
      .prefault("200-399")
      .describe('The status of a ready target, or a range: 204, "200-299"; default: "200-399"'),
    headers: texts
      .transform(parsedBy(parseHeaders))
      .optional()
      .describe('Headers of the request; default: "Host" with the address of the target'),
  }),
  z.strictObject({
    log: z
      .string()
      .min(1)
      .transform(parsedBy(parsePattern))
      .describe("A JavaScript regular expression that matches a line of the target's output"),
  }),
]);
type Probe = z.output<typeof probe>;

export const readyKeys = {
  ready: key(z.union([probe, z.array(probe).min(1)]), {
    default: "protocol",
    description: "When the target is ready; all probes of a list must succeed",
    ...started,
  }),
};

/** Probes that connect to a TCP port. */
const connecting: ReadonlySet<ReadySpec["kind"]> = new Set(["protocol", "tcp", "banner", "http"]);
/** Protocols whose servers send nothing before the client does. */
const clientFirst: ReadonlySet<ProtocolName> = new Set<ProtocolName>(["http", "redis", "postgres"]);

/** Without a TCP port no probe can connect: then the target is ready as soon as it runs. */
export function resolveReady(context: Context<typeof readyKeys & typeof targetKeys>) {
  const { own, defaults, ports, target, protocol, report } = context;
  const { ready: written } = effective(readyKeys, own, defaults);
  const ready = (Array.isArray(written) ? written : [written]).map((one) => readySpec(one, ports, protocol));
  // The listener of listen_fds accepts connections before the process runs: only an explicit probe delays them.
  const isExplicit = own.ready !== undefined || defaults.ready !== undefined;
  if (own.process?.activation === "listen_fds" && !isExplicit) return { ready: [] };
  const at = own.ready === undefined ? [] : ["ready"];
  if (target.kind === "process" && ready.some(({ kind }) => kind === "healthy")) {
    const hint = 'use "tcp", {banner: …}, {http: …} or {log: …}';
    report('"ready: healthy" is for containers: a process has no health check', { at, hint });
  }
  if (ports.some((port) => port.protocol !== "udp")) {
    const reason = ready.map(({ kind }) => mismatch(kind, protocol)).find((one) => one !== undefined);
    const hint = protocol === "http" ? 'use "tcp", {http: /path} or "healthy"' : 'use "tcp", "healthy" or {log: …}';
    if (reason !== undefined) report(`its target would never be ready: ${reason}`, { at, hint });
    return { ready };
  }
  const wrong = ready.find(({ kind }) => connecting.has(kind));
  if (wrong !== undefined && own.ready !== undefined) {
    const reason = ports.length === 0 ? 'it has no "ports"' : "all its ports are for UDP";
    const hint = 'remove it, or use {log: …} or "healthy": without "ready" the target is ready when it runs';
    report(`"ready: ${wrong.kind}" connects to a TCP port, and ${reason}`, { at, hint });
  }
  return { ready: ready.filter(({ kind }) => !connecting.has(kind)) };
}

/** Returns why a server of the protocol never passes the probe, or undefined. */
function mismatch(kind: ReadySpec["kind"], protocol: ProtocolName): string | undefined {
  if (kind === "banner" && clientFirst.has(protocol)) return `in ${protocol} the client sends first`;
  if (kind === "http" && protocol !== "raw" && protocol !== "http")
    return `a server of "protocol: ${protocol}" does not answer HTTP requests`;
  return undefined;
}

function readySpec(written: Probe, ports: readonly PortMapping[], protocol: ProtocolName): ReadySpec {
  if (written === "protocol") return protocolSpec(ports, protocol);
  if (typeof written === "string") return { kind: written };
  if ("banner" in written) return { kind: "banner", banner: written.banner };
  if ("log" in written) return { kind: "log", pattern: written.log };
  const { http: path, status, headers } = written;
  return { kind: "http", ...present({ path, status, headers }) };
}

/** On a TLS port the server sends nothing before the client does, so only its listening is tested. */
function protocolSpec(ports: readonly PortMapping[], protocol: ProtocolName): ReadySpec {
  const [first] = ports.filter((port) => port.protocol !== "udp");
  const isEncrypted = first !== undefined && (first.target ?? first.listen) === tlsFirst[protocol];
  return protocol === "raw" || protocol === "http" || isEncrypted ? { kind: "tcp" } : { kind: "protocol", protocol };
}
