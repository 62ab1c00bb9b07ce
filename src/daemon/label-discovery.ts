import { delay } from "../async/wait.ts";
import type { Config, WokenService } from "../config/config.ts";
import type { ServiceChanges } from "../config/diff.ts";
import { ENABLE_LABEL } from "../config/label-names.ts";
import { type ListedContainer, projectLabel } from "../docker/container-facts.ts";
import type { ContainerEvent } from "../docker/events.ts";
import { BindError, TargetError } from "../errors.ts";
import type { Observer } from "../telemetry/observer.ts";
import type { EngineParts } from "./engine-parts.ts";
import {
  type LabelProblem,
  type LabelService,
  LINGER_MS,
  type ReconcileResult,
  reconcile,
} from "./label-reconciler.ts";

/** Pause after a list. All events during the pause cause one further list. */
const GATHER_MS = 50;
const LIST_MS = 10_000;

export interface LabelDiscoveryOptions {
  readonly config: Config;
  readonly engine: EngineParts;
  readonly observer: Observer;
  /**
   * Adds, changes and removes all these services, or none. `changes` is called when other changes are applied; `commit` is
   * called when nothing can fail any more.
   *
   * @throws BindError, TargetError; then everything is as before
   */
  readonly onChange: (changes: () => ServiceChanges, commit: () => void) => Promise<void>;
}

interface Listed {
  readonly containers: readonly ListedContainer[];
  /** Problems that prevent the discovery. */
  readonly problems: readonly LabelProblem[];
}

/**
 * Follows the services that containers declare by their labels. Each event of a labelled container causes a list of all
 * of them, from which the services are determined. Services of the configuration take precedence.
 */
export class LabelDiscovery {
  #options: LabelDiscoveryOptions;
  readonly #found = new Map<string, LabelService>();
  readonly #goneSince = new Map<string, number>();
  #problems: readonly LabelProblem[] = [];
  readonly #reported = new Set<string>();
  #watch: Disposable | undefined;
  #updating: Promise<void> = Promise.resolve();
  #isUpdating = false;
  #isUpdateNeeded = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #closing = new AbortController();

  constructor(options: LabelDiscoveryOptions) {
    this.#options = options;
  }

