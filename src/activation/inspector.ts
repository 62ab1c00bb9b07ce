import type { Target, TargetStatus } from "./target.ts";

export const INSPECT_TIMEOUT_MS = 5_000;

export interface InspectorOptions {
  readonly target: Pick<Target, "inspect">;
  /** Changes whenever the result of an earlier inspection is outdated. */
  readonly epoch: () => number;
  readonly onStatus: (status: TargetStatus) => void;
  /** Called when `inspection` has changed. */
  readonly onChange: () => void;
}

/** Inspects a target on request, one inspection at a time. The last one begins after the last request. */
export class Inspector {
  readonly #options: InspectorOptions;
  #inspection: PromiseWithResolvers<void> | undefined;
  #isRequested = false;

  constructor(options: InspectorOptions) {
    this.#options = options;
  }

  /** Resolves after the inspection under way and all that follow it; undefined otherwise. */
  get inspection(): Promise<void> | undefined {
    return this.#inspection?.promise;
  }

  /** Called when the status of the target may have changed. */
  requestInspect(): void {
    this.#isRequested = true;
    if (this.#inspection === undefined) void this.#inspect();
  }

  /** Rejects only if `onStatus` throws. */
  async #inspect(): Promise<void> {
    const { target, epoch, onStatus, onChange } = this.#options;
    const inspection = Promise.withResolvers<void>();
    this.#inspection = inspection;
    onChange();
    while (this.#isRequested) {
      this.#isRequested = false;
      const before = epoch();
      const status = await target.inspect(AbortSignal.timeout(INSPECT_TIMEOUT_MS)).catch(() => undefined);
      // After a failure the engine's event stream requests an inspection as soon as the engine answers again.
      if (status === undefined) continue;
      if (before === epoch()) onStatus(status);
      else this.#isRequested = true;
    }
    this.#inspection = undefined;
    inspection.resolve();
    onChange();
  }
}
