import type { Upstream } from "./target.ts";

/** A way to the ready target that does not pass through wakeport: rules of the kernel. */
export interface Bypass {
  /**
   * Called when the target can be used at another address, and with undefined when it cannot be used. Repeated calls with
   * the same address change nothing.
   */
  update(upstream: Upstream | undefined): void;

  /** Called when the target is down. Ends all connections, so that their clients learn it. */
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
