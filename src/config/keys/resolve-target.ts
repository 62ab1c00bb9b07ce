/** What a service leads to, of what is written in the section of its kind. */

import type { ServicePort, TargetSpec, UdpPolicy } from "../config.ts";
import type { ParsedService } from "../schema.ts";
import { clash, clashingPort, formatRange, type PortMapping } from "../values/ports.ts";
import type { Report } from "../yaml/schema-errors.ts";
import { builtInDefaults } from "./defaults.ts";
import type { ParsedPolicies } from "./schema-policies.ts";
import { type ParsedCreated, type ParsedProcess, type TargetKind, targetKinds } from "./schema-targets.ts";

/** Keys that mean something only for some kinds of targets. */
const meaningful: Readonly<Partial<Record<keyof ParsedService, readonly TargetKind[]>>> = {
  network: ["container"],
  ready: ["container", "process"],
  idle_timeout: ["container", "process"],
  min_uptime: ["container", "process"],
  direct_traffic: ["container", "process"],
  sleep: ["container", "process"],
  stop_grace: ["container", "process", "inetd"],
  release_pace: ["container", "process"],
  protocol: ["container", "process"],
  hold: ["container", "process"],
  wake_on: ["container", "process"],
  ftp: ["container", "process"],
  start_timeout: ["container", "process", "forward", "builtin"],
  data: ["container", "process"],
  group: ["container", "process"],
  udp: ["container", "process"],
};

/** What the service leads to; undefined, and reported, when that cannot be told. */
export function resolveTarget(
  name: string,
  own: ParsedService,
  defaults: ParsedPolicies,
  report: Report,
): TargetSpec | undefined {
  const path = ["services", name];
  const [kind, second] = targetKinds.filter((one) => own[one] !== undefined);
  if (kind === undefined) {
    const hint = `add one of ${targetKinds.map((one) => `"${one}:"`).join(", ")}`;
    report({ path, message: `service "${name}" needs a target`, hint });
    return undefined;
  }
  if (second !== undefined) {
    const message = `service "${name}" has both "${kind}" and "${second}": it leads to exactly one target`;
    report({ path, key: second, message });
    return undefined;
  }
  for (const [key, kinds] of Object.entries(meaningful)) {
    if (own[key as keyof ParsedService] === undefined || kinds.includes(kind)) continue;
    const message = `service "${name}": "${key}" has no meaning for a target of the kind "${kind}"`;
    report({ path, key, message, hint: "remove it" });
  }
  checkDatagrams(name, own, report);
  if (own.depends_on.length > 0 && kind !== "container" && kind !== "process") {
    const message = `service "${name}": a target of the kind "${kind}" is not started, so it depends on nothing`;
    report({ path, key: "depends_on", message, hint: "remove it" });
  }
  if (own.with.length > 0 && kind !== "container" && kind !== "process") {
    const message = `service "${name}": a target of the kind "${kind}" is not started, so it is woken with nothing`;
    report({ path, key: "with", message, hint: "remove it" });
  }
  if (own.inetd?.wait) checkHandedListener(name, own, defaults, report);
  return readTarget(name, own, own.network ?? defaults.network ?? builtInDefaults.network, report);
}

/** What is about connections, and where it may be said what goes without saying. */
const byConnecting = ["protocol", "hold", "wake_on", "ftp", "proxy_protocol"] as const;
const unsaid: ReadonlySet<unknown> = new Set([builtInDefaults.protocol, builtInDefaults.hold, builtInDefaults.wake_on]);

function checkDatagrams(name: string, own: ParsedService, report: Report): void {
  if (own.ports.length === 0 || !own.ports.every(({ protocol }) => protocol === "udp")) return;
  for (const key of byConnecting.filter((one) => own[one] !== undefined && !unsaid.has(own[one]))) {
    const message = `service "${name}": "${key}" is about connections, and all its ports are for UDP`;
    report({ path: ["services", name], key, message, hint: "remove it" });
  }
}