  get services(): WokenService[] {
    return [...this.#found.values()].map(({ service }) => service);
  }

  get problems(): readonly LabelProblem[] {
    return this.#problems;
  }

  /** Begins to follow the engine's events. */
  open(): void {
    this.#watch = this.#options.engine.events.watch((event) => {
      if (event === undefined || concerns(event)) this.#update();
    });
    this.#update();
  }

  /** Replaces the configuration. */
  configure(config: Config): void {
    this.#options = { ...this.#options, config };
    this.#update();
  }

  /** Stops following the engine. Keeps the services. */
  async close(): Promise<void> {
    this.#watch?.[Symbol.dispose]();
    this.#closing.abort();
    await this.#updating;
    // The last update may have set it.
    clearTimeout(this.#timer);
  }

  #update(): void {
    this.#isUpdateNeeded = true;
    if (!this.#isUpdating) this.#updating = this.#updateUntilCurrent();
  }

  /** Ignores an engine that does not answer: its return is an event. */
  async #updateUntilCurrent(): Promise<void> {
    const { signal } = this.#closing;
    this.#isUpdating = true;
    while (this.#isUpdateNeeded && !signal.aborted) {
      this.#isUpdateNeeded = false;
      const listed = await this.#list().catch(() => undefined);
      if (listed !== undefined) await this.#apply(listed);
      await delay(GATHER_MS, signal).catch(() => {});
    }
    this.#isUpdating = false;
  }

  async #list(): Promise<Listed> {
    const { engine, own } = this.#options.engine;
    const { docker, discover } = this.#options.config;
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(LIST_MS)]);
    const all = await engine.listLabelled(ENABLE_LABEL, signal);
    if (discover?.scope === "all") return { containers: all, problems: [] };
    const project = docker.project ?? (await own.known(signal))?.project;
    if (project !== undefined) {
      return { containers: all.filter(({ labels }) => labels[projectLabel] === project), problems: [] };
    }
    const message = "wakeport is in no compose project: nothing is discovered";
    const problem = `${message}; set docker.project, or "docker.discover: all"`;
    return { containers: [], problems: [{ container: "docker.discover", problem }] };
  }

  /** Makes the running services match these containers. Services whose ports are taken are skipped and reported. */
  async #apply({ containers, problems: listProblems }: Listed): Promise<void> {
    const { serviceOfLabels: read } = await import("../config/labels.ts");
    const skipped = new Map<string, LabelProblem>();
    // Called when other changes are applied, because they may change the result.
    const current = (): ReconcileResult => {
      const [found, goneSince, { config }] = [this.#found, this.#goneSince, this.#options];
      return reconcile(containers, { found, goneSince, skipped, config, read, now: performance.now() });
    };
    for (;;) {
      const error = await this.#change(current);
      if (error === undefined) break;
      // Empty if a reload has meanwhile removed the cause. Then the next attempt binds nothing and cannot fail.
      for (const [name, problem] of failuresOf(bindingIn(current()), error)) skipped.set(name, problem);
    }
    const { problems, againInMs } = current();
    // No event reports that a port is free again.
    if (againInMs !== undefined || skipped.size > 0) this.#updateLater(againInMs ?? LINGER_MS);
    this.#problems = [...listProblems, ...problems];
    for (const problem of this.#problems) this.#report(problem);
    for (const reported of this.#reported)
      if (!this.#problems.some((one) => key(one) === reported)) this.#reported.delete(reported);
  }

  /** Applies all changes or none. Returns undefined on success. @param plan called when other changes are applied */
  async #change(plan: () => ReconcileResult): Promise<Error | undefined> {
    let applied: ReconcileResult | undefined;
    const changes = (): ServiceChanges => {
      applied = plan();
      return {
        added: applied.added.map(({ service }) => service),
        changed: applied.changed.map(({ from, to }) => ({ from: from.service, to: to.service })),
        removed: applied.removed.map(({ service }) => service),
      };
    };
    const commit = (): void => {
      for (const { service } of applied?.removed ?? []) {
        this.#found.delete(service.name);
        this.#goneSince.delete(service.name);
      }
      for (const one of bindingIn(applied)) this.#found.set(one.service.name, one);
    };
    try {
      await this.#options.onChange(changes, commit);
      return undefined;
    } catch (error) {
      // Other errors are defects of wakeport.
      if (error instanceof BindError || error instanceof TargetError) return error;
      throw error;
    }
  }

  #updateLater(afterMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#update(), afterMs);
  }

  /** Reports each problem once while it lasts. */
  #report(problem: LabelProblem): void {
    if (this.#reported.has(key(problem))) return;
    this.#reported.add(key(problem));
    this.#options.observer.warning("labels.problem", `${problem.container}: ${problem.problem}`);
  }
}

/** Returns the services that a plan adds or changes. */
function bindingIn(plan: ReconcileResult | undefined): LabelService[] {
  return plan === undefined ? [] : [...plan.added, ...plan.changed.map(({ to }) => to)];
}

/** Returns the services whose addresses could not be bound; all services if the error has another cause. */
function failuresOf(wanted: readonly LabelService[], error: Error): Map<string, LabelProblem> {
  const parts = error instanceof BindError ? error.parts : [];
  const failed = wanted.flatMap(({ service: { name }, container }): [string, LabelProblem][] => {
    const messages = parts.filter((part) => part.service === name).map(({ message }) => message);
    return messages.length === 0 ? [] : [[name, { container, problem: messages.join("\n") }]];
  });
  if (failed.length > 0) return new Map(failed);
  return new Map(wanted.map(({ service: { name }, container }) => [name, { container, problem: error.message }]));
}

function concerns({ attributes, action }: ContainerEvent): boolean {
  return attributes[ENABLE_LABEL] !== undefined && ["create", "start", "destroy", "rename"].includes(action);
}

function key({ container, problem }: LabelProblem): string {
  return `${container} ${problem}`;
}
