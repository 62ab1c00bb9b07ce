/** Limits the number of holders. Waiting callers acquire in the order of their calls. */
export class Semaphore {
  readonly #limit: number;
  /** Created for the first caller that waits. */
  #waiting: Set<() => void> | undefined;
  #held = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Acquires a permit if one is free, until the result is disposed; otherwise returns undefined. */
  tryAcquire(): Disposable | undefined {
    if (this.#held >= this.#limit) return undefined;
    this.#held += 1;
    return this.#permit();
  }

  /** Waits for a permit, which is released when the result is disposed. @throws the reason of `signal` if it is aborted */
  async acquire(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    const permit = this.tryAcquire();
    if (permit !== undefined) return permit;
    await this.#wait(signal);
    return this.#permit();
  }

  #permit(): Disposable {
    return { [Symbol.dispose]: () => this.#release() };
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const grant = (): void => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = (): void => {
        this.#waiting?.delete(grant);
        reject(signal.reason);
      };
      this.#waiting ??= new Set();
      this.#waiting.add(grant);
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  /** Passes the permit to the first waiting caller. */
  #release(): void {
    const [next] = this.#waiting ?? [];
    if (next === undefined) {
      this.#held -= 1;
      return;
    }
    this.#waiting?.delete(next);
    next();
  }
}
