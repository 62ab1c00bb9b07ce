/** Makes a Config of a file that has the right shape: defaults filled in, and checked for what only the whole can tell. */
import type { Config, ReadySpec, Service, ServicePort, StatusRange, TargetSpec } from "./config.ts";
import type { Located } from "./issues.ts";
import { clash, type PortMapping } from "./ports.ts";
import type {
  ParsedConfig,
  ParsedCreated,
  ParsedPolicies,
  ParsedReady,
  ParsedService,
  ParsedSleepStep,
} from "./schema.ts";
import { suggest } from "./suggest.ts";

/** What comes from outside of the file. */
export interface ResolveContext {
  /** Where the admin server listens when the file does not say. */
  readonly adminListen: { readonly host: string; readonly port: number };
  /** The section `defaults` as it is written. */
  readonly writtenDefaults?: unknown;
}

/** The values of the keys that neither a service nor `defaults` sets. Durations in milliseconds. */
export const builtIn: {
  readonly [Key in
    | "network"
    | "idle_timeout"
    | "sleep"
    | "min_uptime"
    | "start_timeout"
    | "release_pace"
    | "enabled"]-?: NonNullable<ParsedPolicies[Key]>;
} & {
  readonly ready: ParsedReady;
  readonly status: StatusRange;
  readonly waiting: number;
  readonly process_stop_grace: number;
} = {
  network: "auto",
  ready: "tcp",
  status: { from: 200, to: 399 },
  idle_timeout: 5 * 60_000,
  sleep: "stop",
  min_uptime: 0,
  start_timeout: 60_000,
  process_stop_grace: 10_000,
  release_pace: 4,
  waiting: 1_000,
  enabled: true,
};

type Report = (problem: Located) => void;

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
  const services = entries.flatMap(([name, service]) => resolveService(name, service, parsed.defaults, report));
  const admin = parsed.admin.listen ?? context.adminListen;
  const { host, project } = parsed.docker;
  checkFronts(services, admin, report);
  checkSharing(services, report);
  checkDependencies(services, Object.keys(parsed.services), report);
  checkGroups(services, report);
  return {
    problems,
    config: {
      source,
      services: services.map((service) => withProject(service, project)),
      dependencyPolicy: dependencyPolicy(parsed.defaults),
      admin,
      ...(discover !== false && {
        discover: { scope: discover === "all" ? "all" : "project", defaults: context.writtenDefaults ?? {} },
      }),
      docker: { ...(host !== undefined && { host }), ...(project !== undefined && { project }) },
      log: parsed.log,
      shutdown: { targets: parsed.shutdown.targets, drainMs: parsed.shutdown.drain },
    },
  };
}

function resolveService(name: string, own: ParsedService, defaults: ParsedPolicies, report: Report): Service[] {
  const target = targetOf(name, own, defaults, report);
  if (target === undefined) return [];
  const ports = own.ports.map((port, index) => resolvePort(name, port, index, target, report));
  const ready = readySpecs(own.ready ?? defaults.ready ?? builtIn.ready);
  const stopGraceMs = own.stop_grace ?? defaults.stop_grace;
  const startTimeoutMs = own.start_timeout ?? defaults.start_timeout ?? builtIn.start_timeout;
  const path = ["services", name];
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
      minUptimeMs: own.min_uptime ?? defaults.min_uptime ?? builtIn.min_uptime,
      releasePace: own.release_pace ?? defaults.release_pace ?? builtIn.release_pace,
      limits: { waiting: own.limits?.waiting ?? defaults.limits?.waiting ?? builtIn.waiting },
      enabled: own.enabled ?? defaults.enabled ?? builtIn.enabled,
      dependsOn: own.depends_on,
      ...(own.group !== undefined && { group: own.group }),
      ...(stopGraceMs !== undefined && { stopGraceMs }),
    },
  ];
}

type SleepPolicy = Pick<Service, "idleTimeoutMs" | "sleep" | "deeper">;

function resolveSleep(
  name: string,
  own: ParsedService,
  defaults: ParsedPolicies,
  target: TargetSpec,
  report: Report,
): SleepPolicy {
  const path = ["services", name];
  const steps = stepsOf(own, defaults);
  const [first, second, ...more] = steps;
  const isOwn = own.sleep !== undefined;
  const complain = (message: string, hint?: string): void =>
    report({ path: isOwn ? [...path, "sleep"] : ["defaults", "sleep"], message, ...(hint && { hint }) });
  if (typeof own.sleep === "object" && own.idle_timeout !== undefined) {
    const message = `service "${name}": the steps of "sleep" say when, so "idle_timeout" has no meaning`;
    report({ path: [...path, "idle_timeout"], message, hint: `remove it, or write "sleep: ${first.do}"` });
  }
  if (target.kind === "process" && steps.some((step) => step.do === "pause")) {
    complain(`service "${name}": a process cannot be paused`, 'use "stop" or "kill"');
  }
  if (more.length > 0 || (second !== undefined && (first.do !== "pause" || second.do === "pause"))) {
    const example = "[{ after: 1m, do: pause }, { after: 30m, do: stop }]";
    complain(`service "${name}": a ladder goes from pause to stop or kill, one step each`, `like ${example}`);
  }
  if (second !== undefined && second.after <= first.after) {
    complain(`service "${name}": the second step of "sleep" comes after the first: its "after" must be longer`);
  }
  return policyOfSteps(first, second);
}