/** What can be done only by who accepts the clients. */
const byAccepting: readonly string[] = ["access", "limits", "banner", "on_deny", "monitors"];

/** With `wait` the program accepts them, all but the first: a limit that held for nobody else would be a trap. */
function checkHandedListener(name: string, own: ParsedService, defaults: ParsedPolicies, report: Report): void {
  const path = ["services", name];
  const hint = 'use "process: { activation: listen_fds }", which keeps them, or "wait: false"';
  for (const key of byAccepting) {
    const isOwn = Object.hasOwn(own, key) && own[key as keyof ParsedService] !== undefined;
    // What is for all services and says who may come, nobody expects to fail in silence.
    const isInherited = key === "access" && Object.hasOwn(defaults, key);
    if (!isOwn && !isInherited) continue;
    const message = `service "${name}": with "wait: true" the program accepts its clients itself: "${key}" cannot hold for more than the first client`;
    report({ path, ...(isOwn && { key }), message, hint });
  }
  if (own.inetd?.stderr === "socket") {
    const message = `service "${name}": with "wait: true" there is no one client that stderr could go to`;
    report({ path: [...path, "inetd"], key: "stderr", message, hint: 'remove "stderr: socket"' });
  }
}

function readTarget(
  name: string,
  { container, process, inetd, forward, builtin, sensor, ports }: ParsedService,
  network: string,
  report: Report,
): TargetSpec | undefined {
  if (forward !== undefined) return { kind: "forward", ...forward };
  if (inetd !== undefined) return { kind: "inetd", ...present(inetd) };
  if (builtin !== undefined) return { kind: "builtin", builtin };
  if (sensor !== undefined) return { kind: "sensor", banMs: sensor.ban };
  if (process !== undefined) return processOf(name, process, ports, report);
  if (typeof container === "string") return { kind: "container", reference: { name: container }, network };
  if (container === undefined) return undefined;
  if ("image" in container) return createdOf(name, container, network);
  const { service, project } = container;
  return { kind: "container", reference: { service, ...(project !== undefined && { project }) }, network };
}

function processOf(
  name: string,
  process: ParsedProcess,
  ports: readonly PortMapping[],
  report: Report,
): TargetSpec | undefined {
  const { command, listen, cwd, env, user, group, activation } = process;
  const isHandedListener = activation === "listen_fds";
  const port = listen?.port ?? (isHandedListener ? undefined : ports[0]?.target);
  if (port === undefined && !isHandedListener && ports.length > 0) {
    const message = `service "${name}": it is not said on which port the process listens`;
    const hint = 'add listen: "127.0.0.1:PORT", or write ports as "FRONT:PORT"';
    report({ path: ["services", name, "process"], message, hint });
    return undefined;
  }
  return {
    kind: "process",
    command,
    env,
    listen: { host: listen?.host ?? "127.0.0.1", ...(port !== undefined && { port }) },
    ...(isHandedListener && { isHandedListener }),
    ...(cwd !== undefined && { cwd }),
    ...(user !== undefined && { user }),
    ...(group !== undefined && { group }),
  };
}

/** What is written, without what is not. */
function present<T extends object>(written: T): { [Key in keyof T]: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(written).filter(([, value]) => value !== undefined)) as never;
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

/** Why a kind of target has no ports for datagrams. */
const noDatagrams: Readonly<Record<string, string>> = {
  forward: "a forward passes connections on; datagrams would wake nothing, and can be sent there without wakeport",
  builtin: "over UDP the builtin services answer to forged senders, as amplifiers for attacks on others",
  inetd: "a process is started for each connection, and datagrams have none",
  sensor: "the sender of a datagram can be forged, and a sensor would ban whomever somebody else names",
};
const takesDatagrams: ReadonlySet<TargetSpec["kind"]> = new Set(["container", "created", "process"]);

