import type { RunningStatus, TargetStatus } from "./target.ts";

/** Inspects a target on request while the call that starts it is open, one inspection at a time. */
export class EarlyInspection {
  readonly #inspect: () => Promise<TargetStatus>;
  readonly #up = Promise.withResolvers<RunningStatus>();
  #current: Promise<RunningStatus | undefined> = Promise.resolve(undefined);
  #isUnderWay = false;
  #isRequested = false;

  constructor(inspect: () => Promise<TargetStatus>) {
    this.#inspect = inspect;
  }

  /** Resolves when an inspection shows that the target is up and can be dialled. */
  get up(): Promise<RunningStatus> {
    return this.#up.promise;
  }

  /** The result of the inspections under way, or of the last ones: undefined if the target was not up. Never rejects. */
  get result(): Promise<RunningStatus | undefined> {
    return this.#current;
  }

  /** Called when the status of the target may have changed. */
  request(): void {
    this.#isRequested = true;
    if (!this.#isUnderWay) this.#current = this.#run();
  }

  async #run(): Promise<RunningStatus | undefined> {
    this.#isUnderWay = true;
    while (this.#isRequested) {
      this.#isRequested = false;
      const status = await this.#inspect().catch(() => undefined);
      if (!status?.up || status.noRoute !== undefined) continue;
      this.#up.resolve(status);
      return status;
    }
    this.#isUnderWay = false;
    return undefined;
  }
}
