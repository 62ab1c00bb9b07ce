/** Compares the active configuration with a new one. */
import { isDeepStrictEqual } from "node:util";
import type { Config, Service } from "./config.ts";

export interface ServiceChanges {
  readonly added: readonly Service[];
  readonly removed: readonly Service[];
  readonly changed: readonly { readonly from: Service; readonly to: Service }[];
}

export interface Changes extends ServiceChanges {
  /** The new configuration. Unchanged services are the same objects as before, so that they compare equal. */
  readonly config: Config;
  /** Number of unchanged services. */
  readonly unchanged: number;
  /** Keys whose new values apply after a restart only. */
  readonly afterRestart: readonly string[];
}

/** Compares services by name. A disabled service counts as absent. */
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

/** Values that are fixed when wakeport starts. */
const fixed: Readonly<Record<string, (config: Config) => unknown>> = {
  docker: ({ docker }) => docker,
  "docker.discover": ({ discover }) => discover?.scope,
  "log.format": ({ log }) => log.format,
};

function changedKeys(before: Config, after: Config): string[] {
  return Object.entries(fixed).flatMap(([key, value]) => (isDeepStrictEqual(value(before), value(after)) ? [] : key));
}

/** The group of a target is fixed when its first service is added. */
function changedGroup({ from, to }: { readonly from: Service; readonly to: Service }): string[] {
  return from.group === to.group ? [] : [`services.${to.name}.group`];
}

function enabledOf({ services }: Config): Service[] {
  return services.filter(({ enabled }) => enabled);
}
