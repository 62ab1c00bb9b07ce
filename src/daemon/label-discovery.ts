/**
 * Services that containers declare by their labels, followed live. Each hint of the engine leads to one list of all
 * labelled containers, and the list decides. What the configuration names itself is left to it.
 */
import { delay } from "../async/wait.ts";
import type { Config, WokenService } from "../config/config.ts";
import type { ServiceChanges } from "../config/diff.ts";
import { ENABLE_LABEL } from "../config/labels.ts";
import { type ListedContainer, projectLabel } from "../docker/container-facts.ts";
import type { ContainerEvent } from "../docker/events.ts";
import { BindError, messageOf, TargetError } from "../errors.ts";
import type { Observer } from "../telemetry/observer.ts";
import {
  type LabelProblem,
  type LabelService,
  LINGER_MS,
  type ReconcileResult,
  reconcile,
  type ServiceChange,
} from "./label-reconciler.ts";
import type { EngineParts } from "./target-factory.ts";

/** The first container that comes is looked at, at once; more that come with it are looked at together. */
const GATHER_MS = 50;
const LOOK_MS = 10_000;

export interface LabelDiscoveryOptions {
  readonly config: Config;
  readonly engine: EngineParts;
  readonly observer: Observer;
  /**
   * Services appear, change and vanish: all of them, or none. `changes` is asked when it is their turn; `commit` is called
   * when nothing can fail any more.
   *
   * @throws BindError, TargetError when they cannot be had: a port is taken
   */
  readonly onChange: (changes: () => ServiceChanges, commit: () => void) => Promise<void>;
  /** Whether a service could be had beside those that there are. @throws BindError, TargetError when it could not */
  readonly onTrial: (service: WokenService) => Promise<void>;
}

interface Listed {
  readonly containers: readonly ListedContainer[];
  /** What keeps containers from being looked at. */
  readonly problems: readonly LabelProblem[];
}

export class LabelDiscovery {
  #options: LabelDiscoveryOptions;
  readonly #found = new Map<string, LabelService>();
  readonly #goneSince = new Map<string, number>();
  #problems: readonly LabelProblem[] = [];
  readonly #told = new Set<string>();
  #watch: Disposable | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isLooking = false;
  #isHinted = false;
  #lingering: NodeJS.Timeout | undefined;
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

  /** An engine that is away hints when it is back. @throws only what is a fault of wakeport's own: that ends it */
  async #look(): Promise<void> {
    const { signal } = this.#closing;
    this.#isLooking = true;
    while (this.#isHinted && !signal.aborted) {
      this.#isHinted = false;
      const listed = await this.#list().catch(() => undefined);
      if (listed !== undefined) await this.#take(listed);
      await delay(GATHER_MS, signal).catch(() => {});
    }
    this.#isLooking = false;
  }

  async #list(): Promise<Listed> {
    const { engine, own } = this.#options.engine;
    const { docker, discover } = this.#options.config;
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(LOOK_MS)]);
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

  /** Has what is served become what these containers say, or as much of it as can be had. */
  async #take({ containers, problems: faults }: Listed): Promise<void> {
    const refused = new Map<string, LabelProblem>();
    // Whenever it is their turn, from what is there by then.
    const decided = (): ReconcileResult => {
      const [found, goneSince, { config }] = [this.#found, this.#goneSince, this.#options];
      return reconcile(containers, { found, goneSince, refused, config, now: performance.now() });
    };
    // At most once for each service: one that cannot be had is not to be in the way of the others.
    for (let isDone = false; !isDone; ) {
      isDone = await this.#change(() => decided().steps).then(
        () => true,
        async (error: unknown) => {
          if (!isExpected(error)) throw error;
          // None where a reload has settled it meanwhile: what is left then takes nothing, and cannot fail.
          const wanted = decided().steps.flatMap(({ to }) => to ?? []);
          for (const [name, problem] of await this.#refusals(wanted, error)) refused.set(name, problem);
          return false;
        },
      );
    }
    const { problems, againInMs } = decided();
    // Nobody tells when a port is free again that somebody else has.
    if (againInMs !== undefined || refused.size > 0) this.#retryLater(againInMs ?? LINGER_MS);
    this.#problems = [...faults, ...problems];
    for (const problem of this.#problems) this.#report(problem);
    for (const told of this.#told) if (!this.#problems.some((one) => key(one) === told)) this.#told.delete(told);
  }

  /** Which of these cannot be had, and why: those that cannot be by themselves, or all of them when it is none of those. */
  async #refusals(wanted: readonly LabelService[], error: Error): Promise<[name: string, LabelProblem][]> {
    const refusals: [string, LabelProblem][] = [];
    const refuse = ({ service: { name }, container }: LabelService, fault: Error): void => {
      refusals.push([name, { container, problem: messageOf(fault) }]);
    };
    for (const found of wanted) {
      await this.#options.onTrial(found.service).catch((fault: unknown) => {
        if (!isExpected(fault)) throw fault;
        refuse(found, fault);
      });
    }
    if (refusals.length === 0) for (const found of wanted) refuse(found, error);
    return refusals;
  }

  /** @param steps asked when it is their turn @throws when they cannot be had; all is as before then */
  async #change(steps: () => readonly ServiceChange[]): Promise<void> {
    let taken: readonly ServiceChange[] = [];
    const changes = (): ServiceChanges => {
      taken = steps();
      return {
        added: taken.flatMap(({ from, to }) => (from === undefined ? [to.service] : [])),
        changed: taken.flatMap(({ from, to }) =>
          from === undefined || to === undefined ? [] : [{ from: from.service, to: to.service }],
        ),
        removed: taken.flatMap(({ from, to }) => (to === undefined ? [from.service] : [])),
      };
    };
    await this.#options.onChange(changes, () => {
      for (const { from, to } of taken) {
        if (to === undefined) {
          this.#found.delete(from.service.name);
          this.#goneSince.delete(from.service.name);
        } else this.#found.set(to.service.name, to);
      }
    });
  }

  /** Looks again when the time of a service that lingers is over, or of one that could not be had. */
  #retryLater(afterMs: number): void {
    clearTimeout(this.#lingering);
    this.#lingering = setTimeout(() => this.#hint(), afterMs);
  }

  /** Once, for as long as it lasts. */
  #report(problem: LabelProblem): void {
    if (this.#told.has(key(problem))) return;
    this.#told.add(key(problem));
    this.#options.observer.warning("labels.problem", `${problem.container}: ${problem.problem}`);
  }
}

/** What keeps a service from being had, as opposed to a fault of wakeport's own. */
function isExpected(error: unknown): error is Error {
  return error instanceof BindError || error instanceof TargetError;
}

function concerns({ attributes, action }: ContainerEvent): boolean {
  return attributes[ENABLE_LABEL] !== undefined && ["create", "start", "destroy", "rename"].includes(action);
}

function key({ container, problem }: LabelProblem): string {
  return `${container} ${problem}`;
}
