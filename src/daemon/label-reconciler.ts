/** Determines the services of labelled containers, and the changes from the running services to them. */
import { isDeepStrictEqual } from "node:util";
import type { Config, WokenService } from "../config/config.ts";
import { forbiddenClaims } from "../config/label-claims.ts";
import type { LabelledContainer, serviceOfLabels } from "../config/labels.ts";
import { conflictOn, entriesOf } from "../config/port-conflicts.ts";
import { ambiguousContainers } from "../docker/compose-service.ts";
import { type ListedContainer, projectLabel, serviceLabel } from "../docker/container-facts.ts";
import { createdLabel } from "../docker/created-containers.ts";

/** How long a service stays after its container is gone. A container is recreated in about 1 s. */
export const LINGER_MS = 10_000;

/** A service that the labels of a container declare. */
export interface LabelService {
  readonly service: WokenService;
  /** Name for messages. */
  readonly container: string;
}

/** A problem of the labels of one container. */
export interface LabelProblem {
  readonly container: string;
  readonly problem: string;
}

/** Changes of the running services. */
interface LabelChanges {
  readonly added: readonly LabelService[];
  readonly changed: readonly { readonly from: LabelService; readonly to: LabelService }[];
  readonly removed: readonly LabelService[];
  /** When the next service is removed because its container is gone, in milliseconds; undefined: never. */
  readonly againInMs: number | undefined;
}

export interface ReconcileResult extends LabelChanges {
  readonly problems: readonly LabelProblem[];
}

export interface ReconcileContext {
  /** The running services of labels, by name. Includes services whose container is gone. */
  readonly found: ReadonlyMap<string, LabelService>;
  /** Since when the containers of services are gone, by name. Updated by each call. */
  readonly goneSince: Map<string, number>;
  /** Services that could not be added or changed just now, by name. They stay as they are. */
  readonly skipped: ReadonlyMap<string, LabelProblem>;
  readonly config: Config;
  /** A parameter, because the libraries that read labels are loaded only for a configuration with discovery. */
  readonly read: typeof serviceOfLabels;
  /** Monotonic time in milliseconds. */
  readonly now: number;
}

export function reconcile(containers: readonly ListedContainer[], context: ReconcileContext): ReconcileResult {
  const problems: LabelProblem[] = [];
  const wanted = new Map<string, LabelService>();
  for (const { container, read } of readAll(containers, context)) {
    if ("problems" in read) {
      problems.push(...read.problems.map((problem) => ({ container: container.name, problem })));
      continue;
    }
    const skipped = context.skipped.get(read.service.name);
    if (skipped !== undefined) problems.push(skipped);
    const declared = { service: read.service, container: container.name };
    const one = skipped === undefined ? declared : context.found.get(read.service.name);
    if (one === undefined) continue;
    const faults = conflicts(one.service, wanted, context);
    problems.push(...faults.map((problem) => ({ container: container.name, problem })));
    if (faults.length === 0) wanted.set(one.service.name, one);
  }
  return { ...changesTo(wanted, context), problems };
}

type LabelledService = NonNullable<ReturnType<typeof serviceOfLabels>>;

/**
 * Order of precedence for names and ports: unchanged services, then changed ones, then new ones. New ones are sorted by
 * the age of their container, so that a restart of wakeport gives the same result.
 */
function readAll(containers: readonly ListedContainer[], context: ReconcileContext): Reading[] {
  const { found, skipped } = context;
  const all = readFirsts(containers, context);
  // Compared by reference, because compose renames a container while it recreates it.
  const served = new Set([...found.values()].map(({ service }) => keyOf(service)));
  const rank = ({ container, read }: Reading): number => {
    const one = "service" in read ? found.get(read.service.name) : undefined;
    const isUnchanged =
      "service" in read && (skipped.has(read.service.name) || isDeepStrictEqual(one?.service, read.service));
    if (one !== undefined && isUnchanged) return 0;
    return served.has(JSON.stringify(labelledOf(container).reference)) ? 1 : 2;
  };
  return all.toSorted((a, b) => rank(a) - rank(b) || a.container.created - b.container.created);
}

/**
 * Returns the changes to the wanted services. A service whose container is gone stays for 10 s, unless another service
 * needs its name or port.
 */
