import type { Upstream } from "./target.ts";

/** A way to the ready target on which connections acquire no lease of their own: rules of the kernel, the data plane. */
export interface Bypass {
  /**
   * Called when the target can be used at another address, and with undefined when it cannot be used. Repeated calls with
   * the same address change nothing.
   *
   * @param isInspecting whether an inspection is under way, after which the address may be another one
   */
  update(upstream: Upstream | undefined, isInspecting: boolean): void;

  /** Called when the target is down. Ends all connections: none stays open without a target. */
  drop(): void;

  /** Called at the end of an idle timeout. Acquires a lease if the bypass was used since the last call. Never rejects. */
  refresh(): Promise<void>;

  /**
   * Called before the target is put to sleep: new connections reach wakeport from now on.
   *
   * @throws KeptError if the target is in use
   */
  beforeSleep(): Promise<void>;

  /**
   * Called when the activator shuts down, while leases can still be acquired.
   *
   * @param leaveRunning the target stays up, and connections continue without a lease
   */
  shutDown(leaveRunning: boolean): void;
}

/** Several bypasses. Before a sleep the first one is closed first, so that its later connections reach the next one. */
export class Bypasses implements Bypass {
  readonly #all: readonly Bypass[];

  constructor(...all: readonly Bypass[]) {
    this.#all = all;
  }

  update(upstream: Upstream | undefined, isInspecting: boolean): void {
    for (const bypass of this.#all) bypass.update(upstream, isInspecting);
  }

  drop(): void {
    for (const bypass of this.#all) bypass.drop();
  }

  async refresh(): Promise<void> {
    await Promise.all(this.#all.map((bypass) => bypass.refresh()));
  }

  async beforeSleep(): Promise<void> {
    for (const bypass of this.#all) await bypass.beforeSleep();
  }

  shutDown(leaveRunning: boolean): void {
    for (const bypass of this.#all) bypass.shutDown(leaveRunning);
  }
}
