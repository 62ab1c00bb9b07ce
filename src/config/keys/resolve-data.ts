/** The data ports of a service. */
import { type ProtocolName, type ServicePort, type TargetSpec, tellsDataPorts } from "../config.ts";
import type { ParsedService } from "../schema.ts";
import { clashingPort, type PortMapping } from "../values/ports.ts";
import type { Report } from "../yaml/schema-errors.ts";

/** Protocols in which clients come once more: FTP, be it read or not. */
const hasDataPorts: ReadonlySet<ProtocolName> = new Set<ProtocolName>(["ftp", "raw"]);

/** @param protocol what the clients of the service speak */
export function resolveData(
  name: string,
  { data = [], ports, host }: Pick<ParsedService, "data" | "ports" | "host">,
  target: TargetSpec,
  protocol: ProtocolName,
  report: Report,
): ServicePort[] {
  if (data.length > 0 && ports.every((port) => port.protocol === "udp")) {
    const message = `service "${name}": data ports are for clients that have a connection to one of its ports, and it has none for TCP`;
    report({ path: ["services", name], key: "data", message, hint: 'write the control port in "ports": "2121:21"' });
  }
  if (data.length > 0 && !hasDataPorts.has(protocol)) {
    const message = `service "${name}": "data" is for FTP, and its protocol is "${protocol}"`;
    const hint = 'write "protocol: ftp", or "raw" where wakeport is to read nothing, or move these to "ports"';
    report({ path: ["services", name], key: "data", message, hint });
  }
  // Of those that begin with TLS (port 990) some do say a name.
  if (data.length > 0 && host !== undefined && hasDataPorts.has(protocol)) {
    const message = `service "${name}": "data" is for FTP, whose clients ask for no "host"`;
    report({ path: ["services", name], key: "data", message, hint: 'remove "data" or "host"' });
  }
  return data.map((port, index) => {
    const shared = tellsDataPorts.has(protocol) ? undefined : sharedWithProcess(port, target);
    if (shared !== undefined) {
      const message = `service "${name}": port ${shared} is wakeport's own front, so the process cannot listen there`;
      const hint = 'let the process and this front have an address each: "192.0.2.1:30000-30009"';
      report({ path: ["services", name, "data", index], message, hint });
    }
    return { ...port, target: port.listen };
  });
}

/** The first port that wakeport and the process would both have to bind. */
export function sharedWithProcess(port: PortMapping, target: TargetSpec): number | undefined {
  return target.kind === "process" ? clashingPort(port, { ...port, address: target.listen.host }) : undefined;
}
