/** Places that services and sources share fairly. */
import { type DenialReason, DeniedError } from "./denial.ts";
import { SourceCount } from "./source-count.ts";

/** A client and its upstream. */
const PER_CONNECTION = 2;

/**
 * A holder gets one more place while it has at most this many for each free one (Choudhury and Hahne, "Dynamic Queue Length
 * Thresholds", 1998). So one source gets three quarters of all places at most, and one service seven eighths. However many
 * of them take all they can, some places stay free for others.
 */
const SOURCE_PER_FREE = 3;
const SERVICE_PER_FREE = 7;

/** How many offered places are examined for one newcomer. */
const MOST_LOOKS = 256;

/** A client was turned away because a limit is reached. */
export class LimitError extends DeniedError {
  override readonly name = "LimitError";
}

/** Whose places count together. */
export interface Holder {
  readonly service: string;
  /** As `sourceOf` gives it. */
  readonly source: string;
}

/** In which order offered places are taken: the lowest first. */
export const yields = {
  /** The client got the answer to its only question. */
  spent: 0,
  /** The client has to send something, and is silent. */
  idle: 1,
  /** The client waits and has sent nothing, or its target has not answered anything. */
  silent: 2,
  /** The client waits. */
  waiting: 3,
} as const;
export type Yield = (typeof yields)[keyof typeof yields];

export interface SeatsOptions {
  /** How many there are; a function is asked whenever one is taken. */
  readonly limit: number | (() => number);
  /** For people. */
  readonly what: string;
  /** What clients are refused for when there is none. */
  readonly reason?: DenialReason;
  /**
   * How many services share the places. If present, some places are kept free for holders that have few. Absent: one
   * holder may have all places, because all of them can be taken away again.
   */
  readonly services?: () => number;
}

/** Why a holder gets no free place, and whose places may be taken instead. */
interface Shortage {
  readonly message: string;
  readonly among: (holder: Holder) => boolean;
}

/**
 * Counts places. Past the process's limit of open files the system would accept clients and drop them without a word,
 * so wakeport stays below it and refuses by itself.
 *
 * When all are taken, a new client gets an offered place: the lowest in `yields`, then of the service that has most places,
 * then of the source that has most, then the oldest. A waiting client is displaced only if its service, or source, keeps at
 * least as many places as the new client's then has (max-min fairness).
 */
export class Seats {
  readonly #options: SeatsOptions;
  readonly #services = new SourceCount();
  readonly #sources = new SourceCount();
  /** The oldest first. */
  readonly #offered = new Set<Seat>();
  /** Where the next examination begins, if there are many. */
  #hand: Iterator<Seat> = this.#offered.values();
  #taken = 0;

  constructor(options: SeatsOptions) {
    this.#options = options;
  }

  get taken(): number {
    return this.#taken;
  }

  get limit(): number {
    const { limit } = this.#options;
    return typeof limit === "number" ? limit : limit();
  }

  /** Takes a place, given back by disposing the answer; if there is none, from another client. @throws LimitError */
  take(holder: Holder): Seat {
    const take = this.prepare(holder);
    if (take !== undefined) return take();
    throw this.#error(this.#shortage(holder)?.message ?? "");
  }

  /**
   * Chooses a place without taking it.
   *
   * @returns takes it, in the same turn of the event loop; undefined when there is none
   */
  prepare(holder: Holder): (() => Seat) | undefined {
    const shortage = this.#shortage(holder);
    if (shortage === undefined) return () => this.#newSeat(holder);
    const victim = this.#victim(holder, shortage);
    return victim && (() => this.#takeFrom(victim, holder, shortage));
  }

  #takeFrom(first: Seat, holder: Holder, shortage: Shortage): Seat {
    first.evict(this.#error("another client took the place of this one"));
    // The limit may have been lowered.
    while (this.#taken >= this.limit) {
      const next = this.#victim(holder, shortage);
      if (next === undefined) throw this.#error(shortage.message);
      next.evict(this.#error("another client took the place of this one"));
    }
    return this.#newSeat(holder);
  }

  #error(message: string): LimitError {
    const { what, reason = "waiting_limit" } = this.#options;
    return new LimitError(reason, `${what}: ${message}`);
  }

  #shortage({ service, source }: Holder): Shortage | undefined {
    const { limit } = this;
    const free = limit - this.#taken;
    if (free <= 0) return { message: `limit of ${limit} reached`, among: () => true };
    const { services } = this.#options;
    if (services === undefined) return undefined;
    const ofSource = this.#sources.of(source);
    if (ofSource > SOURCE_PER_FREE * free) {
      const message = `${source} has ${ofSource} of ${limit}, the others are kept for other sources`;
      return { message, among: (other) => other.source === source };
    }
    const ofService = this.#services.of(service);
    if (ofService <= SERVICE_PER_FREE * free || services() < 2) return undefined;
    const message = `service "${service}" has ${ofService} of ${limit}, the others are kept for other services`;
    return { message, among: (other) => other.service === service };
  }

