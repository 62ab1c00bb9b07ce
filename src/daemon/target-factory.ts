/** Makes targets, their probes and policies of the services that name them. Services that share a target share one. */
import type { Policy } from "../activation/policy.ts";
import type { Probe, Target } from "../activation/target.ts";
import type { Config, ProcessSpec, ReadySpec, Service, WokenService } from "../config/config.ts";
import { describeTarget } from "../config/describe.ts";
import { builtInDefaults } from "../config/keys/defaults.ts";
import { ENABLE_LABEL } from "../config/labels.ts";
import { Engine } from "../docker/engine.ts";
import { Essentials } from "../docker/essentials.ts";
import { EngineEvents } from "../docker/events.ts";
import { parseEngineHost } from "../docker/host.ts";
import { OwnContainer } from "../docker/own-container.ts";
import { Pulls } from "../docker/pulls.ts";
import type { ProxyVersion } from "../net/proxy-protocol.ts";
import { bannerProbe } from "../readiness/banner.ts";
import { healthyProbe } from "../readiness/healthy.ts";
import { httpProbe } from "../readiness/http.ts";
import { logProbe } from "../readiness/log.ts";
import { all, type NamedProbe } from "../readiness/probe.ts";
import { protocolProbe } from "../readiness/protocol.ts";
import { tcpProbe } from "../readiness/tcp.ts";
import { accountOf, type OwnAccount } from "../targets/accounts.ts";
import { ContainerTarget } from "../targets/container.ts";
import type { ContainerOptions } from "../targets/container-options.ts";
import { CreatedContainer } from "../targets/created-container.ts";
import { Creations } from "../targets/creations.ts";
import { Dependents } from "../targets/dependents.ts";
import { Owner } from "../targets/owner.ts";
import { ProcessTarget } from "../targets/process.ts";
import { StopGuard } from "../targets/stop-guard.ts";
import type { Observer } from "../telemetry/observer.ts";

/** @throws TargetError for a user or group that does not exist */
export function checkAccount({ target }: Service, host: HostEnvironment): void {
  if (target.kind === "process" || target.kind === "inetd") accountOf(target, host);
}

/** What the process around gives us. */
export interface HostEnvironment extends OwnAccount {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What programs that we start get without further ado; absent: not known. */
  readonly umask?: number;
}

/** The engine with everything that follows it. */
export interface EngineParts {
  readonly engine: Engine;
  readonly events: EngineEvents;
  readonly own: OwnContainer;
  readonly owners: ContainerOptions["owners"];
  readonly guard: StopGuard;
  readonly owner: Owner;
  readonly creations: Creations;
  readonly pulls: Pulls;
}

/** @throws TargetError when the engine's address cannot be understood */
export function createEngine(
  { docker, source }: Pick<Config, "docker" | "source">,
  { env }: Pick<HostEnvironment, "env">,
  observer: Observer,
): EngineParts {
  const engine = new Engine(parseEngineHost(docker.host, env), observer);
  const own = new OwnContainer(engine);
  const owner = new Owner({ own, source, project: docker.project });
  const owners: ContainerOptions["owners"] = new Map();
  const [essentials, dependents] = [new Essentials(engine, own), new Dependents(engine)];
  return {
    engine,
    own,
    events: new EngineEvents(engine, observer),
    owners,
    guard: new StopGuard({ own, owners, essentials, dependents }),
    owner,
    creations: new Creations({ engine, owner, observer }),
    pulls: new Pulls({ engine, observer }),
  };
}

/** Two services with the same key wake the same thing. */
export function keyOf({ name, target }: WokenService): string {
  if (target.kind === "container") return `container ${JSON.stringify(target.reference)}`;
  // A container on demand is found by its service; a process that is run in another way is another one.
  return target.kind === "created" ? `created ${name}` : `process ${name} ${JSON.stringify(target)}`;
}

/**
 * Makes the target that all of `services` name.
 *
 * @param taken names of other targets: what depends on what is told by their names, so that no two may be alike
 * @throws TargetError for a user or group that does not exist
 */
export function createTarget(
  services: readonly WokenService[],
  engine: EngineParts | undefined,
  host: HostEnvironment,
  observer: Observer,
  taken: ReadonlySet<string> = new Set(),
): Target {
  const [{ target: spec, name }] = services as readonly [WokenService];
  const graceMs = graceOf(services);
  if (spec.kind === "process")
    return createProcess(name, spec, graceMs ?? builtInDefaults.process_stop_grace, host, observer, taken);
  if (engine === undefined) throw new Error("a container target needs an engine");
  const names = services.map((service) => service.name).join(", ");
  const onWarning: ContainerOptions["onWarning"] = (event, message) => observer.warning(event, `${names}: ${message}`);
  const common = {
    name: describeTarget(spec),
    isNamed: true,
    requiredLabel: requiredLabelOf(services),
    network: networkOf(services),
    graceMs,
    onWarning,
    ...engine,
  };
  if (spec.kind === "created") return new CreatedContainer({ ...common, service: spec.service, spec });
  return new ContainerTarget({ ...common, reference: spec.reference });
}

