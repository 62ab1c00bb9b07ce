/** Makes a Config of a file that has the right shape: defaults filled in, and checked for what only the whole can tell. */

import type { Config, Service } from "./config.ts";
import { checkDependencies, checkGroups, checkListeners, checkSharing } from "./cross-checks.ts";
import { builtInDefaults } from "./keys/defaults.ts";
import { readBanners, resolveAdmission } from "./keys/resolve-admission.ts";
import { resolveData } from "./keys/resolve-data.ts";
import { resolveFtp } from "./keys/resolve-ftp.ts";
import { resolveHold } from "./keys/resolve-hold.ts";
import { resolveNames } from "./keys/resolve-names.ts";
import { resolvePortless } from "./keys/resolve-portless.ts";
import { resolveProxyProtocol } from "./keys/resolve-proxy-protocol.ts";
import { resolveReady } from "./keys/resolve-ready.ts";
import { dependencyPolicy, directTrafficOf, resolveSleep } from "./keys/resolve-sleep.ts";
import { resolvePort, resolveTarget, resolveUdp } from "./keys/resolve-target.ts";
import { resolveWakeOn } from "./keys/resolve-wake-on.ts";
import type { ParsedPolicies } from "./keys/schema-policies.ts";
import type { ParsedConfig, ParsedService } from "./schema.ts";
import { MAX_PORTS, type PortMapping } from "./values/ports.ts";
import { checkWakeable, checkWith } from "./wake-graph.ts";
import type { Located, Report } from "./yaml/schema-errors.ts";

/** What comes from outside of the file. */
export interface ResolveContext {
  /** Where the admin server listens when the file does not say. */
  readonly adminListen: { readonly host: string; readonly port: number };
  /** All services of the file; default: the given ones. */
  readonly names?: readonly string[];
  /** Services without their refused keys, for the checks between services. */
  readonly trimmed?: ReadonlySet<string>;
  /** The section `defaults` as it is written. */
  readonly writtenDefaults?: unknown;
  /** Whether services outside of the file may belong to its groups. */
  readonly hasOthers?: boolean;
}

export function resolve(
  parsed: ParsedConfig,
  source: string,
  context: ResolveContext,
): { config: Config; problems: Located[] } {
  const problems: Located[] = [];
  const report: Report = (problem) => problems.push(problem);
  const entries = Object.entries(parsed.services);
  const { discover } = parsed.docker;
  if (entries.length === 0 && discover === false) {
    const hint = 'write one under "services:", or let labels make them: "docker: { discover: true }"';
    report({ path: ["services"], message: "there is no service", hint });
  }
  const banner = readBanners(parsed.defaults.banner, ["defaults", "banner"], source, report);
  const services = entries.flatMap(([name, service]) => {
    const tell: Report = context.trimmed?.has(name) === true ? () => {} : report;
    const resolved = resolveService(name, service, parsed.defaults, tell);
    const admission = resolveAdmission(name, service, { parsed: parsed.defaults, banner }, source, tell);
    return resolved.map((one) => ({ ...one, ...admission }));
  });
  const admin = parsed.admin.listen ?? context.adminListen;
  const { host, project, labels } = parsed.docker;
  const claims = {
    ports: labels.ports ?? [builtInDefaults.label_ports],
    ...(labels.names !== undefined && { names: labels.names }),
  };
  checkListeners(services, admin, report);
  checkSharing(services, report);
  const names = context.names ?? Object.keys(parsed.services);
  checkDependencies(services, names, report);
  checkGroups(services, report);
  checkWith(services, names, report);
  const { trimmed = new Set() } = context;
  const isComplete = services.length === names.length && trimmed.size === 0;
  const hasPorts = ({ name }: Service): boolean => trimmed.has(name) || parsed.services[name]?.ports.length !== 0;
  checkWakeable(services, { hasPorts, isComplete, hasOthers: context.hasOthers === true }, report);
  return {
    problems,
    config: {
      source,
      services: services.map((service) => withProject(service, project)),
      dependencyPolicy: dependencyPolicy(parsed.defaults),
      admin,
      adminAllowedHosts: parsed.admin.allowed_hosts ?? [],
      ...(discover !== false && {
        discover: {
          scope: discover === "all" ? "all" : "project",
          defaults: context.writtenDefaults ?? {},
          banner,
          claims,
        },
      }),
      docker: { ...(host !== undefined && { host }), ...(project !== undefined && { project }) },
      log: { level: parsed.log.level, format: parsed.log.format, userId: parsed.log.user_id },
      shutdown: { targets: parsed.shutdown.targets, drainMs: parsed.shutdown.drain },
    },
  };
}

