/** Which services the labels of containers make, and what becomes of those that there are. */
import { isDeepStrictEqual } from "node:util";
import type { Config, WokenService } from "../config/config.ts";
import { forbiddenClaims } from "../config/label-claims.ts";
import { type LabelledContainer, serviceOfLabels } from "../config/labels.ts";
import { conflictOn, entriesOf } from "../config/port-conflicts.ts";
import { ambiguousContainers } from "../docker/compose-service.ts";
import { type ListedContainer, projectLabel, serviceLabel } from "../docker/container-facts.ts";
import { createdLabel } from "../docker/on-demand.ts";

/** A container that is recreated is away for about a second; its ports stay bound for longer than that. */
export const LINGER_MS = 10_000;

/** A service that labels have made. */
export interface LabelService {
  readonly service: WokenService;
  /** For people. */
  readonly container: string;
}

/** What is wrong with the labels of one container. */
export interface LabelProblem {
  readonly container: string;
  readonly problem: string;
}

/** What becomes of one service: it goes, comes, or is another one from now on. */
export type ServiceChange =
  | { readonly from: LabelService; readonly to?: undefined }
  | { readonly from?: undefined; readonly to: LabelService }
  | { readonly from: LabelService; readonly to: LabelService };

export interface ReconcileResult {
  /** Those that free ports come first. */
  readonly steps: readonly ServiceChange[];
  readonly problems: readonly LabelProblem[];
  /** When something changes although nothing happens, in milliseconds; undefined: never. */
  readonly againInMs: number | undefined;
}

export interface ReconcileContext {
  /** Also those whose container is gone. By name. */
  readonly found: ReadonlyMap<string, LabelService>;
  /** Since when they have been gone that are; kept here from one decision to the next. */
  readonly goneSince: Map<string, number>;
  /** Those that could not be had just now, by name: they stay as they are, or out. */
  readonly refused: ReadonlyMap<string, LabelProblem>;
  /** In force now. */
  readonly config: Config;
  /** By the monotonic clock, in milliseconds. */
  readonly now: number;
}

/** What these containers say, and what is to be done for that. */
export function reconcile(containers: readonly ListedContainer[], context: ReconcileContext): ReconcileResult {
  const problems: LabelProblem[] = [];
  const wanted = new Map<string, LabelService>();
  for (const { container, read } of readAll(containers, context)) {
    if ("problems" in read) {
      problems.push(...read.problems.map((problem) => ({ container: container.name, problem })));
      continue;
    }
    const refusal = context.refused.get(read.service.name);
    if (refusal !== undefined) problems.push(refusal);
    const own = { service: read.service, container: container.name };
    const one = refusal === undefined ? own : context.found.get(read.service.name);
    if (one === undefined) continue;
    const faults = conflicts(one.service, wanted, context);
    problems.push(...faults.map((problem) => ({ container: container.name, problem })));
    if (faults.length === 0) wanted.set(one.service.name, one);
  }
  return { ...stepsTo(wanted, context), problems };
}

type LabelledService = NonNullable<ReturnType<typeof serviceOfLabels>>;

/**
 * Order of precedence for names and ports: unchanged services, then changed ones, then new ones. New ones are sorted by
 * the age of their container, so that a restart of wakeport gives the same result.
 */
function readAll(containers: readonly ListedContainer[], { found, refused, config }: ReconcileContext): Reading[] {
  const all = readFirsts(containers, config);
  // Not by the container's name: while compose recreates one, it has another.
  const served = new Set([...found.values()].map(({ service }) => keyOf(service)));
  const rank = ({ container, read }: Reading): number => {
    const one = "service" in read ? found.get(read.service.name) : undefined;
    const staysSo =
      "service" in read && (refused.has(read.service.name) || isDeepStrictEqual(one?.service, read.service));
    if (one !== undefined && staysSo) return 0;
    return served.has(JSON.stringify(labelledOf(container).reference)) ? 1 : 2;
  };
  return all.toSorted((a, b) => rank(a) - rank(b) || a.container.created - b.container.created);
}

/** From what is served to what is wanted. Who is gone lingers for a while, unless somebody has its place. */
function stepsTo(
  wanted: ReadonlyMap<string, LabelService>,
  context: ReconcileContext,
): { readonly steps: ServiceChange[]; readonly againInMs: number | undefined } {
  const { found, goneSince, now } = context;
  const [gone, changed]: [ServiceChange[], ServiceChange[]] = [[], []];
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
    else gone.push({ from });
  }
  const added = [...wanted.values()].filter(({ service }) => !found.has(service.name)).map((to) => ({ to }));
  return { steps: [...gone, ...changed, ...added], againInMs: rests.length === 0 ? undefined : Math.min(...rests) };
}

/** Which container a service leads to; labels make none that leads to anything else. */
function keyOf({ target }: WokenService): string {
  return target.kind === "container" ? JSON.stringify(target.reference) : "";
}

interface Reading {
  readonly container: ListedContainer;
  readonly read: LabelledService;
}

/** Reads the labels of the first container of each compose service. */
function readFirsts(containers: readonly ListedContainer[], config: Config): Reading[] {
  const byTarget = Map.groupBy(containers, (container) => JSON.stringify(labelledOf(container).reference));
  return [...byTarget.values()].flatMap((same): Reading[] => {
    const claims = ambiguousContainers(same);
    if (claims.length > 0) return claims.map((container) => ({ container, read: { problems: [copied(claims)] } }));
    const [container] = same;
    const read =
      container === undefined || isConfigured(container, config)
        ? undefined
        : serviceOfLabels(labelledOf(container), config);
    return container === undefined || read === undefined ? [] : [{ container, read }];
  });
}

function copied(claims: readonly ListedContainer[]): string {
  const names = claims.map(({ name }) => name).toSorted();
  return `the same compose project, service and number as ${names.join(", ")}: remove what compose did not create`;
}

/** The configuration goes first, also for what is created as it says: labels may come with an image. */
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
    return [`there is a service "${service.name}" already: choose another one with label wakeport.name`];
  const bound = [
    { address: admin.host, listen: admin.port },
    ...others.flatMap((other) => entriesOf(other).map(({ key, port }) => ({ ...port, service: other, key }))),
  ];
  const taken = entriesOf(service).flatMap(({ key, port }) => {
    const [conflict] = bound.flatMap((other) => conflictOn({ ...port, service, key }, other) ?? []);
    return conflict === undefined ? [] : [`label wakeport.${key}: ${conflict.message} (${conflict.hint})`];
  });
  const strangers = labelled.filter(
    (other) => projectOf(other) === undefined || projectOf(other) !== projectOf(service),
  );
  return [...taken, ...forbiddenClaims(service, config, strangers)];
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
