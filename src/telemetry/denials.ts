import type { DenialReason } from "../net/admission/denial.ts";
import type { Observer } from "./observer.ts";

/** Refusals of a service and reason that the log tells one by one, within `WINDOW_MS`. */
const MOST_TOLD = 5;
const WINDOW_MS = 10_000;

/** Refusals that were not told one by one. */
export interface DenialSummary {
  readonly service: string;
  readonly reason: DenialReason;
  readonly count: number;
  /** In how long a time, in milliseconds. */
  readonly overMs: number;
}

export interface DenialDigestOptions {
  /** How many of a service and reason are told one by one, within `windowMs` milliseconds. */
  readonly most: number;
  readonly windowMs: number;
  /** Told once for each window in which there were more. */
  readonly onSummary: (summary: DenialSummary) => void;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
}

interface Window {
  readonly began: number;
  told: number;
  untold: number;
  timer: NodeJS.Timeout | undefined;
}

/** Keeps refusals from filling the disk: the first few of a service and reason are told, the rest in one number. */
export class DenialDigest {
  readonly #options: DenialDigestOptions;
  readonly #windows = new Map<string, Map<DenialReason, Window>>();

  constructor(options: DenialDigestOptions) {
    this.#options = options;
  }

  /** Notes a refusal. @returns whether it is to be told by itself */
  note(service: string, reason: DenialReason): boolean {
    const { most, windowMs, now } = this.#options;
    const reasons = this.#windows.get(service) ?? new Map<DenialReason, Window>();
    this.#windows.set(service, reasons);
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
    window.timer ??= setTimeout(() => this.#end(service, reason), Math.max(0, window.began + windowMs - now()));
    window.timer.unref?.();
    return false;
  }

  /** Tells now what is not told yet. */
  close(): void {
    for (const [service, reasons] of this.#windows) for (const reason of reasons.keys()) this.#end(service, reason);
  }

  #end(service: string, reason: DenialReason): void {
    const reasons = this.#windows.get(service);
    const window = reasons?.get(reason);
    reasons?.delete(reason);
    if (reasons?.size === 0) this.#windows.delete(service);
    if (window === undefined || window.untold === 0) return;
    clearTimeout(window.timer);
    this.#options.onSummary({ service, reason, count: window.untold, overMs: this.#options.now() - window.began });
  }
}

/** An observer that passes on what it is told, but of many refusals only the first few and how many more there were. */
export class QuietDenials implements Disposable {
  readonly observer: Observer;
  readonly #digest: DenialDigest;

  constructor(to: Observer) {
    this.#digest = new DenialDigest({
      most: MOST_TOLD,
      windowMs: WINDOW_MS,
      now: () => performance.now(),
      onSummary: (summary) => to.denials(summary),
    });
    this.observer = {
      ...to,
      connection: (report) => {
        const { service, reason } = report;
        if (reason === undefined || this.#digest.note(service, reason)) to.connection(report);
      },
    };
  }

  /** Tells what is not told yet. */
  [Symbol.dispose](): void {
    this.#digest.close();
  }
}
