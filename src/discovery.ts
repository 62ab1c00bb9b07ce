/**
 * Services that containers declare by their labels, followed live. Each hint of the engine leads to one list of all
 * labelled containers, and the list decides. What the configuration names itself is left to it.
 */
import { isDeepStrictEqual } from "node:util";
import { delay } from "./async.ts";
import type { Changes } from "./config/changes.ts";
import type { Config, WokenService } from "./config/config.ts";
import { ENABLE_LABEL, type LabelledContainer, serviceOfLabels } from "./config/labels.ts";
import { conflictOn, entriesOf } from "./config/shared-fronts.ts";
import { type ListedContainer, projectLabel, serviceLabel } from "./engine/container-facts.ts";
import { createdLabel } from "./engine/created.ts";
import type { ContainerEvent } from "./engine/events.ts";
import { messageOf } from "./errors.ts";
import type { EngineParts } from "./targets.ts";
import type { Observer } from "./telemetry/observer.ts";

/** A container that is recreated is away for about a second; its ports stay bound for longer than that. */
const LINGER_MS = 10_000;
/** The first container that comes is looked at, at once; more that come with it are looked at together. */
const GATHER_MS = 50;
const LOOK_MS = 10_000;

export interface DiscoveryOptions {
  readonly config: Config;
  readonly engine: EngineParts;
  readonly observer: Observer;
  /**
   * Services appear, change and vanish: all of them, or none. `commit` is called when nothing can fail any more.
   *
   * @throws when they cannot be had: a port is taken
   */
  readonly onChange: (changes: ServiceChanges, commit: () => void) => Promise<void>;
}

type ServiceChanges = Pick<Changes, "added" | "changed" | "removed">;

/** What is wrong with the labels of one container. */
export interface LabelProblem {
  readonly container: string;
  readonly problem: string;
}

interface Found {
  readonly service: WokenService;
  /** For people. */
  readonly container: string;
  /** Since when its container is gone, by the monotonic clock. */
  goneSince?: number;
}

/** What becomes of one service. */
type Step =
  | { readonly from: Found; readonly to?: undefined }
  | { readonly from?: undefined; readonly to: Found }
  | { readonly from: Found; readonly to: Found };

export class Discovery {
  #options: DiscoveryOptions;
  readonly #found = new Map<string, Found>();
  #problems: readonly LabelProblem[] = [];
  readonly #told = new Set<string>();
  #watch: Disposable | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isLooking = false;
  #isHinted = false;
  #lingering: NodeJS.Timeout | undefined;
  readonly #closing = new AbortController();

  constructor(options: DiscoveryOptions) {
    this.#options = options;
  }

