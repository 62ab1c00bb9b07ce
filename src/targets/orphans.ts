import type { CreatedContainerFacts } from "../docker/created-containers.ts";
import type { Engine } from "../docker/engine.ts";
import type { EngineEvents } from "../docker/events.ts";
import { KeptError, messageOf, sentenceOf, TargetError } from "../errors.ts";
import { ownGraceMs } from "./container-stopper.ts";
import type { CreatedContainerFinder } from "./created-container-finder.ts";
import type { TargetObserver } from "./reports.ts";
import type { StopGuard } from "./stop-guard.ts";

export interface OrphansOptions {
  readonly engine: Engine;
  readonly events: EngineEvents;
  readonly createdContainers: CreatedContainerFinder;
  readonly guard: StopGuard;
  /** Services whose containers are kept. */
  readonly services: ReadonlySet<string>;
  readonly observer: TargetObserver;
}

/** Stops and removes the containers that this wakeport created for services that no longer exist, once after its start. */
export class Orphans {
  readonly #options: OrphansOptions;
  readonly #closing = new AbortController();
  #watch: Disposable | undefined;
  #removal: Promise<void> | undefined;

  constructor(options: OrphansOptions) {
    this.#options = options;
  }

  /** Removes the orphans in the background, as soon as the engine answers. */
  open(): void {
    this.#watch = this.#options.events.watch((event) => {
      if (event === undefined) this.#begin();
    });
  }

  /** Aborts the pending removals. */
  async close(): Promise<void> {
    this.#watch?.[Symbol.dispose]();
    this.#closing.abort();
    await this.#removal;
  }

  #begin(): void {
    this.#watch?.[Symbol.dispose]();
    this.#removal ??= this.#removeAll(this.#closing.signal).catch((error) => this.#failed(error));
  }

  async #removeAll(signal: AbortSignal): Promise<void> {
    const { createdContainers, services } = this.#options;
    const orphans = (await createdContainers.find(signal)).filter(({ service }) => !services.has(service));
    await Promise.all(orphans.map((orphan) => this.#remove(orphan, signal).catch((error) => this.#failed(error))));
  }

  async #remove(orphan: CreatedContainerFacts, signal: AbortSignal): Promise<void> {
    const { engine, guard, observer } = this.#options;
    if (!orphan.isDown) {
      const facts = await engine.inspect(orphan.id, signal);
      const reasons = await guard.reasonsAgainstStop(facts, "created", signal);
      if (reasons.length > 0) throw new KeptError(`container ${orphan.name} is not removed: ${reasons.join("; ")}`);
      await engine.stop(orphan, ownGraceMs(facts.stopTimeoutS), true, signal);
    }
    await engine.remove(orphan, signal);
    observer.orphanRemoved(`container ${orphan.name}`, orphan.service);
  }

  #failed(error: unknown): void {
    if (this.#closing.signal.aborted) return;
    // The engine itself reports that a proxy denies the list.
    const isDenied =
      error instanceof TargetError && error.fault === "denied" && this.#options.engine.refusals.has("list");
    if (isDenied) return;
    const why = error instanceof Error ? sentenceOf(error) : messageOf(error);
    this.#options.observer.warning("container.orphans", `containers of a previous configuration may remain: ${why}`);
  }
}
