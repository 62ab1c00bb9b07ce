import type { Needs } from "./needs.ts";
import { timerMs } from "./timers.ts";

/**
 * What is awake as long as a target is, without being waited for: workers of a web application. Their failures concern
 * only themselves, and are reported by their own activators.
 */
export class Companions {
  readonly #needs: Needs;
  #timer: NodeJS.Timeout | undefined;
  #isClosing = false;

  constructor(needs: Needs) {
    this.#needs = needs;
  }

  /** Claims, in the background, what is not held. Those that failed are tried again. */
  wake(): void {
    this.#cancel();
    if (this.#isClosing || !this.#needs.isLacking) return;
    this.#needs.claim(new AbortController().signal).catch(() => {});
  }

  /** Holds what is up, and what comes up later: for a target that was found running. */
  join(): void {
    this.#needs.join();
  }

  release(): void {
    this.#cancel();
    this.#needs.release();
  }

  /**
   * Releases them when the idle time of the target is over, if it is not in use again before. A companion that depends on
   * the target holds it, so that both would wait for the other one to sleep. A target that nothing holds then decides by
   * itself, and releases them when it sleeps.
   */
  releaseIn(idleMs: number, isHeld: () => boolean): void {
    if (this.#isClosing) return this.release();
    this.#cancel();
    this.#timer = setTimeout(() => {
      if (isHeld()) this.release();
    }, timerMs(idleMs));
  }

  /** No companion is woken any more. They are released once the target is not in use. */
  close(isUsed: boolean): void {
    this.#isClosing = true;
    if (!isUsed) this.release();
  }

  #cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
