import type { Target, TargetStatus } from "./target.ts";

/** For one look at a target. */
export const LOOK_MS = 5_000;

export interface InspectorOptions {
  readonly target: Target;
  /** Changes whenever a look that was begun before is not to be believed any more. */
  readonly epoch: () => number;
  readonly onSight: (status: TargetStatus) => void;
}

/** Turns hints about a target into looks, one at a time; the last look begins after the last hint. */
export class Inspector {
  readonly #options: InspectorOptions;
  #looking: PromiseWithResolvers<void> | undefined;
  #isHinted = false;

  constructor(options: InspectorOptions) {
    this.#options = options;
  }

  /** Resolves after the look under way and all that follow it; undefined if there is none. */
  get inspecting(): Promise<void> | undefined {
    return this.#looking?.promise;
  }

  /** Something about the target may have changed. */
  requestInspect(): void {
    this.#isHinted = true;
    if (this.#looking === undefined) void this.#inspect();
  }

  /** Rejects only when `onSight` throws. */
  async #inspect(): Promise<void> {
    const { target, epoch, onSight } = this.#options;
    const inspecting = Promise.withResolvers<void>();
    this.#looking = inspecting;
    while (this.#isHinted) {
      this.#isHinted = false;
      const before = epoch();
      const status = await target.inspect(AbortSignal.timeout(LOOK_MS)).catch(() => undefined);
      // Who cannot look is told by the engine's own watch, and looks again when the engine is back.
      if (status === undefined) continue;
      if (before === epoch()) onSight(status);
      else this.#isHinted = true;
    }
    this.#looking = undefined;
    inspecting.resolve();
  }
}
