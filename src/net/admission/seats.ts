import { type DenialReason, DeniedError } from "./denial.ts";

/** A client and its upstream. */
const PER_CONNECTION = 2;

/** A client was turned away because a limit is reached. */
export class LimitError extends DeniedError {
  override readonly name = "LimitError";
}

/**
 * Counts places. Past the process's limit of open files the system would accept clients and drop them without a word,
 * so wakeport stays below it and refuses by itself.
 */
export class Seats {
  readonly #limit: () => number;
  readonly #what: string;
  readonly #reason: DenialReason;
  #taken = 0;

  /**
   * @param limit how many places there are; a function is asked whenever one is taken
   * @param reason what clients are refused for when there is none
   */
  constructor(limit: number | (() => number), what: string, reason: DenialReason = "waiting_limit") {
    this.#limit = typeof limit === "number" ? () => limit : limit;
    this.#what = what;
    this.#reason = reason;
  }

  get taken(): number {
    return this.#taken;
  }

  get limit(): number {
    return this.#limit();
  }

  /** Takes a place, given back by disposing the answer. @throws LimitError */
  take(): Disposable {
    const { limit } = this;
    if (this.#taken >= limit) throw new LimitError(this.#reason, `${this.#what}: limit of ${limit} reached`);
    this.#taken += 1;
    return {
      [Symbol.dispose]: () => {
        this.#taken -= 1;
      },
    };
  }
}

/**
 * How many connections fit under a limit of open descriptors (RLIMIT_NOFILE), of which `reserved` are for everything
 * that is not a client. At least 1.
 */
export function connectionLimit(openFiles: number, reserved: number): number {
  return Math.max(1, Math.floor((openFiles - reserved) / PER_CONNECTION));
}
