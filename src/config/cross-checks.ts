/** Checks services against each other. */
import { isWoken, type Service } from "./config.ts";
import { conflictOn, entriesOf, type PortOwner } from "./port-conflicts.ts";
import { cyclesOf } from "./wake-graph.ts";
import type { Report } from "./yaml/config-error.ts";
import { suggest } from "./yaml/suggest.ts";

/** Checks that each port, including that of the admin server, has one listener. Services may share a port by name. */
export function checkListeners(
  services: readonly Service[],
  admin: { host: string; port: number },
  report: Report,
): void {
  const bound: PortOwner[] = [{ address: admin.host, listen: admin.port }];
  for (const service of services.filter(({ enabled }) => enabled)) {
    for (const { key, index, port } of entriesOf(service)) {
      const entry = { ...port, service, key };
      const [conflict] = bound.flatMap((other) => conflictOn(entry, other) ?? []);
      if (conflict === undefined) bound.push(entry);
      else report({ path: ["services", service.name, key, index], ...conflict });
    }
  }
}

/** Checks that services with the same target have the same settings of the target. */
export function checkSharing(services: readonly Service[], report: Report): void {
  for (const [index, service] of services.entries()) {
    for (const other of services.slice(0, index)) {
      if (service.target.kind === "container" && other.target.kind === "container") {
        const isSame = JSON.stringify(service.target.reference) === JSON.stringify(other.target.reference);
        if (isSame && !hasSameSleep(service, other)) {
          const message = `services "${other.name}" and "${service.name}" start the same container, but stop it differently`;
          report({ path: ["services", service.name], message, hint: 'give both the same "sleep"' });
        }
        const isDialled = service.ports.length > 0 && other.ports.length > 0;
        if (!isSame || !isDialled || service.target.network === other.target.network) continue;
        const message = `services "${other.name}" and "${service.name}" start the same container, but connect over different networks`;
        report({ path: ["services", service.name, "network"], message });
      }
      if (service.target.kind === "process" && other.target.kind === "process") {
        const { host, port } = service.target.listen;
        if (port === undefined || port !== other.target.listen.port || host !== other.target.listen.host) continue;
        if (!shareProtocol(service, other)) continue;
        const message = `services "${other.name}" and "${service.name}" have processes that listen on the same address ${host}:${port}`;
        report({ path: ["services", service.name, "process"], message, hint: "give them different ports" });
      }
    }
  }
}

/** Returns whether both have TCP ports, or both have UDP ports. */
function shareProtocol(a: Service, b: Service): boolean {
  return a.ports.some((port) => b.ports.some(({ protocol }) => protocol === port.protocol));
}

/** Checks that each dependency is a service that wakeport can start, and that dependencies form no cycle. */
export function checkDependencies(services: readonly Service[], names: readonly string[], report: Report): void {
  const byName = new Map(services.map((service) => [service.name, service]));
  for (const { name, dependsOn } of services) {
    for (const [index, other] of dependsOn.entries()) {
      const path = ["services", name, "depends_on", index];
      if (byName.get(other)?.enabled === false) {
        report({ path, message: `service "${name}" depends on "${other}", which is disabled` });
      } else if (byName.get(other) !== undefined && !isWoken(byName.get(other) as Service)) {
        report({ path, message: `service "${name}" depends on "${other}", which starts no target` });
      } else if (!names.includes(other)) {
        const near = suggest(other, names);
        const hint = near === undefined ? "use a service of this file" : `did you mean "${near}"?`;
        report({ path, message: `service "${name}" depends on "${other}", which does not exist`, hint });
      }
    }
  }
  const next = (name: string): readonly string[] => byName.get(name)?.dependsOn ?? [];
  for (const cycle of cyclesOf([...byName.keys()], next)) {
    const path = ["services", cycle[0] ?? "", "depends_on"];
    const hint = "remove one of these dependencies";
    report({ path, message: `dependencies form a cycle: ${cycle.join(" → ")}`, hint });
  }
}

/** Checks that services of one group sleep at the same time. */
export function checkGroups(services: readonly Service[], report: Report): void {
  for (const [index, service] of services.entries()) {
    const first = services.slice(0, index).find(({ group }) => group !== undefined && group === service.group);
    if (first === undefined) continue;
    if (first.idleTimeoutMs === service.idleTimeoutMs && hasSameSleep(first, service)) continue;
    const message = `services "${first.name}" and "${service.name}" belong to one group, but sleep at different times`;
    report({ path: ["services", service.name], message, hint: 'give them the same "idle_timeout" and "sleep"' });
  }
}

function hasSameSleep(a: Service, b: Service): boolean {
  return a.sleep === b.sleep && JSON.stringify(a.thenStop) === JSON.stringify(b.thenStop);
}
