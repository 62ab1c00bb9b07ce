/**
 * Virtual time that a test advances. Replaces the timers and clocks of the process until it is disposed.
 * Unlike the mock timers of node:test it lets promises settle between two timers, as a real event loop does, knows
 * which timers are left, and covers performance.now().
 */

interface Timer {
  readonly at: number;
  readonly fire: () => void;
  /** Whether it counts as pending; an AbortSignal.timeout does not. */
  readonly isCounted: boolean;
}

/** The used part of the result of setTimeout. */
class Handle {
  unref(): this {
    return this;
  }
}

const real = {
  setTimeout,
  clearTimeout,
  now: Date.now,
  sinceStart: performance.now,
  limit: AbortSignal.timeout,
};

export class VirtualClock implements Disposable {
  readonly #timers = new Map<Handle, Timer>();
  #nowMs = 0;

  constructor() {
    const setTimeout = (fire: () => void, delayMs = 0): Handle => this.#set(fire, delayMs, true);
    const clearTimeout = (handle: Handle): boolean => this.#timers.delete(handle);
    Object.assign(globalThis, { setTimeout, clearTimeout });
    Date.now = () => this.#nowMs;
    performance.now = () => this.#nowMs;
    AbortSignal.timeout = (delayMs) => this.#limit(delayMs);
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** The number of pending timers. */
  get pending(): number {
    return [...this.#timers.values()].filter(({ isCounted }) => isCounted).length;
  }

  /** Runs all pending promise callbacks. */
  async settle(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Advances the time by `ms` milliseconds: fires due timers in order, and settles after each. */
  async advance(ms: number): Promise<void> {
    const until = this.#nowMs + ms;
    await this.settle();
    for (let next = this.#next(until); next !== undefined; next = this.#next(until)) {
      const [handle, { at, fire }] = next;
      this.#timers.delete(handle);
      this.#nowMs = at;
      fire();
      await this.settle();
    }
    this.#nowMs = until;
  }

  [Symbol.dispose](): void {
    Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout });
    Date.now = real.now;
    performance.now = real.sinceStart;
    AbortSignal.timeout = real.limit;
  }

  #set(fire: () => void, delayMs: number, isCounted: boolean): Handle {
    const handle = new Handle();
    this.#timers.set(handle, { at: this.#nowMs + Math.max(delayMs, 1), fire, isCounted });
    return handle;
  }

  #limit(delayMs: number): AbortSignal {
    const limit = new AbortController();
    this.#set(() => limit.abort(new DOMException("The operation timed out", "TimeoutError")), delayMs, false);
    return limit.signal;
  }

  /** Returns the next timer until `until`. Timers of the same time fire in the order of their creation. */
  #next(until: number): [Handle, Timer] | undefined {
    let first: [Handle, Timer] | undefined;
    for (const entry of this.#timers) {
      if (entry[1].at <= until && (first === undefined || entry[1].at < first[1].at)) first = entry;
    }
    return first;
  }
}
