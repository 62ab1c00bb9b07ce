/** Where a service listens, and the ports of its target. */
import { type ProtocolName, rewritesDataAddresses, type ServicePort, type TargetSpec, wokenKinds } from "../config.ts";
import {
  clash,
  clashingPort,
  formatRange,
  MAX_PORTS,
  type PortMapping,
  parseDataPort,
  parsePort,
} from "../values/ports.ts";
import { numberOrText, oneOrMore } from "./common.ts";
import { type Context, key, type ServiceReport, started } from "./key.ts";

export const portKeys = {
  ports: key(oneOrMore(numberOrText((text) => parsePort(text))), {
    description: "Where to listen, as in compose: [address:]port[:target][/udp]; port and target may be ranges",
    label: true,
  }),
  data: key(oneOrMore(numberOrText(parseDataPort)), {
    description: "Data ports of FTP, for clients that have a connection to one of `ports`; they start nothing",
    ...started,
    needs: "tcp",
  }),
};

export function resolvePorts({ own, ports, target, report }: Context<typeof portKeys>): ServicePort[] {
  // Each port is a listener.
  const count = [...ports, ...(own.data ?? [])].reduce((sum, port) => sum + (port.count ?? 1), 0);
  if (count > MAX_PORTS) {
    const hint = "each port is a listener: use fewer";
    report(`${count} ports are more than the limit of ${MAX_PORTS}`, { at: ["ports"], hint });
  }
  return ports.flatMap((port, index) => {
    const fail: ServiceReport = (message, place) => report(message, { at: ["ports", index], ...place });
    if (port.protocol === "udp" && !acceptsDatagrams(target, fail)) return [];
    return (wokenKinds.has(target.kind) ? portOfStarted(port, target, fail) : portOfOther(port, target, fail)) ?? [];
  });
}

/** Why a target has no UDP ports. */
const withoutDatagrams: Readonly<Record<string, string>> = {
  forward: "a forward starts nothing: clients can send datagrams to its address without wakeport",
  builtin: "over UDP the builtin services answer forged senders, and so amplify attacks",
  inetd: "inetd starts a program for each connection, and datagrams have none",
  sensor: "the sender of a datagram can be forged, and a sensor would ban it",
};

function acceptsDatagrams(target: TargetSpec, fail: ServiceReport): boolean {
  const reason = withoutDatagrams[target.kind];
  if (reason !== undefined) fail(reason, { hint: 'remove "/udp": UDP is for containers and processes' });
  const isInherited = target.kind === "process" && target.isHandedListener === true;
  if (isInherited) {
    const hint = 'remove "activation", and write in "listen" where the program listens';
    fail('"activation: listen_fds" passes on TCP listeners only', { hint });
  }
  return reason === undefined && !isInherited;
}

/** Of a target that clients reach without a port of its own, or at a single one. */
function portOfOther(port: PortMapping, target: TargetSpec, fail: ServiceReport): ServicePort | undefined {
  if (port.target !== undefined) {
    const hint = `write only where to listen: "${formatRange(port.listen, port.count)}"`;
    fail(`a target port has no effect for "${target.kind}"`, { hint });
  }
  if (target.kind !== "forward") return { ...port, target: port.listen };
  if (isForwardedToItself(port, target)) {
    const hint = "forward to another port or machine";
    fail(`port ${target.port} is a listen port of wakeport: the forward would connect to itself`, { hint });
    return undefined;
  }
  return { ...port, target: target.port };
}

function portOfStarted(port: PortMapping, target: TargetSpec, fail: ServiceReport): ServicePort | undefined {
  const ownPort = target.kind === "process" ? target.listen.port : undefined;
  // A range maps to a range, even if the process has one port.
  const resolved = { ...port, target: port.target ?? (port.count === undefined ? ownPort : undefined) ?? port.listen };
  if (target.kind !== "process" || (target.isHandedListener && ownPort === undefined)) return resolved;
  const shared = sharedWithProcess(port, { ...port, listen: resolved.target }, target);
  if (shared === undefined) return resolved;
  const hint =
    port.count === undefined
      ? 'let the process listen on another port ("listen")'
      : 'give the process and wakeport different addresses: "192.0.2.1:30000-30009"';
  fail(`the process cannot listen on port ${shared}: it is a listen port of wakeport`, { hint });
  return undefined;
}

/** Compares literal addresses only: wakeport does not know which other addresses belong to this machine. */
function isForwardedToItself(
  { address, listen: first, count = 1 }: PortMapping,
  { host, port: listen }: { host: string; port: number },
): boolean {
  const dialed = host === "localhost" ? "127.0.0.1" : host;
  const isLoopback = dialed.startsWith("127.") || dialed === "::1";
  const isInRange = first <= listen && listen < first + count;
  const listener = { listen, ...(address !== undefined && { address }) };
  return isInRange && (address === dialed || (isLoopback && clash({ listen, address: dialed }, listener)));
}

/** Protocols with data connections: FTP, and FTP that wakeport relays unread. */
const withDataPorts: ReadonlySet<ProtocolName> = new Set<ProtocolName>(["ftp", "raw"]);

export function resolveData({ own: { data = [] }, target, protocol, report }: Context<typeof portKeys>): ServicePort[] {
  if (data.length > 0 && !withDataPorts.has(protocol)) {
    const hint = 'write "protocol: ftp", or "protocol: raw" if wakeport must not read it, or move the ports to "ports"';
    report(`"data" is for FTP, and its protocol is "${protocol}"`, { key: "data", hint });
  }
  for (const [index, port] of data.entries()) {
    const shared = rewritesDataAddresses.has(protocol) ? undefined : sharedWithProcess(port, port, target);
    if (shared === undefined) continue;
    const hint = 'give the process and wakeport different addresses: "192.0.2.1:30000-30009"';
    const message = `the process cannot listen on port ${shared}: it is a listen port of wakeport`;
    report(message, { at: ["data", index], hint });
  }
  return data.map((port) => ({ ...port, target: port.listen }));
}

/** Returns the first port that wakeport and the process would both bind, or undefined. */
export function sharedWithProcess(port: PortMapping, own: PortMapping, target: TargetSpec): number | undefined {
  return target.kind === "process" ? clashingPort(port, { ...own, address: target.listen.host }) : undefined;
}