/** As of a service that sets nothing itself. */
function dependencyPolicy(defaults: ParsedPolicies): Config["dependencyPolicy"] {
  const [first, second] = stepsOf({}, defaults);
  return {
    ...policyOfSteps(first, second),
    minUptimeMs: defaults.min_uptime ?? builtIn.min_uptime,
    startTimeoutMs: defaults.start_timeout ?? builtIn.start_timeout,
  };
}

type Steps = readonly [ParsedSleepStep, ...ParsedSleepStep[]];

/** A sleep that is no list has one step, after the idle timeout. */
function stepsOf(own: ParsedPolicies, defaults: ParsedPolicies): Steps {
  const sleep = own.sleep ?? defaults.sleep ?? builtIn.sleep;
  if (typeof sleep !== "string") return sleep as Steps;
  return [{ after: own.idle_timeout ?? defaults.idle_timeout ?? builtIn.idle_timeout, do: sleep }];
}

function policyOfSteps(first: ParsedSleepStep, second: ParsedSleepStep | undefined): SleepPolicy {
  const policy = { idleTimeoutMs: first.after, sleep: first.do };
  if (second === undefined || second.do === "pause") return policy;
  return { ...policy, deeper: { afterMs: Math.max(0, second.after - first.after), action: second.do } };
}

function targetOf(name: string, own: ParsedService, defaults: ParsedPolicies, report: Report): TargetSpec | undefined {
  const { container, process } = own;
  const path = ["services", name];
  if (container !== undefined && process !== undefined) {
    report({ path, key: "process", message: `service "${name}" has a container and a process: exactly one is woken` });
    return undefined;
  }
  if (typeof container === "object" && "image" in container) {
    return createdOf(name, container, own.network ?? defaults.network ?? builtIn.network);
  }
  if (container !== undefined) {
    const reference =
      typeof container === "string"
        ? { name: container }
        : { service: container.service, ...(container.project !== undefined && { project: container.project }) };
    return { kind: "container", reference, network: own.network ?? defaults.network ?? builtIn.network };
  }
  if (process === undefined) {
    report({ path, message: `service "${name}" needs a target`, hint: 'add "container:" or "process:"' });
    return undefined;
  }
  if (own.network !== undefined) {
    report({ path: [...path, "network"], message: `service "${name}": "network" is for containers` });
  }
  const { command, listen, cwd, env, user, group } = process;
  const port = listen?.port ?? own.ports[0]?.target;
  if (port === undefined) {
    const message = `service "${name}": it is not said on which port the process listens`;
    report({
      path: [...path, "process"],
      message,
      hint: 'add listen: "127.0.0.1:PORT", or write ports as "FRONT:PORT"',
    });
    return undefined;
  }
  return {
    kind: "process",
    command,
    env,
    listen: { host: listen?.host ?? "127.0.0.1", port },
    ...(cwd !== undefined && { cwd }),
    ...(user !== undefined && { user }),
    ...(group !== undefined && { group }),
  };
}

function createdOf(service: string, container: ParsedCreated, network: string): TargetSpec {
  const { command, user, memory, cpus, ...rest } = container;
  return {
    kind: "created",
    service,
    network,
    ...rest,
    ...(command !== undefined && { command }),
    ...(user !== undefined && { user: String(user) }),
    ...(memory !== undefined && { memoryBytes: memory }),
    ...(cpus !== undefined && { cpus }),
  };
}

function resolvePort(
  name: string,
  port: PortMapping,
  index: number,
  target: TargetSpec,
  report: Report,
): ServicePort | undefined {
  const path = ["services", name, "ports", index];
  const resolved = { ...port, target: port.target ?? (target.kind === "process" ? target.listen.port : port.front) };
  if (target.kind !== "process") return resolved;
  if (clash(port, { address: target.listen.host, front: resolved.target })) {
    const message = `service "${name}": port ${port.front} is wakeport's own front, so the process cannot listen there`;
    report({ path, message, hint: 'let the process listen on another port ("listen")' });
    return undefined;
  }
  return resolved;
}

function readySpecs(ready: ParsedReady | readonly ParsedReady[]): ReadySpec[] {
  const parts = Array.isArray(ready) ? (ready as readonly ParsedReady[]) : [ready as ParsedReady];
  return parts.map((part) => {
    if (typeof part === "string") return { kind: part };
    if ("banner" in part) return { kind: "banner", banner: part.banner };
    if ("log" in part) return { kind: "log", pattern: part.log };
    return { kind: "http", path: part.http, status: part.status ?? builtIn.status };
  });
}

