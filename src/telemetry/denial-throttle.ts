import type { DenialReason } from "../proxy/admission/denial.ts";
import type { UnroutedReason } from "../proxy/unrouted.ts";
import type { Observer, Unreported } from "./observer.ts";

/** Refusals of a place and reason that the log tells one by one, within `WINDOW_MS`. */
const MAX_REPORTED = 5;
const WINDOW_MS = 10_000;

export interface DenialThrottleOptions<Reason> {
  /** How many of a place and reason are told one by one, within `windowMs` milliseconds. */
  readonly most: number;
  readonly windowMs: number;
  /** Told once for each window in which there were more. */
  readonly onSummary: (where: string, reason: Reason, untold: Unreported) => void;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
}

interface Window {
  readonly began: number;
  told: number;
  untold: number;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Keeps refusals from filling the disk: the first few of a place (a service, a front) and reason are told, the rest in
 * one number.
 */
export class DenialThrottle<Reason extends string> {
  readonly #options: DenialThrottleOptions<Reason>;
  readonly #windows = new Map<string, Map<Reason, Window>>();

  constructor(options: DenialThrottleOptions<Reason>) {
    this.#options = options;
  }

  /** Notes a refusal. @returns whether it is to be told by itself */
  note(where: string, reason: Reason): boolean {
    const { most, windowMs, now } = this.#options;
    const reasons = this.#windows.get(where) ?? new Map<Reason, Window>();
    this.#windows.set(where, reasons);
    let window = reasons.get(reason);
    if (window === undefined || (window.timer === undefined && now() - window.began >= windowMs)) {
      window = { began: now(), told: 0, untold: 0, timer: undefined };
      reasons.set(reason, window);
    }
    if (window.told < most) {
      window.told += 1;
      return true;
    }
    window.untold += 1;
    window.timer ??= setTimeout(() => this.#end(where, reason), Math.max(0, window.began + windowMs - now()));
    window.timer.unref?.();
    return false;
  }

  /** Tells now what is not told yet. */
  close(): void {
    for (const [where, reasons] of this.#windows) for (const reason of reasons.keys()) this.#end(where, reason);
  }

  #end(where: string, reason: Reason): void {
    const reasons = this.#windows.get(where);
    const window = reasons?.get(reason);
    reasons?.delete(reason);
    if (reasons?.size === 0) this.#windows.delete(where);
    if (window === undefined || window.untold === 0) return;
    clearTimeout(window.timer);
    this.#options.onSummary(where, reason, { count: window.untold, overMs: this.#options.now() - window.began });
  }
}

/** An observer that passes on what it is told, but of many refusals only the first few and how many more there were. */
export class ThrottledDenials implements Disposable {
  readonly observer: Observer;
  readonly #denied: DenialThrottle<DenialReason>;
  readonly #unrouted: DenialThrottle<UnroutedReason>;

  constructor(to: Observer) {
    const bounds = { most: MAX_REPORTED, windowMs: WINDOW_MS, now: () => performance.now() };
    this.#denied = new DenialThrottle({
      ...bounds,
      onSummary: (service, reason, untold) => to.denials({ service, reason, ...untold }),
    });
    this.#unrouted = new DenialThrottle({
      ...bounds,
      onSummary: (listener, reason, untold) => to.moreUnrouted({ listener, reason, ...untold }),
    });
    this.observer = {
      ...to,
      connection: (report) => {
        const { service, reason } = report;
        if (reason === undefined || this.#denied.note(service, reason)) to.connection(report);
      },
      unrouted: (report) => {
        if (this.#unrouted.note(report.listener, report.error.reason)) to.unrouted(report);
      },
    };
  }

  /** Tells what is not told yet. */
  [Symbol.dispose](): void {
    this.#denied.close();
    this.#unrouted.close();
  }
}
