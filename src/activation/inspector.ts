import type { Sight, Target } from "./target.ts";

/** For one look at a target. */
export const LOOK_MS = 5_000;

export interface LookoutOptions {
  readonly target: Target;
  /** Changes whenever a look that was begun before is not to be believed any more. */
  readonly epoch: () => number;
  readonly onSight: (sight: Sight) => void;
}

/** Turns hints about a target into looks, one at a time; the last look begins after the last hint. */
export class Lookout {
  readonly #options: LookoutOptions;
  #looking: PromiseWithResolvers<void> | undefined;
  #isHinted = false;

  constructor(options: LookoutOptions) {
    this.#options = options;
  }

  /** Resolves after the look under way and all that follow it; undefined if there is none. */
  get looking(): Promise<void> | undefined {
    return this.#looking?.promise;
  }

  /** Something about the target may have changed. */
  hint(): void {
    this.#isHinted = true;
    if (this.#looking === undefined) void this.#look();
  }

  /** Rejects only when `onSight` throws. */
  async #look(): Promise<void> {
    const { target, epoch, onSight } = this.#options;
    const looking = Promise.withResolvers<void>();
    this.#looking = looking;
    while (this.#isHinted) {
      this.#isHinted = false;
      const before = epoch();
      const sight = await target.look(AbortSignal.timeout(LOOK_MS)).catch(() => undefined);
      // Who cannot look is told by the engine's own watch, and looks again when the engine is back.
      if (sight === undefined) continue;
      if (before === epoch()) onSight(sight);
      else this.#isHinted = true;
    }
    this.#looking = undefined;
    looking.resolve();
  }
}
