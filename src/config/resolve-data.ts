/** The data ports of a service. */
import { type ServicePort, type TargetSpec, tellsDataPorts } from "./config.ts";
import type { Report } from "./issues.ts";
import { clashingPort, type PortMapping } from "./ports.ts";
import type { ParsedService } from "./schema.ts";

/** @param protocol what the clients of the service speak */
export function resolveData(
  name: string,
  { data = [], ports }: Pick<ParsedService, "data" | "ports">,
  target: TargetSpec,
  protocol: string,
  report: Report,
): ServicePort[] {
  if (data.length > 0 && ports.every((port) => port.protocol === "udp")) {
    const message = `service "${name}": data ports are for clients that have a connection to one of its ports, and it has none for TCP`;
    report({ path: ["services", name], key: "data", message, hint: 'write the control port in "ports": "2121:21"' });
  }
  return data.map((port, index) => {
    const shared = tellsDataPorts.has(protocol) ? undefined : sharedWithProcess(port, target);
    if (shared !== undefined) {
      const message = `service "${name}": port ${shared} is wakeport's own front, so the process cannot listen there`;
      const hint = 'let the process and this front have an address each: "192.0.2.1:30000-30009"';
      report({ path: ["services", name, "data", index], message, hint });
    }
    return { ...port, target: port.front };
  });
}

/** The first port that wakeport and the process would both have to bind. */
export function sharedWithProcess(port: PortMapping, target: TargetSpec): number | undefined {
  return target.kind === "process" ? clashingPort(port, { ...port, address: target.listen.host }) : undefined;
}
