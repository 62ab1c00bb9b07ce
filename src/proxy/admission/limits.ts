import { isDeepStrictEqual } from "node:util";
import type { LimitsOptions } from "../../config/admission-policy.ts";
import type { DenialReason } from "./denial.ts";
import { PerSourceCounter } from "./per-source-counter.ts";
import { RateLimit } from "./rate-limit.ts";

/** How soon the load of the machine is worth another look: the kernel reckons it every five seconds. */
const LOAD_MS = 1_000;

export interface LimitsContext {
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  /** The load of the machine over the last minute. */
  readonly loadAverage: () => number;
}

/** A limit that is reached: for one source, or for everybody. */
export interface LimitHit {
  readonly reason: DenialReason;
  /** A sentence for the log. */
  readonly message: string;
  readonly scope: "source" | "service";
  /** When it is worth asking again, in milliseconds; absent: when a connection ends. */
  readonly waitMs?: number;
}

/** How many clients of a service may be there, and come, in all and of each source. */
export class Limits {
  readonly #clock: LimitsContext;
  #options: LimitsOptions;
  #rate: RateLimit;
  readonly #sources = new PerSourceCounter();
  #count = 0;

  constructor(options: LimitsOptions, clock: LimitsContext) {
    this.#options = options;
    this.#clock = clock;
    this.#rate = rateLimitOf(options, clock.now());
  }

  /** From now on other limits hold. Who is there counts; what came in a time does where its rates are as they were. */
  configure(options: LimitsOptions): void {
    const { rate, ratePerSource } = this.#options;
    const isAsBefore = isDeepStrictEqual([rate, ratePerSource], [options.rate, options.ratePerSource]);
    if (!isAsBefore) this.#rate = rateLimitOf(options, this.#clock.now());
    this.#options = options;
  }

  /** The first limit that is in the way of one more client of `source`. Takes nothing. */
  limitHit(source: string): LimitHit | undefined {
    return this.#rateHit(source) ?? this.#loadHit() ?? this.#countHit(source);
  }

  /** Counts a client in whose way nothing is; it is gone when the answer is disposed of. */
  take(source: string): Disposable {
    this.#rate.take(source, this.#clock.now());
    const ofSource = this.#sources.add(source);
    this.#count += 1;
    return {
      [Symbol.dispose]: () => {
        this.#count -= 1;
        ofSource[Symbol.dispose]();
      },
    };
  }

  #rateHit(source: string): LimitHit | undefined {
    const answer = this.#rate.wait(source, this.#clock.now());
    if (answer === undefined) return undefined;
    const message = answer.scope === "source" ? `too many connections of ${source} in a time` : RATE;
    return { ...answer, reason: "rate", message };
  }

  #loadHit(): LimitHit | undefined {
    const { maxLoad } = this.#options;
    const load = maxLoad === undefined ? 0 : this.#clock.loadAverage();
    if (maxLoad === undefined || load < maxLoad) return undefined;
    const message = `the load of the machine is ${load.toFixed(2)}, the limit ${maxLoad}`;
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

function rateLimitOf({ rate, ratePerSource: perSource }: LimitsOptions, now: number): RateLimit {
  return new RateLimit({ ...(rate && { rate }), ...(perSource && { perSource }) }, now);
}

const RATE = "too many connections in a time";
