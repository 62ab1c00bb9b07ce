/** How late the event loop is, sampled only while a service is in use: each sample wakes an idle process. */
import { type ELDHistogram, monitorEventLoopDelay } from "node:perf_hooks";

const SAMPLE_MS = 200;

/** Lag in seconds. */
export interface LagSummary {
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly stddev: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

export class EventLoopLag {
  /** Created when it is enabled: Node aborts if the garbage collection frees a histogram that was never enabled. */
  #histogram: ELDHistogram | undefined;

  /**
   * Returns the lag since the previous call, or undefined if there are no samples.
   *
   * @param isInUse whether samples are taken until the next call
   */
  next(isInUse: boolean): LagSummary | undefined {
    const histogram = this.#histogram;
    const summary = histogram === undefined || histogram.count === 0 ? undefined : summaryOf(histogram);
    histogram?.reset();
    if (isInUse) {
      this.#histogram ??= monitorEventLoopDelay({ resolution: SAMPLE_MS });
      this.#histogram.enable();
    } else histogram?.disable();
    return summary;
  }
}

function summaryOf(histogram: ELDHistogram): LagSummary {
  // The histogram has the time from sample to sample in nanoseconds, which includes the interval.
  const lag = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e9 - SAMPLE_MS / 1000);
  const percentile = (percent: number): number => lag(histogram.percentile(percent));
  return {
    min: lag(histogram.min),
    max: lag(histogram.max),
    mean: lag(histogram.mean),
    stddev: histogram.stddev / 1e9,
    p50: percentile(50),
    p90: percentile(90),
    p99: percentile(99),
  };
}
