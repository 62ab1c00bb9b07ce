import { isDeepStrictEqual } from "node:util";
import type { LimitsOptions } from "../../config/admission-policy.ts";
import type { DenialReason } from "./denial.ts";
import { PerSourceCounter } from "./per-source-counter.ts";
import { RateLimit } from "./rate-limit.ts";

/** Interval of the load checks. The kernel updates the load every 5 s. */
const LOAD_MS = 1_000;

export interface LimitsContext {
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  /** The machine's one-minute load average. */
  readonly loadAverage: () => number;
}

/** A reached limit. */
export interface LimitHit {
  readonly reason: DenialReason;
  /** For the log. */
  readonly message: string;
  /** Whether it denies the clients of one source, or all clients of the service. */
  readonly scope: "source" | "service";
  /** Milliseconds until the next attempt makes sense; absent: when a connection ends. */
  readonly waitMs?: number;
}

/** Limits the connections of a service, and their rate, in total and for each source. */
export class Limits {
  readonly #clock: LimitsContext;
  #options: LimitsOptions;
  /** Undefined without a limit of the rate. */
  #rate: RateLimit | undefined;
  readonly #sources = new PerSourceCounter();
  #count = 0;

  constructor(options: LimitsOptions, clock: LimitsContext) {
    this.#options = options;
    this.#clock = clock;
    this.#rate = rateLimitOf(options, clock.now());
  }

  /** Replaces the limits. Open connections still count. Rate buckets are kept only if the rates did not change. */
  configure(options: LimitsOptions): void {
    const { rate, ratePerSource } = this.#options;
    const isUnchanged = isDeepStrictEqual([rate, ratePerSource], [options.rate, options.ratePerSource]);
    if (!isUnchanged) this.#rate = rateLimitOf(options, this.#clock.now());
    this.#options = options;
  }

  /** Returns the first limit that denies one more client of `source`. Counts nothing. */
  limitHit(source: string): LimitHit | undefined {
    return this.#rateHit(source) ?? this.#loadHit() ?? this.#countHit(source);
  }

  /** Counts a client, until `release`. */
  take(source: string): void {
    this.#rate?.take(source, this.#clock.now());
    this.#sources.add(source);
    this.#count += 1;
  }

  /** Ends the count of a client. Its token of the rate stays taken. */
  release(source: string): void {
    this.#count -= 1;
    this.#sources.remove(source);
  }

  #rateHit(source: string): LimitHit | undefined {
    const wait = this.#rate?.wait(source, this.#clock.now());
    if (wait === undefined) return undefined;
    const of = wait.scope === "source" ? ` of ${source}` : "";
    return { ...wait, reason: "rate", message: `connection rate limit${of} exceeded` };
  }

  #loadHit(): LimitHit | undefined {
    const { maxLoad } = this.#options;
    const load = maxLoad === undefined ? 0 : this.#clock.loadAverage();
    if (maxLoad === undefined || load < maxLoad) return undefined;
    const message = `the load of the machine is ${load.toFixed(2)}, the limit is ${maxLoad}`;
    return { reason: "load", message, scope: "service", waitMs: LOAD_MS };
  }

  #countHit(source: string): LimitHit | undefined {
    const { connections, perSource } = this.#options;
    if (perSource !== undefined && this.#sources.of(source) >= perSource) {
      const message = `limit of ${perSource} connections of ${source} reached`;
      return { reason: "per_source_limit", message, scope: "source" };
    }
    if (connections === undefined || this.#count < connections) return undefined;
    return { reason: "service_limit", message: `limit of ${connections} connections reached`, scope: "service" };
  }
}

function rateLimitOf({ rate, ratePerSource: perSource }: LimitsOptions, now: number): RateLimit | undefined {
  if (rate === undefined && perSource === undefined) return undefined;
  return new RateLimit({ ...(rate && { rate }), ...(perSource && { perSource }) }, now);
}
