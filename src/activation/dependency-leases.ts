import { delay } from "../async/wait.ts";
import { isStop } from "./classify.ts";
import { DependencyError, ExitedError } from "./errors.ts";

/** A dependency that was held for this time starts a new count of crashes. */
const STEADY_MS = 10_000;
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;

/** Keeps a dependency up until it is disposed. */
export interface DependencyLease extends Disposable {
  /** Aborted, with the reason, if the dependency went down nevertheless. */
  readonly signal?: AbortSignal;
}

export interface Dependency {
  /** For messages: `container db`. */
  readonly name: string;
  /** Wakes the dependency and resolves when its condition is met: started, healthy or completed. */
  acquire(signal: AbortSignal): Promise<DependencyLease>;
  /** Resolves when the dependency is up. Starts nothing. */
  join(signal: AbortSignal): Promise<DependencyLease>;
  /** Called before the holder is put to sleep, which ends its connections. The holder's stop waits for the result. */
  beforeHolderSleeps?(): Promise<unknown> | undefined;
}

export interface DependencyLeasesOptions {
  /** Returns the current dependencies. */
  readonly resolve: (signal: AbortSignal) => Promise<readonly Dependency[]>;
  /** Called if the dependencies cannot be resolved in the background. */
  readonly onFailure: (error: Error) => void;
}

/** The time from the first lease on a dependency to the release of all. */
interface Round {
  /** Aborted at its end. Background work belongs to the round. */
  readonly released: AbortController;
  readonly held: Map<string, { readonly dependency: Dependency; readonly lease: DependencyLease }>;
  /** The names of all dependencies; undefined before they are resolved. */
  wanted: readonly string[] | undefined;
  /** Crashes in a row of each dependency soon after its lease was granted. */
  readonly crashes: Map<string, number>;
}

/**
 * Leases on the dependencies of a target while it is awake. A lost lease is acquired again: after a crash with growing
 * delays, after a stop by another process when the dependency is up again, and in any case for the next client.
 */
export class DependencyLeases {
  readonly #options: DependencyLeasesOptions;
  /** Undefined after a release. */
  #round: Round | undefined;
  #onChange: () => void = () => {};

  constructor(options: DependencyLeasesOptions) {
    this.#options = options;
  }

  /** Sets the function that is called when `isIncomplete` may have changed. */
  onChange(onChange: () => void): void {
    this.#onChange = onChange;
  }

  /** Whether a lease may be missing. */
  get isIncomplete(): boolean {
    const { wanted, held } = this.#round ?? {};
    return wanted === undefined || wanted.some((name) => !held?.has(name));
  }

  /**
   * Acquires all missing leases concurrently. Each dependency starts its own dependencies first.
   *
   * @throws DependencyError with the name of the first dependency that failed; the reason of `signal`
   */
  async acquire(signal: AbortSignal): Promise<void> {
    const round = this.#begun();
    const scope = AbortSignal.any([signal, round.released.signal]);
    const dependencies = await this.#options.resolve(scope);
    scope.throwIfAborted();
    await Promise.all(dependencies.map((dependency) => this.#acquireOne(dependency, scope, round)));
    scope.throwIfAborted();
    this.#want(round, dependencies);
  }

  /** Acquires leases on running dependencies, now and later: for a target that another process started. */
  join(): void {
    const round = this.#begun();
    const released = round.released.signal;
    this.#options.resolve(released).then(
      (dependencies) => {
        if (released.aborted) return;
        this.#want(round, dependencies);
        for (const dependency of dependencies) void this.#waitForReturn(dependency, round);
      },
      (error) => {
        if (!released.aborted) this.#options.onFailure(error);
      },
    );
  }

  /** Called before the target is put to sleep. @returns what its stop waits for */
  beforeSleep(): Promise<unknown>[] {
    const held = this.#round?.held.values() ?? [];
    return [...held].flatMap(({ dependency }) => dependency.beforeHolderSleeps?.() ?? []);
  }

  /** Releases all leases. */
  release(): void {
    const round = this.#round;
    if (round === undefined) return;
    this.#round = undefined;
    round.released.abort();
    const held = [...round.held.values()];
    round.held.clear();
    for (const { lease } of held) lease[Symbol.dispose]();
  }

  #begun(): Round {
    this.#round ??= { released: new AbortController(), held: new Map(), wanted: undefined, crashes: new Map() };
    return this.#round;
  }

  #want(round: Round, dependencies: readonly Dependency[]): void {
    round.wanted = dependencies.map(({ name }) => name);
    this.#onChange();
  }

  async #acquireOne(dependency: Dependency, signal: AbortSignal, round: Round): Promise<void> {
    if (round.held.has(dependency.name)) return;
    const lease = await dependency.acquire(signal).catch((cause: Error) => {
      signal.throwIfAborted();
      throw new DependencyError(`${dependency.name} is needed: ${cause.message}`, { cause });
    });
    this.#hold(dependency, lease, round);
  }

  #hold(dependency: Dependency, lease: DependencyLease, round: Round): void {
    const { name } = dependency;
    const { released, held, crashes } = round;
    if (released.signal.aborted || held.has(name)) return lease[Symbol.dispose]();
    held.set(name, { dependency, lease });
    this.#onChange();
    const since = performance.now();
    const lost = (): void => {
      if (held.get(name)?.lease !== lease) return;
      held.delete(name);
      this.#onChange();
      if (performance.now() - since >= STEADY_MS) crashes.delete(name);
      void this.#reacquire(dependency, lease.signal?.reason, round);
    };
    // The dependency may have gone down since the grant.
    if (lease.signal?.aborted) return lost();
    lease.signal?.addEventListener("abort", lost, { once: true });
  }

  /** Never rejects. */
  async #reacquire(dependency: Dependency, reason: unknown, round: Round): Promise<void> {
    const released = round.released.signal;
    // A dependency that exited with 0 is complete.
    if (reason instanceof ExitedError && !isStop(reason.exit) && reason.exit.code !== 0) {
      await this.#backOff(dependency.name, round);
      if (released.aborted || round.held.has(dependency.name)) return;
      // The dependency's own activator reports the failure.
      const lease = await dependency.acquire(released).catch(() => undefined);
      if (lease !== undefined) return this.#hold(dependency, lease, round);
    }
    await this.#waitForReturn(dependency, round);
  }

  /** Waits after a crash: not at all after the first one. Ends early with the round, and never rejects. */
  async #backOff(name: string, round: Round): Promise<void> {
    const crashes = round.crashes.get(name) ?? 0;
    round.crashes.set(name, crashes + 1);
    if (crashes === 0) return;
    await delay(Math.min(FIRST_RETRY_MS * 2 ** (crashes - 1), MAX_RETRY_MS), round.released.signal).catch(() => {});
  }

  /** Never rejects. */
  async #waitForReturn(dependency: Dependency, round: Round): Promise<void> {
    const released = round.released.signal;
    if (released.aborted) return;
    const lease = await dependency.join(released).catch(() => undefined);
    if (lease !== undefined) this.#hold(dependency, lease, round);
  }
}
