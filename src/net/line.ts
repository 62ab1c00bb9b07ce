/** Clients that wait for room. */
import { DeniedError } from "./denial.ts";
import type { Ip } from "./ip.ts";
import type { Obstacle } from "./limits.ts";
import { SourceCount } from "./source-count.ts";

export interface LineOptions {
  /** How many may wait. One source gets half of the places at most. */
  readonly places: number;
  /** How long each may wait, in milliseconds. */
  readonly patienceMs: number;
  /** Lets somebody in, or says what is in the way. @throws DeniedError for one that may not come at all any more */
  readonly attempt: (client: Waiting) => Disposable | Obstacle;
}

export interface Waiting {
  readonly ip: Ip | undefined;
  readonly source: string;
}

const OTHERS: Pick<Obstacle, "reason" | "message"> = { reason: "waiting_limit", message: "others were first" };

interface Place extends Waiting {
  readonly admit: (pass: Disposable) => void;
  readonly refuse: (error: unknown) => void;
  obstacle: Obstacle | undefined;
}

/**
 * First come, first served, but for those whose own source is what they wait for: they do not stand in the way of
 * others.
 */
export class Line {
  readonly #options: LineOptions;
  readonly #places = new Set<Place>();
  readonly #sources = new SourceCount();
  /** What is in the way of everybody, as of the last look. */
  #obstacle: Obstacle | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LineOptions) {
    this.#options = options;
  }

  get length(): number {
    return this.#places.size;
  }

  /**
   * Waits until there is room, without waiting when there is.
   *
   * @throws DeniedError when too many wait already, or when it took too long; the reason of `signal` when the client
   * leaves
   */
  async wait(client: Waiting, signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    const { promise, resolve: admit, reject: refuse } = Promise.withResolvers<Disposable>();
    const place: Place = { ...client, admit, refuse, obstacle: undefined };
    this.#places.add(place);
    this.advance();
    if (!this.#places.has(place)) return promise;
    const giveUp = (error: unknown): void => {
      this.#places.delete(place);
      refuse(error);
    };
    const leave = (): void => giveUp(signal.reason);
    const timer = setTimeout(() => giveUp(this.#tooLate(place)), this.#options.patienceMs);
    signal.addEventListener("abort", leave, { once: true });
    try {
      using _counted = this.#countIn(place);
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", leave);
      this.#places.delete(place);
      if (this.#places.size === 0) this.#rest();
    }
  }

  /** Lets in who can be let in now. To be called whenever there may be room. */
  advance(): void {
    this.#rest();
    this.#obstacle = undefined;
    const blocked = new Set<string>();
    let againMs = Number.POSITIVE_INFINITY;
    for (const place of this.#places) {
      if (blocked.has(place.source)) continue;
      const answer = this.#attempt(place);
      if (answer === undefined) continue;
      place.obstacle = answer;
      againMs = Math.min(againMs, answer.waitMs ?? againMs);
      if (answer.limits === "service") {
        this.#obstacle = answer;
        break;
      }
      blocked.add(place.source);
    }
    if (Number.isFinite(againMs)) this.#timer = setTimeout(() => this.advance(), againMs);
  }

  #attempt(place: Place): Obstacle | undefined {
    try {
      const answer = this.#options.attempt(place);
      if (!(Symbol.dispose in answer)) return answer;
      place.admit(answer);
    } catch (error) {
      place.refuse(error);
    }
    this.#places.delete(place);
    return undefined;
  }

  /** @throws DeniedError when there is no place to wait */
  #countIn({ source }: Place): Disposable {
    const { places } = this.#options;
    const share = Math.max(1, Math.floor(places / 2));
    if (this.#sources.of(source) >= share) {
      throw new DeniedError("waiting_limit", `limit of ${share} waiting clients of ${source} reached`);
    }
    if (this.#places.size > places)
      throw new DeniedError("waiting_limit", `limit of ${places} waiting clients reached`);
    return this.#sources.add(source);
  }

  #rest(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #tooLate({ obstacle }: Place): DeniedError {
    const { reason, message } = this.#obstacle ?? obstacle ?? OTHERS;
    return new DeniedError(reason, `waited too long: ${message}`);
  }
}
