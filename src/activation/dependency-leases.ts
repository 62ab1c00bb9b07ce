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

/**
 * Leases on the dependencies of a target while it is awake. A lost lease is acquired again: after a crash with growing
 * delays, after a stop by another process when the dependency is up again, and in any case for the next client.
 */
export class DependencyLeases {
  readonly #options: DependencyLeasesOptions;
  readonly #held = new Map<string, DependencyLease>();
  readonly #dependencies = new Map<string, Dependency>();
  /** Aborted by the next release. Background work belongs to the time until then. */
  #released = new AbortController();
  /** The names of all dependencies; undefined before they are resolved. */
  #wanted: readonly string[] | undefined;
  /** Crashes in a row of each dependency soon after its lease was granted. */
  readonly #crashes = new Map<string, number>();

  constructor(options: DependencyLeasesOptions) {
    this.#options = options;
  }

  /** Whether a lease may be missing. */
  get isIncomplete(): boolean {
    return this.#wanted === undefined || this.#wanted.some((name) => !this.#held.has(name));
  }

  /**
   * Acquires all missing leases concurrently. Each dependency starts its own dependencies first.
   *
   * @throws DependencyError with the name of the first dependency that failed; the reason of `signal`
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

  /** Acquires leases on running dependencies, now and later: for a target that another process started. */
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

  /** Releases all leases. */
  release(): void {
    this.#released.abort();
    this.#released = new AbortController();
    this.#wanted = undefined;
    this.#crashes.clear();
    const leases = [...this.#held.values()];
    this.#held.clear();
    for (const lease of leases) lease[Symbol.dispose]();
  }

  async #acquireOne(dependency: Dependency, signal: AbortSignal, released: AbortSignal): Promise<void> {
    if (this.#held.has(dependency.name)) return;
    const lease = await dependency.acquire(signal).catch((cause: Error) => {
      signal.throwIfAborted();
      throw new DependencyError(`${dependency.name} is needed: ${cause.message}`, { cause });
    });
    this.#hold(dependency, lease, released);
  }

  #hold(dependency: Dependency, lease: DependencyLease, released: AbortSignal): void {
    const { name } = dependency;
    if (released.aborted || this.#held.has(name)) return lease[Symbol.dispose]();
    this.#held.set(name, lease);
    this.#dependencies.set(name, dependency);
    const since = performance.now();
    const lost = (): void => {
      if (this.#held.get(name) !== lease) return;
      this.#held.delete(name);
      if (performance.now() - since >= STEADY_MS) this.#crashes.delete(name);
      void this.#reacquire(dependency, lease.signal?.reason, released);
    };
    // The dependency may have gone down since the grant.
    if (lease.signal?.aborted) return lost();
    lease.signal?.addEventListener("abort", lost, { once: true });
  }

  /** Never rejects. */
  async #reacquire(dependency: Dependency, reason: unknown, released: AbortSignal): Promise<void> {
    // A dependency that exited with 0 is complete.
    if (reason instanceof ExitedError && !isStop(reason.exit) && reason.exit.code !== 0) {
      await this.#backOff(dependency.name, released);
      if (released.aborted || this.#held.has(dependency.name)) return;
      // The dependency's own activator reports the failure.
      const lease = await dependency.acquire(released).catch(() => undefined);
      if (lease !== undefined) return this.#hold(dependency, lease, released);
    }
    await this.#waitForReturn(dependency, released);
  }

  /** Waits after a crash: not at all after the first one. Ends early with `released`, and never rejects. */
  async #backOff(name: string, released: AbortSignal): Promise<void> {
    const crashes = this.#crashes.get(name) ?? 0;
    this.#crashes.set(name, crashes + 1);
    if (crashes === 0) return;
    await delay(Math.min(FIRST_RETRY_MS * 2 ** (crashes - 1), MAX_RETRY_MS), released).catch(() => {});
  }

  /** Never rejects. */
  async #waitForReturn(dependency: Dependency, released: AbortSignal): Promise<void> {
    if (released.aborted) return;
    const lease = await dependency.join(released).catch(() => undefined);
    if (lease !== undefined) this.#hold(dependency, lease, released);
  }
}
