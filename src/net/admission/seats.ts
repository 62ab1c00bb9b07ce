/** Places that services and sources share fairly. */
import { type DenialReason, DeniedError } from "./denial.ts";
import { SourceCount } from "./source-count.ts";

/** A client and its upstream. */
const PER_CONNECTION = 2;

/**
 * How many free places there must be for each one that a holder has before it gets one more (Choudhury and Hahne, "Dynamic
 * Queue Length Thresholds", 1998). So one source alone gets three quarters of all places, one service seven eighths, and
 * however many of them take all they can, the next one finds a free place.
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

/** In which order places are taken from clients that are not being served, the first ones first. */
export const yields = {
  /** It has got what it came for. */
  spent: 0,
  /** It is the client's turn, and it says nothing. */
  idle: 1,
  /** It waits for wakeport and has sent nothing so far, or has got nothing. */
  silent: 2,
  /** It waits for wakeport. */
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
   * How many services share the places. Then some are always kept free for those that have few. Absent: one holder may
   * have all, because each of its places can be taken away again.
   */
  readonly services?: () => number;
}

/** Why there is no free place, and whose places may be taken instead. */
interface Shortage {
  readonly message: string;
  readonly among: (holder: Holder) => boolean;
}

/**
 * Counts places. Past the process's limit of open files the system would accept clients and drop them without a word,
 * so wakeport stays below it and refuses by itself.
 *
 * When all are taken, a newcomer gets one of those that were offered: in the order of `yields`, then of the service that
 * has most, then of the source that has most, then the oldest. A client that waits for wakeport is displaced only by one
 * whose service or source has fewer places afterwards than its own (max-min fairness).
 */
export class Seats {
  readonly #options: SeatsOptions;
  readonly #services = new SourceCount();
  readonly #sources = new SourceCount();
  /** The oldest first. */
  readonly #offered = new Set<Seat>();
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

  /** Whether `take` would succeed. Takes nothing. */
  hasRoomFor(holder: Holder): boolean {
    const shortage = this.#shortage(holder);
    return shortage === undefined || this.#victim(holder, shortage) !== undefined;
  }

  /** Takes a place, given back by disposing the answer; if there is none, from another client. @throws LimitError */
  take(holder: Holder): Seat {
    const { what, reason = "waiting_limit" } = this.#options;
    const shortage = this.#shortage(holder);
    if (shortage !== undefined) {
      // Several where the limit was lowered.
      do {
        const victim = this.#victim(holder, shortage);
        if (victim === undefined) throw new LimitError(reason, `${what}: ${shortage.message}`);
        victim.evict(new LimitError(reason, `${what}: another client took the place of this one`));
      } while (this.#taken >= this.limit);
    }
    return this.#newSeat(holder);
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

  /** The oldest. Where there are more than are looked at, those go to the end, so that all have their turn. */
  *#nextOffered(): Generator<Seat> {
    const isLong = this.#offered.size > MOST_LOOKS;
    let looks = 0;
    for (const seat of this.#offered) {
      if (looks === MOST_LOOKS) return;
      looks += 1;
      if (isLong) this.#offered.delete(seat);
      if (isLong) this.#offered.add(seat);
      yield seat;
    }
  }

  /** Afterwards the holder must have at least as many as the newcomer, or the two would displace each other for ever. */
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

  /** How readily it is given away at this moment; undefined: not at all. */
  get yields(): Yield | undefined {
    return this.#offer?.yields();
  }

  /**
   * From now on it may be taken away for another client.
   *
   * @param rank asked whenever a place is wanted
   * @param onTaken called when it is taken: the client has to go
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
