import { sleepReasonOf } from "./classify.ts";
import type { Exit } from "./errors.ts";
import type { SleepReason, SleepReport } from "./reports.ts";
import type { SleepAction } from "./target.ts";

type Details = Omit<SleepReport, "target" | "services">;

export interface SleepReporterOptions {
  readonly report: (details: Details) => void;
  /** Reads the target's last output lines. Never rejects. */
  readonly lastLines: () => Promise<readonly string[]>;
}

/** Reports each sleep and each end of an awake target once. */
export class SleepReporter {
  readonly #options: SleepReporterOptions;
  #current: { readonly reason: SleepReason; readonly action: SleepAction; readonly since: number } | undefined;

  constructor(options: SleepReporterOptions) {
    this.#options = options;
  }

  /** Begins a sleep of an awake target by the activator. */
  begin(reason: SleepReason, action: SleepAction): void {
    this.#current = { reason, action, since: performance.now() };
  }

  /** Drops the sleep under way: the target stays up. */
  cancel(): void {
    this.#current = undefined;
  }

  /** Reports the end of the sleep under way, if there is one. */
  end(isPaused: boolean): void {
    if (this.#current === undefined) return;
    const { reason, action, since } = this.#current;
    this.#current = undefined;
    const durationMs = performance.now() - since;
    this.#options.report({ reason, action: isPaused ? "pause" : action, durationMs });
  }

  /** Reports that an awake target went down without the activator. */
  wentDown(exit: Exit): void {
    const { report, lastLines } = this.#options;
    const reason = sleepReasonOf(exit);
    const details = { reason, action: "none", durationMs: 0, exit } as const;
    if (reason !== "crash") return report(details);
    void lastLines().then((lines) => report({ ...details, lastLines: lines }));
  }
}
