/** Checks that each service can be woken and that `with` forms no cycle. Finds cycles of `depends_on` with groups. */
import { isWoken, type Service } from "./config.ts";
import type { Report } from "./yaml/config-error.ts";
import { suggest } from "./yaml/suggest.ts";

/** Checks that each service in a `with` can be woken, and that no two services wake with each other. */
export function checkWith(services: readonly Service[], names: readonly string[], report: Report): void {
  const byName = new Map(services.map((service) => [service.name, service]));
  for (const { name, wakesWith } of services) {
    for (const [index, other] of wakesWith.entries()) {
      const path = ["services", name, "with", index];
      const service = byName.get(other);
      if (other === name) {
        const hint = 'name the services that wake it, or write "group: NAME" in all of them';
        report({ path, message: `service "${name}" names itself in "with"`, hint });
      } else if (service?.enabled === false) {
        const message = `service "${name}" is woken with "${other}", which is disabled`;
        report({ path, message, hint: `enable "${other}", or write "enabled: false" here as well` });
      } else if (service !== undefined && !isWoken(service)) {
        const message = `service "${name}" is woken with "${other}", which starts no target`;
        report({ path, message, hint: "name a service with a container or a process" });
      } else if (!names.includes(other)) {
        const near = suggest(other, names);
        const hint = near === undefined ? "use a service of this file" : `did you mean "${near}"?`;
        report({ path, message: `service "${name}" is woken with "${other}", which does not exist`, hint });
      }
    }
  }
  const wakesWith = (name: string): readonly string[] =>
    byName.get(name)?.wakesWith.filter((other) => other !== name) ?? [];
  for (const cycle of cyclesOf([...byName.keys()], wakesWith)) {
    const message = `"with" forms a cycle: ${cycle.join(" → ")}`;
    const hint = 'to wake services with each other write "group: NAME" in all of them';
    report({ path: ["services", cycle[0] ?? "", "with"], message, hint });
  }
}

export interface KnownServices {
  /** Whether a service has the key "ports", valid or not. */
  readonly hasPorts: (service: Service) => boolean;
  /** Whether the list contains all services of the file. */
  readonly isComplete: boolean;
  /** Whether services of labels may be members of a group. */
  readonly hasOthers: boolean;
}

/** Checks that each service without ports is woken by another service. */
export function checkWakeable(
  services: readonly Service[],
  { hasPorts, isComplete, hasOthers }: KnownServices,
  report: Report,
): void {
  const enabled = services.filter((service) => service.enabled && isWoken(service));
  const names = new Set(enabled.map(({ name }) => name));
  // A wrong name is reported separately.
  const isKnown = ({ wakesWith }: Service): boolean => wakesWith.every((name) => names.has(name));
  const woken = new Set(enabled.filter((one) => hasPorts(one) || !isKnown(one) || (hasOthers && one.group)));
  // The loop also visits what it adds.
  for (const waker of woken) for (const service of enabled) if (wakes(waker, service)) woken.add(service);
  for (const { name, group, wakesWith } of enabled.filter((service) => !woken.has(service))) {
    const path = ["services", name];
    const others = [
      ...(group === undefined ? [] : [`no service of group "${group}"`]),
      ...(wakesWith.length === 0 ? [] : [`no service in its "with"`]),
    ];
    if (others.length === 0) {
      const withOne = hasOthers ? "" : '"with: [SERVICE]" to wake it with another service, ';
      const hint = `add ${withOne}"group: NAME" to wake and sleep with several, or "ports" for clients`;
      report({ path, message: `service "${name}" has no "ports", and nothing wakes it`, hint });
    } else if (isComplete) {
      const message = `nothing wakes service "${name}": ${others.join(" and ")} is woken by clients`;
      report({ path, message, hint: 'one of them needs "ports"' });
    }
  }
}

function wakes(waker: Service, other: Service): boolean {
  const isOfSameGroup = waker.group !== undefined && waker.group === other.group;
  return isOfSameGroup || waker.dependsOn.includes(other.name) || other.wakesWith.includes(waker.name);
}

/** A chain of dependencies whose ends wake together. */
export interface WakingCycle {
  /** The chain of `depends_on` from the first service to the last. */
  readonly chain: readonly string[];
  /** What closes the cycle: the group of both ends, or the `with` of the first. */
  readonly by: { readonly group: string } | "with";
}

/** Chains of `depends_on` that a group or a `with` closes to a cycle. These are valid: all of their targets can sleep. */
export function wakingCycles(services: readonly Service[]): WakingCycle[] {
  const enabled = services.filter((service) => service.enabled && isWoken(service));
  return enabled.flatMap((first) =>
    enabled.flatMap((last): WakingCycle[] => {
      const isWith = first !== last && first.wakesWith.includes(last.name);
      const isGroup = first !== last && first.group !== undefined && first.group === last.group;
      if (!isWith && !isGroup) return [];
      const chain = chainOf(enabled, first.name, last.name);
      const isOutside = ({ name, group }: Service): boolean => chain?.includes(name) === true && group !== first.group;
      // A chain inside the group is not a cycle.
      if (chain === undefined || (!isWith && !enabled.some(isOutside))) return [];
      return [{ chain, by: isWith ? "with" : { group: first.group ?? "" } }];
    }),
  );
}

/** Returns the shortest chain of `depends_on` between two services, or undefined. */
function chainOf(services: readonly Service[], from: string, to: string): string[] | undefined {
  const byName = new Map(services.map((service) => [service.name, service]));
  const before = new Map<string, string>();
  const reached = new Set([from]);
  for (const name of reached) {
    for (const other of byName.get(name)?.dependsOn ?? []) {
      if (!reached.has(other)) before.set(other, name);
      reached.add(other);
    }
  }
  if (!before.has(to)) return undefined;
  const chain = [to];
  for (let name = before.get(to); name !== undefined; name = before.get(name)) chain.unshift(name);
  return chain;
}

/** Returns each cycle once, with its first name at both ends. */
export function cyclesOf(names: readonly string[], next: (name: string) => readonly string[]): string[][] {
  const found: string[][] = [];
  const done = new Set<string>();
  const visit = (name: string, path: readonly string[]): void => {
    const start = path.indexOf(name);
    if (start >= 0) found.push([...path.slice(start), name]);
    if (start >= 0 || done.has(name)) return;
    for (const other of next(name)) visit(other, [...path, name]);
    done.add(name);
  };
  for (const name of names) visit(name, []);
  return found;
}
