import type { Target, TargetStatus } from "./target.ts";

/**
 * Inspections of one target. Several may be under way at a time, and a slow one must not replace the status of a later
 * one.
 */
export class OrderedInspection implements Pick<Target, "inspect"> {
  readonly #target: Target;
  #begun = 0;
  /** The number of the latest inspection that has ended. */
  #ended = 0;

  constructor(target: Target) {
    this.#target = target;
  }

  /** Inspects, again if a later inspection has ended meanwhile. @throws as `Target.inspect` */
  async inspect(signal: AbortSignal): Promise<TargetStatus> {
    for (;;) {
      this.#begun += 1;
      const number = this.#begun;
      const status = await this.#target.inspect(signal);
      if (number < this.#ended) continue;
      this.#ended = number;
      return status;
    }
  }
}