interface BoundFront extends PortMapping {
  readonly owner: string;
}

/** No two listeners on one port, the admin server's among them. */
function checkFronts(services: readonly Service[], admin: { host: string; port: number }, report: Report): void {
  const bound: BoundFront[] = [{ owner: "the admin server", address: admin.host, front: admin.port }];
  for (const service of services.filter(({ enabled }) => enabled)) {
    for (const [index, port] of service.ports.entries()) {
      const other = bound.find((one) => clash(one, port));
      if (other === undefined) bound.push({ ...port, owner: `service "${service.name}"` });
      else {
        const message = `service "${service.name}": port ${port.front} is taken by ${other.owner} already`;
        report({
          path: ["services", service.name, "ports", index],
          message,
          hint: "each front port can be bound once",
        });
      }
    }
  }
}

/** Services that share a target must agree on what cannot differ. */
function checkSharing(services: readonly Service[], report: Report): void {
  for (const [index, service] of services.entries()) {
    for (const other of services.slice(0, index)) {
      if (service.target.kind === "container" && other.target.kind === "container") {
        const isSame = JSON.stringify(service.target.reference) === JSON.stringify(other.target.reference);
        if (isSame && !sleepsAlike(service, other)) {
          const message = `services "${other.name}" and "${service.name}" wake the same container, but put it to sleep differently`;
          report({ path: ["services", service.name], message, hint: 'give both the same "sleep"' });
        }
        if (!isSame || service.target.network === other.target.network) continue;
        const message = `services "${other.name}" and "${service.name}" wake the same container, but over different networks`;
        report({ path: ["services", service.name, "network"], message });
      }
      if (service.target.kind === "process" && other.target.kind === "process") {
        const { host, port } = service.target.listen;
        if (port !== other.target.listen.port || host !== other.target.listen.host) continue;
        const message = `services "${other.name}" and "${service.name}" have processes that both listen on ${host}:${port}`;
        report({ path: ["services", service.name, "process"], message, hint: "give them different ports" });
      }
    }
  }
}

/** Each dependency is a service that can be woken, and none depends on itself in the end. */
function checkDependencies(services: readonly Service[], names: readonly string[], report: Report): void {
  const byName = new Map(services.map((service) => [service.name, service]));
  for (const { name, dependsOn } of services) {
    for (const [index, other] of dependsOn.entries()) {
      const path = ["services", name, "depends_on", index];
      if (byName.get(other)?.enabled === false) {
        report({ path, message: `service "${name}" depends on "${other}", which is not enabled` });
      } else if (!names.includes(other)) {
        const near = suggest(other, names);
        const hint = near === undefined ? "it names services of this file" : `did you mean "${near}"?`;
        report({ path, message: `service "${name}" depends on "${other}", which does not exist`, hint });
      }
    }
  }
  for (const circle of circles(services)) {
    const path = ["services", circle[0] ?? "", "depends_on"];
    const hint = "one of them must do without the other";
    report({ path, message: `services depend on each other in a circle: ${circle.join(" → ")}`, hint });
  }
}

/** Each circle of `depends_on` once, with its first service at both ends. */
function circles(services: readonly Service[]): string[][] {
  const byName = new Map(services.map((service) => [service.name, service]));
  const found: string[][] = [];
  const done = new Set<string>();
  const visit = (name: string, way: readonly string[]): void => {
    const start = way.indexOf(name);
    if (start >= 0) found.push([...way.slice(start), name]);
    if (start >= 0 || done.has(name)) return;
    for (const other of byName.get(name)?.dependsOn ?? []) visit(other, [...way, name]);
    done.add(name);
  };
  for (const { name } of services) visit(name, []);
  return found;
}

/** What wakes and sleeps together must agree on when. */
function checkGroups(services: readonly Service[], report: Report): void {
  for (const [index, service] of services.entries()) {
    const first = services.slice(0, index).find(({ group }) => group !== undefined && group === service.group);
    if (first === undefined) continue;
    if (first.idleTimeoutMs === service.idleTimeoutMs && sleepsAlike(first, service)) continue;
    const message = `services "${first.name}" and "${service.name}" are of one group, but sleep at different times`;
    report({ path: ["services", service.name], message, hint: 'give them the same "idle_timeout" and "sleep"' });
  }
}

function sleepsAlike(a: Service, b: Service): boolean {
  return a.sleep === b.sleep && JSON.stringify(a.deeper) === JSON.stringify(b.deeper);
}

/** `docker.project` is what containers that name only their service belong to. */
function withProject(service: Service, project: string | undefined): Service {
  const { target } = service;
  if (project === undefined || target.kind !== "container") return service;
  if ("name" in target.reference || target.reference.project !== undefined) return service;
  return { ...service, target: { ...target, reference: { ...target.reference, project } } };
}
