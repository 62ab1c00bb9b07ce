import type { DenialReason } from "../proxy/admission/denial.ts";
import type { UnroutedReason } from "../proxy/unrouted.ts";
import type { Observer, Unreported } from "./observer.ts";

/** Denials per subject and reason that are reported one by one within WINDOW_MS. */
const MAX_REPORTED = 5;
const WINDOW_MS = 10_000;

export interface DenialThrottleOptions<Reason> {
  /** Denials per subject and reason that are reported one by one within `windowMs` milliseconds. */
  readonly limit: number;
  readonly windowMs: number;
  /** Called at the end of each window with further denials. */
  readonly onSummary: (subject: string, reason: Reason, unreported: Unreported) => void;
  /** Monotonic time in milliseconds. */
  readonly now: () => number;
}

interface Window {
  readonly startedAt: number;
  reported: number;
  unreported: number;
  timer: NodeJS.Timeout | undefined;
}

/** Limits the log of denials: the first ones of a subject (service or listener) and reason are reported, the rest counted. */
export class DenialThrottle<Reason extends string> {
  readonly #options: DenialThrottleOptions<Reason>;
  readonly #windows = new Map<string, Map<Reason, Window>>();

  constructor(options: DenialThrottleOptions<Reason>) {
    this.#options = options;
  }

  /** Counts a denial. @returns whether it is reported individually */
  count(subject: string, reason: Reason): boolean {
    const { limit, windowMs, now } = this.#options;
    const reasons = this.#windows.get(subject) ?? new Map<Reason, Window>();
    this.#windows.set(subject, reasons);
    let window = reasons.get(reason);
    if (window === undefined || (window.timer === undefined && now() - window.startedAt >= windowMs)) {
      window = { startedAt: now(), reported: 0, unreported: 0, timer: undefined };
      reasons.set(reason, window);
    }
    if (window.reported < limit) {
      window.reported += 1;
      return true;
    }
    window.unreported += 1;
    const restMs = Math.max(0, window.startedAt + windowMs - now());
    window.timer ??= setTimeout(() => this.#end(subject, reason), restMs);
    window.timer.unref?.();
    return false;
  }

  /** Ends all windows and reports their summaries. */
  close(): void {
    for (const [subject, reasons] of this.#windows) for (const reason of reasons.keys()) this.#end(subject, reason);
  }

  #end(subject: string, reason: Reason): void {
    const reasons = this.#windows.get(subject);
    const window = reasons?.get(reason);
    reasons?.delete(reason);
    if (reasons?.size === 0) this.#windows.delete(subject);
    if (window === undefined || window.unreported === 0) return;
    clearTimeout(window.timer);
    const overMs = this.#options.now() - window.startedAt;
    this.#options.onSummary(subject, reason, { count: window.unreported, overMs });
  }
}

/** Passes reports to another observer, but of many denials only the first ones and a count of the rest. */
export class ThrottledDenials implements Disposable {
  readonly observer: Observer;
  readonly #denied: DenialThrottle<DenialReason>;
  readonly #unrouted: DenialThrottle<UnroutedReason>;

  constructor(to: Observer) {
    const options = { limit: MAX_REPORTED, windowMs: WINDOW_MS, now: () => performance.now() };
    this.#denied = new DenialThrottle({
      ...options,
      onSummary: (service, reason, unreported) => to.denials({ service, reason, ...unreported }),
    });
    this.#unrouted = new DenialThrottle({
      ...options,
      onSummary: (listener, reason, unreported) => to.moreUnrouted({ listener, reason, ...unreported }),
    });
    this.observer = {
      ...to,
      connection: (report) => {
        const { service, reason } = report;
        if (reason === undefined || this.#denied.count(service, reason)) to.connection(report);
      },
      unrouted: (report) => {
        if (this.#unrouted.count(report.listener, report.error.reason)) to.unrouted(report);
      },
    };
  }

  /** Reports the remaining summaries. */
  [Symbol.dispose](): void {
    this.#denied.close();
    this.#unrouted.close();
  }
}
