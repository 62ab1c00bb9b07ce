/** Makes a Config from a file that passed the schema: fills in defaults and checks keys against each other. */
import type { Config, Service } from "./config.ts";
import { checkDependencies, checkGroups, checkListeners, checkSharing } from "./cross-checks.ts";
import { resolveAccess } from "./keys/access.ts";
import { checkApplicability } from "./keys/applicability.ts";
import { readBanners, resolveBanner } from "./keys/banner.ts";
import { resolveConnection } from "./keys/connection.ts";
import { resolveDependencies } from "./keys/dependencies.ts";
import { resolveFtp } from "./keys/ftp.ts";
import { reportFor, type UntargetedContext } from "./keys/key.ts";
import { resolveLimits } from "./keys/limits.ts";
import { resolveNames } from "./keys/names.ts";
import { resolveData, resolvePorts } from "./keys/ports.ts";
import { checkWait } from "./keys/process.ts";
import { protocolOf, resolveHold, resolveWakeOn } from "./keys/protocol.ts";
import { resolveReady } from "./keys/ready.ts";
import { resolveRelay } from "./keys/relay.ts";
import { resolveDiscovery, resolveSections } from "./keys/sections.ts";
import { admissionKeys, serviceKeys } from "./keys/service-keys.ts";
import { dependencyPolicy, resolveSleep } from "./keys/sleep.ts";
import { resolveStart } from "./keys/start.ts";
import { resolveTarget, targetKindOf } from "./keys/target.ts";
import { resolveUdp } from "./keys/udp.ts";
import type { ParsedConfig } from "./schema.ts";
import { checkWakeable, checkWith } from "./wake-graph.ts";
import type { Located, Report } from "./yaml/config-error.ts";

/** Input from outside of the file. */
export interface ResolveContext {
  /** Where the admin server listens if the file does not define it. */
  readonly adminListen: { readonly host: string; readonly port: number };
  /** Names of all services of the file. Default: the given services. */
  readonly names?: readonly string[];
  /** Services that lost invalid keys: only the checks between services apply to them. */
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
  const { trimmed = new Set() } = context;
  const discovery = resolveDiscovery(parsed);
  const names = Object.keys(parsed.services);
  if (names.length === 0 && discovery === undefined) {
    const hint = 'write one under "services:", or let labels define them: "docker: { discover: true }"';
    report({ path: ["services"], message: "the file defines no service", hint });
  }
  const banner = readBanners(parsed.defaults.banner, source, (at, message) =>
    report({ path: ["defaults", "banner", ...at], message }),
  );
  const services = Object.entries(parsed.services).flatMap(([name, own]) => {
    const ignore: Report = () => {};
    const { defaults } = parsed;
    const ports = own.ports ?? [];
    const reportService = reportFor(name, trimmed.has(name) ? ignore : report);
    return resolveService({ name, own, source, defaults, defaultBanners: banner, ports, report: reportService }) ?? [];
  });
  const sections = resolveSections(parsed, context.adminListen);
  checkListeners(services, sections.admin, report);
  checkServices(parsed, services, context, report);
  return {
    problems,
    config: {
      source,
      ...sections,
      services: services.map((service) => withProject(service, sections.docker.project)),
      dependencyPolicy: dependencyPolicy(parsed.defaults),
      ...(discovery !== undefined && {
        discover: { ...discovery, defaults: context.writtenDefaults ?? {}, banner },
      }),
    },
  };
}

/** Returns undefined, and reports, if the service has no valid target. */
function resolveService(written: UntargetedContext<typeof serviceKeys>): Service | undefined {
  const kind = targetKindOf(written);
  if (kind === undefined) return undefined;
  const untargeted = checkApplicability(serviceKeys, kind, written);
  checkWait(untargeted, Object.keys(admissionKeys));
  const target = resolveTarget(untargeted);
  if (target === undefined) return undefined;
  const context = { ...untargeted, target, protocol: protocolOf(untargeted, target.kind) };
  return {
    name: context.name,
    target,
    protocol: context.protocol,
    ports: resolvePorts(context),
    data: resolveData(context),
    ...resolveNames(context),
    ...resolveDependencies(context),
    ...resolveConnection(context),
    ...resolveRelay(context),
    ...resolveReady(context),
    ...resolveSleep(context),
    ...resolveStart(context),
    ...resolveHold(context),
    ...resolveWakeOn(context),
    ...resolveFtp(context),
    ...resolveAccess(context),
    ...resolveLimits(context),
    ...resolveBanner(context),
    ...resolveUdp(context),
  };
}

/** Checks services against each other. */
function checkServices(
  parsed: ParsedConfig,
  services: readonly Service[],
  { names = Object.keys(parsed.services), trimmed = new Set(), hasOthers = false }: ResolveContext,
  report: Report,
): void {
  checkSharing(services, report);
  checkDependencies(services, names, report);
  checkGroups(services, report);
  checkWith(services, names, report);
  const isComplete = services.length === names.length && trimmed.size === 0;
  const hasPorts = ({ name }: Service): boolean => trimmed.has(name) || parsed.services[name]?.ports !== undefined;
  checkWakeable(services, { hasPorts, isComplete, hasOthers }, report);
}

/** Adds `docker.project` to a container that is given by its service only. */
function withProject(service: Service, project: string | undefined): Service {
  const { target } = service;
  if (project === undefined || target.kind !== "container") return service;
  if ("name" in target.reference || target.reference.project !== undefined) return service;
  return { ...service, target: { ...target, reference: { ...target.reference, project } } };
}