  get services(): WokenService[] {
    return [...this.#found.values()].map(({ service }) => service);
  }

  get problems(): readonly LabelProblem[] {
    return this.#problems;
  }

  /** Begins to follow the engine. */
  open(): void {
    this.#watch = this.#options.engine.events.watch((event) => {
      if (event === undefined || concerns(event)) this.#hint();
    });
    this.#hint();
  }

  /** Another configuration is in force. */
  configure(config: Config): void {
    this.#options = { ...this.#options, config };
    this.#hint();
  }

  /** What was found stays; nothing is followed any more. */
  async close(): Promise<void> {
    this.#watch?.[Symbol.dispose]();
    this.#closing.abort();
    await this.#looking;
    // The last look may have set it.
    clearTimeout(this.#lingering);
  }

  #hint(): void {
    this.#isHinted = true;
    if (!this.#isLooking) this.#looking = this.#look();
  }

  /** Never rejects: an engine that is away hints when it is back. */
  async #look(): Promise<void> {
    const { signal } = this.#closing;
    this.#isLooking = true;
    while (this.#isHinted && !signal.aborted) {
      this.#isHinted = false;
      const containers = await this.#list().catch(() => undefined);
      if (containers !== undefined) await this.#take(containers);
      await delay(GATHER_MS, signal).catch(() => {});
    }
    this.#isLooking = false;
  }

  async #list(): Promise<ListedContainer[]> {
    const { engine, own } = this.#options.engine;
    const { docker, discover } = this.#options.config;
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(LOOK_MS)]);
    const all = await engine.listLabelled(ENABLE_LABEL, signal);
    if (discover?.scope === "all") return all;
    const project = docker.project ?? (await own.known(signal))?.project;
    if (project !== undefined) return all.filter(({ labels }) => labels[projectLabel] === project);
    const message = "wakeport is in no compose project: nothing is discovered";
    this.#tell({ container: "docker.discover", problem: `${message}; set docker.project, or "docker.discover: all"` });
    return [];
  }

  async #take(containers: readonly ListedContainer[]): Promise<void> {
    const problems: LabelProblem[] = [];
    const wanted = new Map<string, Found>();
    for (const container of this.#establishedFirst(this.#firsts(containers))) {
      const labelled = labelledOf(container);
      const read = serviceOfLabels(labelled, this.#options.config);
      if (read === undefined || this.#isConfigured(container)) continue;
      const faults = "problems" in read ? read.problems : this.#conflicts(read.service, wanted);
      problems.push(...faults.map((problem) => ({ container: container.name, problem })));
      if ("service" in read && faults.length === 0)
        wanted.set(read.service.name, { service: read.service, container: container.name });
    }
    await this.#become(wanted, problems);
    this.#problems = problems;
    for (const problem of problems) this.#tell(problem);
    for (const told of this.#told) if (!problems.some((one) => key(one) === told)) this.#told.delete(told);
  }

  async #become(wanted: ReadonlyMap<string, Found>, problems: LabelProblem[]): Promise<void> {
    const steps = this.#steps(wanted);
    try {
      await this.#change(steps);
    } catch {
      // One that cannot be had is not to be in the way of the others: each by itself, those that free ports first.
      for (const step of steps) {
        await this.#change([step]).catch((error: unknown) => {
          problems.push({ container: (step.to ?? step.from).container, problem: messageOf(error) });
        });
      }
    }
  }

  /** From what is served to what is wanted. Who is gone lingers for a while. */
  #steps(wanted: ReadonlyMap<string, Found>): Step[] {
    const now = performance.now();
    const [gone, changed]: [Step[], Step[]] = [[], []];
    for (const [name, from] of this.#found) {
      const to = wanted.get(name);
      if (to !== undefined) {
        delete from.goneSince;
        if (!isDeepStrictEqual(from.service, to.service)) changed.push({ from, to });
        continue;
      }
      from.goneSince ??= now;
      const restMs = from.goneSince + LINGER_MS - now;
      if (restMs > 0) this.#comeBack(restMs);
      else gone.push({ from });
    }
    const added = [...wanted.values()].filter(({ service }) => !this.#found.has(service.name));
    return [...gone, ...changed, ...added.map((to) => ({ to }))];
  }

  /** @throws when they cannot be had; all is as before then */
  async #change(steps: readonly Step[]): Promise<void> {
    if (steps.length === 0) return;
    const changes: ServiceChanges = {
      added: steps.flatMap(({ from, to }) => (from === undefined ? [to.service] : [])),
      changed: steps.flatMap(({ from, to }) =>
        from === undefined || to === undefined ? [] : [{ from: from.service, to: to.service }],
      ),
      removed: steps.flatMap(({ from, to }) => (to === undefined ? [from.service] : [])),
    };
    await this.#options.onChange(changes, () => {
      for (const { from, to } of steps) {
        if (to === undefined) this.#found.delete(from.service.name);
        else this.#found.set(to.service.name, to);
      }
    });
  }

  /** A service that lingers is looked at again when its time is over. */
  #comeBack(afterMs: number): void {
    clearTimeout(this.#lingering);
    this.#lingering = setTimeout(() => this.#hint(), afterMs);
  }

  /** Of a compose service with several containers the first stands for all. */
  #firsts(containers: readonly ListedContainer[]): ListedContainer[] {
    const byTarget = Map.groupBy(containers, (container) => JSON.stringify(labelledOf(container).reference));
    return [...byTarget.values()].flatMap((same) => same.slice(0, 1));
  }

  /** No newcomer takes the name or the port of a service that is served already. */
  #establishedFirst(containers: readonly ListedContainer[]): ListedContainer[] {
    const served = new Set([...this.#found.values()].map(({ container }) => container));
    return containers.toSorted((a, b) => Number(served.has(b.name)) - Number(served.has(a.name)));
  }

  /** The configuration goes first, also for what is created as it says: labels may come with an image. */
  #isConfigured({ name, labels }: ListedContainer): boolean {
    if (labels[createdLabel] !== undefined) return true;
    return this.#options.config.services.some(({ target }) => {
      if (target.kind !== "container") return false;
      if ("name" in target.reference) return target.reference.name === name;
      const { service, project } = target.reference;
      return labels[serviceLabel] === service && (project === undefined || labels[projectLabel] === project);
    });
  }

  #conflicts(service: WokenService, wanted: ReadonlyMap<string, Found>): string[] {
    const { services, admin } = this.#options.config;
    const others = [...services.filter(({ enabled }) => enabled), ...[...wanted.values()].map((one) => one.service)];
    const namesake = others.find(({ name }) => name === service.name);
    if (namesake !== undefined)
      return [`there is a service "${service.name}" already: choose another one with label wakeport.name`];
    const bound = [
      { address: admin.host, front: admin.port },
      ...others.flatMap((other) => entriesOf(other).map(({ key, port }) => ({ ...port, service: other, key }))),
    ];
    return entriesOf(service).flatMap(({ key, port }) => {
      const [conflict] = bound.flatMap((other) => conflictOn({ ...port, service, key }, other) ?? []);
      return conflict === undefined ? [] : [`label wakeport.${key}: ${conflict.message} (${conflict.hint})`];
    });
  }

  /** Once, for as long as it lasts. */
  #tell(problem: LabelProblem): void {
    if (this.#told.has(key(problem))) return;
    this.#told.add(key(problem));
    this.#options.observer.warning("labels.problem", `${problem.container}: ${problem.problem}`);
  }
}

function concerns({ attributes, action }: ContainerEvent): boolean {
  return attributes[ENABLE_LABEL] !== undefined && ["create", "start", "destroy", "rename"].includes(action);
}

function labelledOf({ name, labels }: ListedContainer): LabelledContainer {
  const [project, service] = [labels[projectLabel], labels[serviceLabel]];
  if (project === undefined || service === undefined) return { reference: { name }, name, labels };
  return { reference: { service, project }, name: service, labels };
}

function key({ container, problem }: LabelProblem): string {
  return `${container} ${problem}`;
}