export function resolvePort(
  name: string,
  port: PortMapping,
  index: number,
  target: TargetSpec,
  report: Report,
): ServicePort | undefined {
  const path = ["services", name, "ports", index];
  if (port.protocol === "udp" && target.kind === "process" && target.isHandedListener) {
    const message = `service "${name}": "activation: listen_fds" hands over a listener for connections, and none for UDP`;
    report({ path, message, hint: 'leave "activation" out, and say in "listen" where the program listens' });
    return undefined;
  }
  if (port.protocol === "udp" && !takesDatagrams.has(target.kind)) {
    const why = noDatagrams[target.kind] ?? `a target of the kind "${target.kind}" takes no datagrams`;
    report({ path, message: `service "${name}": ${why}`, hint: 'UDP is for containers and processes: remove "/udp"' });
    return undefined;
  }
  if (!["container", "created", "process"].includes(target.kind)) {
    if (port.target !== undefined) {
      const message = `service "${name}": a target of the kind "${target.kind}" has no ports to choose from`;
      report({ path, message, hint: `write only where to listen: "${formatRange(port.listen, port.count)}"` });
    }
    if (target.kind === "forward" && leadsToItself(port, target)) {
      const message = `service "${name}": port ${target.port} is wakeport's own front, and would be passed on to itself without end`;
      report({ path, message, hint: "forward it to another port, or to another machine" });
      return undefined;
    }
    return { ...port, target: target.kind === "forward" ? target.port : port.listen };
  }
  const own = target.kind === "process" ? target.listen.port : undefined;
  // Ten ports that all lead to one are not what somebody means by a range.
  const resolved = { ...port, target: port.target ?? (port.count === undefined ? own : undefined) ?? port.listen };
  if (target.kind !== "process" || (target.isHandedListener && own === undefined)) return resolved;
  const { protocol, count } = port;
  const there = { address: target.listen.host, listen: resolved.target, ...(count !== undefined && { count }) };
  const shared = clashingPort(port, { ...there, ...(protocol && { protocol }) });
  if (shared !== undefined) {
    const message = `service "${name}": port ${shared} is wakeport's own front, so the process cannot listen there`;
    const hint = 'let the process listen on another port ("listen")';
    const hintOfRange = 'let the process and this front have another address each: "192.0.2.1:30000-30009"';
    report({ path, message, hint: count === undefined ? hint : hintOfRange });
    return undefined;
  }
  return resolved;
}

/** As far as addresses tell: of others nobody knows whether they are this machine's. */
function leadsToItself(
  { address, listen: first, count = 1 }: PortMapping,
  { host, port: listen }: { host: string; port: number },
): boolean {
  const here = host === "localhost" ? "127.0.0.1" : host;
  const isLoopback = here.startsWith("127.") || here === "::1";
  return (
    listen >= first &&
    listen < first + count &&
    (address === here ||
      (isLoopback && clash({ listen, address: here }, { listen, ...(address !== undefined && { address }) })))
  );
}

/** What the flows of a service may hold in all: senders are easily forged. */
const MAX_HELD = 1024 ** 3;

/** Each key for itself. */
export function resolveUdp(
  name: string,
  { udp: own, ports }: ParsedService,
  { udp: defaults }: ParsedPolicies,
  report: Report,
): UdpPolicy {
  if (own !== undefined && ports.every(({ protocol }) => protocol !== "udp")) {
    const message = `service "${name}": "udp" has no meaning without a port for it`;
    report({ path: ["services", name], key: "udp", message, hint: 'remove it, or write a port as "53/udp"' });
  }
  const flows = own?.flows ?? defaults?.flows ?? builtInDefaults.udp.flows;
  const heldBytes = own?.held ?? defaults?.held ?? builtInDefaults.udp.heldBytes;
  if (flows * heldBytes > MAX_HELD) {
    const message = `service "${name}": ${flows} flows of which ${heldBytes} bytes are held may fill the memory`;
    report({
      path: ["services", name],
      message,
      hint: 'together they may have 1 GiB: lower "udp.flows" or "udp.held"',
    });
  }
  const flowTimeoutMs = own?.flow_timeout ?? defaults?.flow_timeout ?? builtInDefaults.udp.flowTimeoutMs;
  return { flowTimeoutMs, flows, heldBytes };
}