function changesTo(wanted: ReadonlyMap<string, LabelService>, context: ReconcileContext): LabelChanges {
  const { found, goneSince, now } = context;
  const removed: LabelService[] = [];
  const changed: { from: LabelService; to: LabelService }[] = [];
  const rests: number[] = [];
  for (const [name, from] of found) {
    const to = wanted.get(name);
    if (to !== undefined) {
      goneSince.delete(name);
      if (!isDeepStrictEqual(from.service, to.service)) changed.push({ from, to });
      continue;
    }
    const since = goneSince.get(name) ?? now;
    goneSince.set(name, since);
    const restMs = since + LINGER_MS - now;
    if (restMs > 0 && conflicts(from.service, wanted, context).length === 0) rests.push(restMs);
    else removed.push(from);
  }
  const added = [...wanted.values()].filter(({ service }) => !found.has(service.name));
  return { added, changed, removed, againInMs: rests.length === 0 ? undefined : Math.min(...rests) };
}

/** Returns the reference to a service's container. */
function keyOf({ target }: WokenService): string {
  return target.kind === "container" ? JSON.stringify(target.reference) : "";
}

interface Reading {
  readonly container: ListedContainer;
  readonly read: LabelledService;
}

/** Reads the labels of the first container of each compose service. */
function readFirsts(
  containers: readonly ListedContainer[],
  { config, read: readLabels }: Pick<ReconcileContext, "config" | "read">,
): Reading[] {
  const byTarget = Map.groupBy(containers, (container) => JSON.stringify(labelledOf(container).reference));
  return [...byTarget.values()].flatMap((same): Reading[] => {
    const ambiguous = ambiguousContainers(same);
    if (ambiguous.length > 0)
      return ambiguous.map((container) => ({ container, read: { problems: [copied(ambiguous)] } }));
    const [container] = same;
    const read =
      container === undefined || isConfigured(container, config)
        ? undefined
        : readLabels(labelledOf(container), config);
    return container === undefined || read === undefined ? [] : [{ container, read }];
  });
}

function copied(containers: readonly ListedContainer[]): string {
  const names = containers.map(({ name }) => name).toSorted();
  return `the same compose project, service and number as ${names.join(", ")}: remove the containers that compose did not create`;
}

/** Whether the configuration names the container or wakeport created it. Its labels, perhaps of its image, are then ignored. */
function isConfigured({ name, labels }: ListedContainer, { services }: Pick<Config, "services">): boolean {
  if (labels[createdLabel] !== undefined) return true;
  return services.some(({ target }) => {
    if (target.kind !== "container") return false;
    if ("name" in target.reference) return target.reference.name === name;
    const { service, project } = target.reference;
    return labels[serviceLabel] === service && (project === undefined || labels[projectLabel] === project);
  });
}

function conflicts(
  service: WokenService,
  wanted: ReadonlyMap<string, LabelService>,
  { config }: ReconcileContext,
): string[] {
  const { services, admin } = config;
  const labelled = [...wanted.values()].map((one) => one.service);
  const others = [...services.filter(({ enabled }) => enabled), ...labelled];
  const namesake = [...services, ...labelled].find(({ name }) => name === service.name);
  if (namesake !== undefined)
    return [`service "${service.name}" already exists: choose another name with the label wakeport.name`];
  const bound = [
    { address: admin.host, listen: admin.port },
    ...others.flatMap((other) => entriesOf(other).map(({ key, port }) => ({ ...port, service: other, key }))),
  ];
  const taken = entriesOf(service).flatMap(({ key, port }) => {
    const [conflict] = bound.flatMap((other) => conflictOn({ ...port, service, key }, other) ?? []);
    return conflict === undefined ? [] : [`label wakeport.${key}: ${conflict.message} (${conflict.hint})`];
  });
  const foreign = labelled.filter((other) => projectOf(other) === undefined || projectOf(other) !== projectOf(service));
  return [...taken, ...forbiddenClaims(service, config, foreign)];
}

/** The compose project of the container of a service of labels; undefined if it has none. */
function projectOf({ target }: WokenService): string | undefined {
  return target.kind === "container" && "service" in target.reference ? target.reference.project : undefined;
}

function labelledOf({ name, labels }: ListedContainer): LabelledContainer {
  const [project, service] = [labels[projectLabel], labels[serviceLabel]];
  if (project === undefined || service === undefined) return { reference: { name }, name, labels };
  return { reference: { service, project }, name: service, labels };
}
