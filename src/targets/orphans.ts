/** What an earlier life of this wakeport made and nothing names any more: stopped and removed, once, at boot. */

import type { Engine } from "../docker/engine.ts";
import type { EngineEvents } from "../docker/events.ts";
import type { ListedCreation } from "../docker/on-demand.ts";
import { KeptError, messageOf, sentenceOf, TargetError } from "../errors.ts";
import { ownGraceMs } from "./container-stopper.ts";
import type { Creations } from "./creations.ts";
import type { TargetObserver } from "./reports.ts";
import type { StopGuard } from "./stop-guard.ts";

export interface OrphansOptions {
  readonly engine: Engine;
  readonly events: EngineEvents;
  readonly creations: Creations;
  readonly guard: StopGuard;
  /** The services whose containers are no orphans. */
  readonly services: ReadonlySet<string>;
  readonly observer: TargetObserver;
}

export class Orphans {
  readonly #options: OrphansOptions;
  readonly #closing = new AbortController();
  #watch: Disposable | undefined;
  #sweep: Promise<void> | undefined;

  constructor(options: OrphansOptions) {
    this.#options = options;
  }

  /** Waits for the engine to answer for the first time, in the background, and removes what there is. */
  open(): void {
    this.#watch = this.#options.events.watch((event) => {
      if (event === undefined) this.#begin();
    });
  }

  /** Gives up what is not done. */
  async close(): Promise<void> {
    this.#watch?.[Symbol.dispose]();
    this.#closing.abort();
    await this.#sweep;
  }

  #begin(): void {
    this.#watch?.[Symbol.dispose]();
    this.#sweep ??= this.#removeAll(this.#closing.signal).catch((error) => this.#failed(error));
  }

  async #removeAll(signal: AbortSignal): Promise<void> {
    const { creations, services } = this.#options;
    const orphans = (await creations.find(signal)).filter(({ service }) => !services.has(service));
    await Promise.all(orphans.map((orphan) => this.#remove(orphan, signal).catch((error) => this.#failed(error))));
  }

  async #remove(orphan: ListedCreation, signal: AbortSignal): Promise<void> {
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
    // Where a proxy does not even let us look, the engine has told.
    const isDenied =
      error instanceof TargetError && error.fault === "denied" && this.#options.engine.refusals.has("list");
    if (isDenied) return;
    const why = error instanceof Error ? sentenceOf(error) : messageOf(error);
    this.#options.observer.warning("container.orphans", `what an earlier wakeport created may be left: ${why}`);
  }
}
