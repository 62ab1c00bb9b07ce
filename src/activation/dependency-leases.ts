/**
 * What a target depends on, claimed for as long as the target is awake. A dependency that goes down under its claim is
 * claimed again: when it crashed, at once, and after growing pauses when it keeps crashing; when somebody took it down,
 * as soon as somebody brings it up; and in any case for the next client of the target.
 */

import { isStop } from "./classify.ts";
import { DependencyError, ExitedError } from "./errors.ts";

/** A dependency that was held for so long does not crash again and again. */
const STEADY_MS = 10_000;
const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;

/** Keeps a dependency up until it is disposed. */
export interface DependencyLease extends Disposable {
  /** Aborted, with the reason, when the dependency went down all the same. */
  readonly signal?: AbortSignal;
}

export interface Dependency {
  /** For people: `container db`. */
  readonly name: string;
  /** Wakes it and resolves when it is there, as the condition under which it is needed says. */
  acquire(signal: AbortSignal): Promise<DependencyLease>;
  /** Starts nothing: resolves once it is there by somebody else's doing. */
  join(signal: AbortSignal): Promise<DependencyLease>;
  /** Called before the holder is put to sleep, which ends its connections. The holder's stop waits for the result. */
  beforeHolderSleeps?(): Promise<unknown> | undefined;
}

export interface DependencyLeasesOptions {
  /** Tells what is needed at this moment. */
  readonly resolve: (signal: AbortSignal) => Promise<readonly Dependency[]>;
  /** Something that is needed could not be had in the background. */
  readonly onFailure: (error: Error) => void;
}

export class DependencyLeases {
  readonly #options: DependencyLeasesOptions;
  readonly #held = new Map<string, DependencyLease>();
  readonly #dependencies = new Map<string, Dependency>();
  #released = new AbortController();
  /** The names of all that is needed; undefined while that is not known. */
  #wanted: readonly string[] | undefined;
  /** How often in a row each of them crashed soon after it had been claimed. */
  readonly #crashes = new Map<string, number>();

  constructor(options: DependencyLeasesOptions) {
    this.#options = options;
  }

  /** Whether something may be missing, so that `claim` has something to do. */
  get isIncomplete(): boolean {
    return this.#wanted === undefined || this.#wanted.some((name) => !this.#held.has(name));
  }

  /**
   * Claims all that is needed, all at once; each brings up what it needs itself first. Resolves when all of it is there.
   *
   * @throws DependencyError that names the first one that failed; the reason of `signal`
   */
  async acquire(signal: AbortSignal): Promise<void> {
    const released = this.#released.signal;
    const scope = AbortSignal.any([signal, released]);
    const dependencies = await this.#options.resolve(scope);
    scope.throwIfAborted();
    await Promise.all(dependencies.map((dependency) => this.#acquireOne(dependency, scope, released)));
    scope.throwIfAborted();
    this.#wanted = dependencies.map(({ name }) => name);
  }

  /** Holds what is up, and what comes up later: for a target that somebody else started. */
  join(): void {
    const released = this.#released.signal;
    this.#options.resolve(released).then(
      (dependencies) => {
        if (released.aborted) return;
        this.#wanted = dependencies.map(({ name }) => name);
        for (const dependency of dependencies) void this.#waitForReturn(dependency, released);
      },
      (error) => {
        if (!released.aborted) this.#options.onFailure(error);
      },
    );
  }

  /** Called before the target is put to sleep. @returns what its stop waits for */
  beforeSleep(): Promise<unknown>[] {
    return [...this.#held.keys()].flatMap((name) => this.#dependencies.get(name)?.beforeHolderSleeps?.() ?? []);
  }

  /** Gives all of it back. */
  release(): void {
    this.#released.abort();
    this.#released = new AbortController();
    this.#wanted = undefined;
    this.#crashes.clear();
    const holds = [...this.#held.values()];
    this.#held.clear();
    for (const hold of holds) hold[Symbol.dispose]();
  }

  // Each of these belongs to the time until the next release, and is told by its signal when that is over.

  async #acquireOne(dependency: Dependency, signal: AbortSignal, released: AbortSignal): Promise<void> {
    if (this.#held.has(dependency.name)) return;
    const hold = await dependency.acquire(signal).catch((cause: Error) => {
      signal.throwIfAborted();
      throw new DependencyError(`${dependency.name} is needed: ${cause.message}`, { cause });
    });
    this.#keep(dependency, hold, released);
  }

  #keep(dependency: Dependency, hold: DependencyLease, released: AbortSignal): void {
    const { name } = dependency;
    if (released.aborted || this.#held.has(name)) return hold[Symbol.dispose]();
    this.#held.set(name, hold);
    this.#dependencies.set(name, dependency);
    const since = performance.now();
    const lost = (): void => {
      if (this.#held.get(name) !== hold) return;
      this.#held.delete(name);
      if (performance.now() - since >= STEADY_MS) this.#crashes.delete(name);
      void this.#reacquire(dependency, hold.signal?.reason, released);
    };
    // It may have gone down since it was granted.
    if (hold.signal?.aborted) return lost();
    hold.signal?.addEventListener("abort", lost, { once: true });
  }

  /** Never rejects. */
  async #reacquire(dependency: Dependency, reason: unknown, released: AbortSignal): Promise<void> {
    // A dependency that exited with 0 is complete.
    if (reason instanceof ExitedError && !isStop(reason.exit) && reason.exit.code !== 0) {
      await this.#pause(dependency.name, released);
      if (released.aborted || this.#held.has(dependency.name)) return;
      // Its own activator tells of the failure.
      const hold = await dependency.acquire(released).catch(() => undefined);
      if (hold !== undefined) return this.#keep(dependency, hold, released);
    }
    await this.#waitForReturn(dependency, released);
  }

  /** Waits before a dependency that crashed is claimed again: nothing the first time. Ends early with `released`. */
  async #pause(name: string, released: AbortSignal): Promise<void> {
    const crashes = this.#crashes.get(name) ?? 0;
    this.#crashes.set(name, crashes + 1);
    if (crashes === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, Math.min(FIRST_PAUSE_MS * 2 ** (crashes - 1), MAX_PAUSE_MS));
    released.addEventListener("abort", () => resolve(), { once: true });
    await promise.finally(() => clearTimeout(timer));
  }

  /** Never rejects. */
  async #waitForReturn(dependency: Dependency, released: AbortSignal): Promise<void> {
    if (released.aborted) return;
    const hold = await dependency.join(released).catch(() => undefined);
    if (hold !== undefined) this.#keep(dependency, hold, released);
  }
}