  #victim(newcomer: Holder, { among }: Shortage): Seat | undefined {
    let best: { readonly seat: Seat; readonly order: readonly number[] } | undefined;
    for (const seat of this.#nextOffered()) {
      const place = seat.yields;
      const { holder } = seat;
      if (place === undefined || !among(holder) || !this.#mayTake(newcomer, holder, place)) continue;
      if (place === yields.spent) return seat;
      const order = [place, -this.#services.of(holder.service), -this.#sources.of(holder.source)];
      if (best === undefined || isBefore(order, best.order)) best = { seat, order };
    }
    return best?.seat;
  }

  /** From the oldest on. If there are more than are examined at a time, from where the last examination ended. */
  *#nextOffered(): Generator<Seat> {
    if (this.#offered.size <= MOST_LOOKS) return yield* this.#offered;
    for (let looks = 0; looks < MOST_LOOKS; looks += 1) {
      let next = this.#hand.next();
      if (next.done) {
        this.#hand = this.#offered.values();
        next = this.#hand.next();
      }
      if (!next.done) yield next.value;
    }
  }

  /** The holder must keep at least as many places as the newcomer then has, or the two would displace each other again and again. */
  #mayTake(newcomer: Holder, holder: Holder, place: Yield): boolean {
    if (place <= yields.idle) return true;
    const isSame = newcomer.service === holder.service;
    const [theirs, ours] = isSame
      ? [this.#sources.of(holder.source), this.#sources.of(newcomer.source)]
      : [this.#services.of(holder.service), this.#services.of(newcomer.service)];
    return theirs - 1 >= ours + 1;
  }

  #newSeat(holder: Holder): Seat {
    const counted = [this.#services.add(holder.service), this.#sources.add(holder.source)];
    this.#taken += 1;
    return new Seat(holder, this.#offered, () => {
      this.#taken -= 1;
      for (const one of counted) one[Symbol.dispose]();
    });
  }
}

/** A place that is taken. Disposing it is idempotent. */
export class Seat implements Disposable {
  readonly holder: Holder;
  readonly #offered: Set<Seat>;
  readonly #release: () => void;
  #offer: { readonly yields: () => Yield | undefined; readonly onTaken: (reason: LimitError) => void } | undefined;
  #isOver = false;

  constructor(holder: Holder, offered: Set<Seat>, release: () => void) {
    this.holder = holder;
    this.#offered = offered;
    this.#release = release;
  }

  /** Its place in the order of `yields` at this moment; undefined: it may not be taken. */
  get yields(): Yield | undefined {
    return this.#offer?.yields();
  }

  /**
   * From now on it may be taken away for another client.
   *
   * @param rank asked whenever a place is wanted
   * @param onTaken called when it is taken: the client must be ended
   */
  offer(rank: () => Yield | undefined, onTaken: (reason: LimitError) => void): void {
    if (this.#isOver) return;
    this.#offer = { yields: rank, onTaken };
    this.#offered.add(this);
  }

  /** From now on it may not be taken away. */
  keep(): void {
    this.#offer = undefined;
    this.#offered.delete(this);
  }

  /** Takes it away. */
  evict(reason: LimitError): void {
    const offer = this.#offer;
    this[Symbol.dispose]();
    offer?.onTaken(reason);
  }

  [Symbol.dispose](): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.keep();
    this.#release();
  }
}

/** A client that is in, until this is disposed of. */
export interface Pass extends Disposable {
  /** Its place of the process. */
  readonly seat: Seat;
}

/** Whether one list of numbers is before another of the same length. */
function isBefore(one: readonly number[], other: readonly number[]): boolean {
  const index = one.findIndex((number, at) => number !== other[at]);
  return index >= 0 && one[index]! < other[index]!;
}

/**
 * How many connections fit under a limit of open descriptors (RLIMIT_NOFILE), of which `reserved` are for everything
 * that is not a client. At least 1.
 */
export function connectionLimit(openFiles: number, reserved: number): number {
  return Math.max(1, Math.floor((openFiles - reserved) / PER_CONNECTION));
}
