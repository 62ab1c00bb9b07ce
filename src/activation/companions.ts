import { timerMs } from "../async/wait.ts";
import type { DependencyLeases } from "./dependency-leases.ts";

/**
 * Targets that wake and sleep with another target, for example workers of a web application. The target does not wait
 * for them, and their own activators report their failures.
 */
export class Companions {
  readonly #leases: DependencyLeases;
  #timer: NodeJS.Timeout | undefined;
  #isClosing = false;

  constructor(leases: DependencyLeases) {
    this.#leases = leases;
  }

  /** Acquires missing leases on companions in the background. */
  wake(): void {
    clearTimeout(this.#timer);
    if (this.#isClosing || !this.#leases.isIncomplete) return;
    this.#leases.acquire(new AbortController().signal).catch(() => {});
  }

  /** Holds companions that are up or come up later, for a target that was found running. Starts none. */
  join(): void {
    this.#leases.join();
  }

  release(): void {
    clearTimeout(this.#timer);
    this.#leases.release();
  }

  /**
   * Releases the companions after the idle timeout of the target if it is still held. A companion that depends on the
   * target holds it, so each would wait for the other to sleep.
   */
  releaseIn(idleMs: number, isHeld: () => boolean): void {
    if (this.#isClosing) return this.release();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (isHeld()) this.release();
    }, timerMs(idleMs));
  }

  /** Wakes no companion from now on, and releases all of them as soon as the target is not in use. */
  close(isUsed: boolean): void {
    this.#isClosing = true;
    if (!isUsed) this.release();
  }
}
