/** Clients that wait for room. */

import type { Ip } from "../ip.ts";
import { DeniedError } from "./denial.ts";
import type { Obstacle } from "./limits.ts";
import { SourceCount } from "./source-count.ts";

export interface LineRules {
  /** How many may wait. One source gets half of the places at most. */
  readonly places: number;
  /** How long each may wait, in milliseconds. */
  readonly patienceMs: number;
}

export interface LineOptions {
  /** Asked for each newcomer. */
  readonly rules: () => LineRules;
  /**
   * Lets somebody in, or says what is in the way. The seat is of one that has waited, and goes with it.
   *
   * @throws DeniedError for one that may not come at all any more
   */
  readonly attempt: (client: Waiting, seat?: Disposable) => Disposable | Obstacle;
  /** Takes a place of the process, which one that waits needs as well. @throws DeniedError */
  readonly sit: () => Disposable;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
}

export interface Waiting {
  readonly ip: Ip | undefined;
  readonly source: string;
}

interface Place extends Waiting {
  readonly seat: Disposable;
  readonly admit: (pass: Disposable) => void;
  readonly refuse: (error: unknown) => void;
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
  /** When the timer goes off. */
  #dueAt = Number.POSITIVE_INFINITY;

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
    const first = this.#pass(client);
    if (first !== undefined && Symbol.dispose in first) return first;
    using _counted = this.#countIn(client);
    const { promise, resolve: admit, reject: refuse } = Promise.withResolvers<Disposable>();
    const place: Place = { ...client, admit, refuse, seat: this.#options.sit() };
    this.#places.add(place);
    this.#note(first);
    const leave = (): void => this.#refuse(place, signal.reason);
    const timer = setTimeout(() => {
      const obstacle = this.#attempt(place);
      if (obstacle === undefined) return;
      this.#refuse(place, new DeniedError(obstacle.reason, `waited too long: ${obstacle.message}`));
    }, this.#options.rules().patienceMs);
    signal.addEventListener("abort", leave, { once: true });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", leave);
    }
  }

  /** Lets in who can be let in now. To be called whenever there may be room. */
  advance(): void {
    this.#rest();
    const blocked = new Set<string>();
    for (const place of this.#places) {
      if (blocked.has(place.source)) continue;
      const obstacle = this.#attempt(place);
      if (obstacle === undefined) continue;
      if (obstacle.limits === "service") break;
      blocked.add(place.source);
    }
  }

  /** For a newcomer that is behind nobody. Undefined: it is behind somebody. @throws DeniedError */
  #pass(client: Waiting): Disposable | Obstacle | undefined {
    if (this.#obstacle !== undefined || this.#sources.of(client.source) > 0) return undefined;
    return this.#options.attempt(client);
  }

  #attempt(place: Place): Obstacle | undefined {
    try {
      const answer = this.#options.attempt(place, place.seat);
      if (!(Symbol.dispose in answer)) {
        this.#note(answer);
        return answer;
      }
      this.#leave(place);
      place.admit(answer);
    } catch (error) {
      this.#refuse(place, error);
    }
    return undefined;
  }

  #refuse(place: Place, error: unknown): void {
    this.#leave(place);
    place.seat[Symbol.dispose]();
    place.refuse(error);
  }

  #leave(place: Place): void {
    this.#places.delete(place);
    if (this.#places.size === 0) this.#rest();
  }

  /** @throws DeniedError when there is no place to wait */
  #countIn({ source }: Waiting): Disposable {
    const { places } = this.#options.rules();
    const share = Math.max(1, Math.floor(places / 2));
    if (this.#sources.of(source) >= share) {
      throw new DeniedError("waiting_limit", `limit of ${share} waiting clients of ${source} reached`);
    }
    if (this.#places.size >= places) {
      throw new DeniedError("waiting_limit", `limit of ${places} waiting clients reached`);
    }
    return this.#sources.add(source);
  }

  #note(obstacle: Obstacle | undefined): void {
    if (obstacle?.limits === "service") this.#obstacle = obstacle;
    if (obstacle?.waitMs !== undefined) this.#lookAgainIn(obstacle.waitMs);
  }

  #lookAgainIn(ms: number): void {
    const dueAt = this.#options.now() + ms;
    if (dueAt >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = dueAt;
    this.#timer = setTimeout(() => this.advance(), ms);
  }

  #rest(): void {
    clearTimeout(this.#timer);
    this.#dueAt = Number.POSITIVE_INFINITY;
    this.#obstacle = undefined;
  }
}
