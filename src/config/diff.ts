/** What differs between the configuration in force and the one that shall take its place. */
import { isDeepStrictEqual } from "node:util";
import type { Config, Service } from "./config.ts";

export interface ServiceChanges {
  readonly added: readonly Service[];
  readonly removed: readonly Service[];
  readonly changed: readonly { readonly from: Service; readonly to: Service }[];
}

export interface Changes extends ServiceChanges {
  /** The configuration to come, in which what stays as it is is the very same object: whoever has it knows it again. */
  readonly config: Config;
  /** How many services stay as they are. */
  readonly unchanged: number;
  /** Keys whose new values count only after a restart. */
  readonly afterRestart: readonly string[];
}

/** Services are the same when they have the same name; one that is not enabled is none. */
export function changesBetween(before: Config, after: Config): Changes {
  const old = new Map(enabledOf(before).map((service) => [service.name, service]));
  const added: Service[] = [];
  const changed: { from: Service; to: Service }[] = [];
  const kept = enabledOf(after);
  const same = new Map<Service, Service>();
  for (const to of kept) {
    const from = old.get(to.name);
    old.delete(to.name);
    if (from === undefined) added.push(to);
    else if (isDeepStrictEqual(from, to)) same.set(to, from);
    else changed.push({ from, to });
  }
  return {
    config: { ...after, services: after.services.map((service) => same.get(service) ?? service) },
    added,
    changed,
    removed: [...old.values()],
    unchanged: same.size,
    afterRestart: [...changed.flatMap(changedGroup), ...changedKeys(before, after)],
  };
}

/** What everything else is built on when wakeport starts. */
const fixed: Readonly<Record<string, (config: Config) => unknown>> = {
  docker: ({ docker }) => docker,
  "docker.discover": ({ discover }) => discover?.scope,
  "log.format": ({ log }) => log.format,
};

function changedKeys(before: Config, after: Config): string[] {
  return Object.entries(fixed).flatMap(([key, value]) => (isDeepStrictEqual(value(before), value(after)) ? [] : key));
}

/** Who is awake together is settled when a target is first heard of. */
function changedGroup({ from, to }: { readonly from: Service; readonly to: Service }): string[] {
  return from.group === to.group ? [] : [`services.${to.name}.group`];
}

function enabledOf({ services }: Config): Service[] {
  return services.filter(({ enabled }) => enabled);
}
