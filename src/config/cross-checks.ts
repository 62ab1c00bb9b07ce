/** What only the whole of a configuration can tell. */
import { isWoken, type Service } from "./config.ts";
import { conflictOn, entriesOf, type PortOwner } from "./port-conflicts.ts";
import { cyclesOf } from "./wake-graph.ts";
import type { Report } from "./yaml/schema-errors.ts";
import { suggest } from "./yaml/suggest.ts";

/** No two listeners on one port, the admin server's among them; services may share one by name. */
export function checkListeners(
  services: readonly Service[],
  admin: { host: string; port: number },
  report: Report,
): void {
  const bound: PortOwner[] = [{ address: admin.host, listen: admin.port }];
  for (const service of services.filter(({ enabled }) => enabled)) {
    for (const { key, index, port } of entriesOf(service)) {
      const entry = { ...port, service, key };
      const [trouble] = bound.flatMap((other) => conflictOn(entry, other) ?? []);
      if (trouble === undefined) bound.push(entry);
      else report({ path: ["services", service.name, key, index], ...trouble });
    }
  }
}

/** Services that share a target must agree on what cannot differ. */
export function checkSharing(services: readonly Service[], report: Report): void {
  for (const [index, service] of services.entries()) {
    for (const other of services.slice(0, index)) {
      if (service.target.kind === "container" && other.target.kind === "container") {
        const isSame = JSON.stringify(service.target.reference) === JSON.stringify(other.target.reference);
        if (isSame && !sleepsAlike(service, other)) {
          const message = `services "${other.name}" and "${service.name}" wake the same container, but put it to sleep differently`;
          report({ path: ["services", service.name], message, hint: 'give both the same "sleep"' });
        }
        const isDialled = service.ports.length > 0 && other.ports.length > 0;
        if (!isSame || !isDialled || service.target.network === other.target.network) continue;
        const message = `services "${other.name}" and "${service.name}" wake the same container, but over different networks`;
        report({ path: ["services", service.name, "network"], message });
      }
      if (service.target.kind === "process" && other.target.kind === "process") {
        const { host, port } = service.target.listen;
        if (port === undefined || port !== other.target.listen.port || host !== other.target.listen.host) continue;
        if (!shareProtocol(service, other)) continue;
        const message = `services "${other.name}" and "${service.name}" have processes that both listen on ${host}:${port}`;
        report({ path: ["services", service.name, "process"], message, hint: "give them different ports" });
      }
    }
  }
}

/** Whether both have ports of TCP, or both of UDP. */
function shareProtocol(a: Service, b: Service): boolean {
  return a.ports.some((port) => b.ports.some(({ protocol }) => protocol === port.protocol));
}

/** Each dependency is a service that can be woken, and none depends on itself in the end. */
export function checkDependencies(services: readonly Service[], names: readonly string[], report: Report): void {
  const byName = new Map(services.map((service) => [service.name, service]));
  for (const { name, dependsOn } of services) {
    for (const [index, other] of dependsOn.entries()) {
      const path = ["services", name, "depends_on", index];
      if (byName.get(other)?.enabled === false) {
        report({ path, message: `service "${name}" depends on "${other}", which is not enabled` });
      } else if (byName.get(other) !== undefined && !isWoken(byName.get(other) as Service)) {
        report({ path, message: `service "${name}" depends on "${other}", which has nothing to start` });
      } else if (!names.includes(other)) {
        const near = suggest(other, names);
        const hint = near === undefined ? "it names services of this file" : `did you mean "${near}"?`;
        report({ path, message: `service "${name}" depends on "${other}", which does not exist`, hint });
      }
    }
  }
  const next = (name: string): readonly string[] => byName.get(name)?.dependsOn ?? [];
  for (const circle of cyclesOf([...byName.keys()], next)) {
    const path = ["services", circle[0] ?? "", "depends_on"];
    const hint = "one of them must do without the other";
    report({ path, message: `services depend on each other in a circle: ${circle.join(" → ")}`, hint });
  }
}

/** What wakes and sleeps together must agree on when. */
export function checkGroups(services: readonly Service[], report: Report): void {
  for (const [index, service] of services.entries()) {
    const first = services.slice(0, index).find(({ group }) => group !== undefined && group === service.group);
    if (first === undefined) continue;
    if (first.idleTimeoutMs === service.idleTimeoutMs && sleepsAlike(first, service)) continue;
    const message = `services "${first.name}" and "${service.name}" are of one group, but sleep at different times`;
    report({ path: ["services", service.name], message, hint: 'give them the same "idle_timeout" and "sleep"' });
  }
}

function sleepsAlike(a: Service, b: Service): boolean {
  return a.sleep === b.sleep && JSON.stringify(a.thenStop) === JSON.stringify(b.thenStop);
}