/**
 * A service of labels uses only containers that have these labels themselves. A container with copied compose labels and a
 * higher number must not change that.
 */
export function requiredLabelOf(services: readonly WokenService[]): string | undefined {
  return services.some(({ target }) => target.kind === "container" && target.byLabels) ? ENABLE_LABEL : undefined;
}

/** The network on which a container is dialled; undefined if no service has ports. */
export function networkOf(services: readonly WokenService[]): string | undefined {
  const target = services.find(({ ports }) => ports.length > 0)?.target;
  return target === undefined || target.kind === "process" ? undefined : target.network;
}

/** The longest that any of the services sets, in milliseconds. */
export function graceOf(services: readonly WokenService[]): number | undefined {
  const graces = services.flatMap(({ stopGraceMs }) => stopGraceMs ?? []);
  return graces.length === 0 ? undefined : Math.max(...graces);
}

function createProcess(
  service: string,
  spec: ProcessSpec,
  graceMs: number,
  host: HostEnvironment,
  observer: Observer,
  taken: ReadonlySet<string>,
): ProcessTarget {
  const inShort = describeTarget({ kind: "process", ...spec });
  const { user, group, command, listen, cwd } = spec;
  const who = { ...(user !== undefined && { user }), ...(group !== undefined && { group }) };
  const account = accountOf(who, host);
  return new ProcessTarget({
    name: taken.has(inShort) ? `${inShort} (${service})` : inShort,
    command,
    listen,
    graceMs,
    ...(spec.isHandedListener && { listenerName: service }),
    env: environmentOf(spec, host.env, account?.home),
    onLine: (line) => observer.output(service, line),
    ...(cwd !== undefined && { cwd }),
    ...(account !== undefined && { account }),
  });
}

/** Nothing of wakeport's own environment reaches a child but what every program needs. */
export function environmentOf(
  { env }: Pick<ProcessSpec, "env">,
  own: Readonly<Record<string, string | undefined>>,
  home: string | undefined,
): Record<string, string> {
  const { PATH, LANG, TZ, HOME } = own;
  const inherited = Object.entries({ PATH, LANG, TZ, HOME: home ?? HOME });
  return {
    ...Object.fromEntries(inherited.filter((entry): entry is [string, string] => entry[1] !== undefined)),
    ...env,
  };
}

/** All that any of the services asks for must hold. What not all of them ask for is told with whose wish it is. */
export function probeOf(services: readonly WokenService[], target: Target): Probe {
  const asked = services.flatMap((service) => probesOf(service, target).map((one) => ({ ...one, by: service.name })));
  const probes = [...Map.groupBy(asked, ({ key }) => key).values()].flatMap((same) => {
    const wishers = new Set(same.map(({ by }) => by));
    const whose = wishers.size < services.length ? ` (of service ${[...wishers].join(", ")})` : "";
    return same.slice(0, 1).map(({ probe }) => ({ ...probe, name: `${probe.name}${whose}` }));
  });
  return all(probes);
}

/** A service with several TCP ports is probed on its first one, because data ports are open only during a transfer. */
function probesOf({ ready, ports, proxyProtocol }: WokenService, target: Target): { key: string; probe: NamedProbe }[] {
  const connectable = ports.find(({ protocol }) => protocol !== "udp") ?? ports[0];
  // A service without ports has only probes that do not connect.
  const port = connectable?.target ?? 0;
  const { send } = proxyProtocol;
  return ready.map((part) => ({
    key: JSON.stringify([part, port, send]),
    probe: probeFor(part, { target, port, send }),
  }));
}

function probeFor(part: ReadySpec, { target, port, send }: ProbedTarget): NamedProbe {
  switch (part.kind) {
    case "tcp":
      return tcpProbe(port);
    case "protocol":
      return protocolProbe(port, part.protocol, send);
    case "banner":
      return bannerProbe(port, part.banner, send);
    case "http":
      return httpProbe(port, part, send);
    case "log":
      return logProbe(target, part.pattern);
    case "healthy":
      return healthyProbe(target);
  }
}

interface ProbedTarget {
  readonly target: Target;
  readonly port: number;
  readonly send: ProxyVersion | undefined;
}

/** Where services that share a target differ, the longest time holds: none of them is served worse than it asked. */
export function policyOf(services: readonly WokenService[]): Policy {
  const longest = (time: (service: WokenService) => number): number => Math.max(...services.map(time));
  const { sleep, thenStop } = services[0] as WokenService;
  // The target is kept awake by direct traffic if one of its services is.
  const tolerated = services.flatMap(({ directTrafficBytes }) => directTrafficBytes ?? []);
  return {
    sleep,
    ...(thenStop && { thenStop }),
    idleTimeoutMs: longest(({ idleTimeoutMs }) => idleTimeoutMs),
    minUptimeMs: longest(({ minUptimeMs }) => minUptimeMs),
    startTimeoutMs: longest(({ startTimeoutMs }) => startTimeoutMs),
    ...(tolerated.length > 0 && { directTrafficBytes: Math.min(...tolerated) }),
  };
}