type Unadmitted = Omit<Service, keyof ReturnType<typeof resolveAdmission>>;

function resolveService(
  name: string,
  written: ParsedService,
  writtenDefaults: ParsedPolicies,
  report: Report,
): Unadmitted[] {
  const { own, defaults } =
    written.ports.length === 0
      ? resolvePortless(name, written, writtenDefaults, report)
      : { own: written, defaults: writtenDefaults };
  const target = resolveTarget(name, own, defaults, report);
  if (target === undefined) return [];
  const ports = own.ports.map((port, index) => resolvePort(name, port, index, target, report));
  checkCount(name, [...own.ports, ...(own.data ?? [])], report);
  const { protocol, hold } = resolveHold(name, own, defaults, target, report);
  const ready = resolveReady(name, own, defaults, protocol, report);
  const stopGraceMs = own.stop_grace ?? defaults.stop_grace;
  const startTimeoutMs = own.start_timeout ?? defaults.start_timeout ?? builtInDefaults.start_timeout;
  const path = ["services", name];
  const names = resolveNames(name, own, target, protocol, report);
  if (startTimeoutMs === 0)
    report({ path: [...path, "start_timeout"], message: "with a start_timeout of 0 nothing can start" });
  if (target.kind === "process" && ready.some(({ kind }) => kind === "healthy")) {
    const message = `service "${name}": a process has no health check: "ready: healthy" is for containers`;
    report({ path: [...path, "ready"], message, hint: 'use "tcp", {banner: …}, {http: …} or {log: …}' });
  }
  return [
    {
      name,
      target,
      ready,
      startTimeoutMs,
      ports: ports.filter((port) => port !== undefined),
      ...resolveSleep(name, own, defaults, target, report),
      ...directTrafficOf(own, defaults),
      minUptimeMs: own.min_uptime ?? defaults.min_uptime ?? builtInDefaults.min_uptime,
      releasePace: own.release_pace ?? defaults.release_pace ?? builtInDefaults.release_pace,
      protocol,
      hold,
      ftp: resolveFtp(name, own, defaults, protocol, report),
      data: resolveData(name, own, target, protocol, report),
      proxyProtocol: resolveProxyProtocol(name, own, defaults, target, report),
      wakeOn: resolveWakeOn(name, own, defaults, target, protocol, report),
      udp: resolveUdp(name, own, defaults, report),
      enabled: own.enabled ?? defaults.enabled ?? builtInDefaults.enabled,
      dependsOn: own.depends_on,
      wakesWith: own.with,
      ...(names !== undefined && { names }),
      ...(own.group !== undefined && { group: own.group }),
      ...(stopGraceMs !== undefined && { stopGraceMs }),
    },
  ];
}

/** Each port is a listener. */
function checkCount(name: string, ports: readonly PortMapping[], report: Report): void {
  const count = ports.reduce((sum, port) => sum + (port.count ?? 1), 0);
  if (count <= MAX_PORTS) return;
  const message = `service "${name}" has ${count} ports: ${MAX_PORTS} are the most`;
  report({ path: ["services", name, "ports"], message, hint: "each is a listener of its own" });
}

/** `docker.project` is what containers that name only their service belong to. */
function withProject(service: Service, project: string | undefined): Service {
  const { target } = service;
  if (project === undefined || target.kind !== "container") return service;
  if ("name" in target.reference || target.reference.project !== undefined) return service;
  return { ...service, target: { ...target, reference: { ...target.reference, project } } };
}
