/** Slots that services and sources share fairly. */
import { type DenialReason, DeniedError } from "./denial.ts";
import { PerSourceCounter } from "./per-source-counter.ts";

/** A client and its upstream. */
const PER_CONNECTION = 2;

/**
 * A holder gets another slot while it has at most this many for each free one (Choudhury and Hahne, "Dynamic Queue Length
 * Thresholds", 1998). So a source gets at most three quarters of all slots, and a service seven eighths.
 */
const SOURCE_PER_FREE = 3;
const SERVICE_PER_FREE = 7;

/** Limit of offered slots that are examined for one new client. */
const MAX_EXAMINED = 256;

/** No slot is free. */
export class SlotError extends DeniedError {
  override readonly name = "SlotError";
}

/** The service and the source that a slot counts for. */
export interface Holder {
  readonly service: string;
  /** A result of `sourceOf`. */
  readonly source: string;
}

/** Eviction order of offered slots, lowest first. */
export const ranks = {
  /** The only datagram of the client was answered. */
  spent: 0,
  /** The client must send something first, and is silent. */
  idle: 1,
  /** The client waits and has sent nothing, or its target has not answered. */
  silent: 2,
  /** The client waits. */
  waiting: 3,
} as const;
export type Rank = (typeof ranks)[keyof typeof ranks];

export interface SlotsOptions {
  /** Number of slots; a function is called for each new client. */
  readonly limit: number | (() => number);
  /** What is limited, for messages. */
  readonly what: string;
  /** Reason of the denial if there is no slot. */
  readonly reason?: DenialReason;
  /**
   * Number of services that share the slots. If present, some slots are kept free for holders that have few. Absent: one
   * holder may have all slots, because all of them can be evicted.
   */
  readonly services?: () => number;
  /** Called after the number of taken slots has changed. */
  readonly onChange?: (taken: number) => void;
}

/** Why a holder gets no free slot, and whose slots may be evicted instead. */
interface Shortage {
  readonly message: string;
  readonly among: (holder: Holder) => boolean;
}

/**
 * Counts slots, so that wakeport stays below the limit of open files. If all are taken, a new client evicts an offered
 * one: see docs/design/admission.md and, for waiting clients, `#mayTake`.
 */
export class Slots {
  readonly #options: SlotsOptions;
  readonly #services = new PerSourceCounter();
  readonly #sources = new PerSourceCounter();
  /** Oldest first. Created with the first slot. */
  #offered: Set<Slot> | undefined;
  /** Start of the next examination, if there are more than MAX_EXAMINED. */
  #hand: Iterator<Slot> | undefined;
  #taken = 0;

  constructor(options: SlotsOptions) {
    this.#options = options;
  }

  get taken(): number {
    return this.#taken;
  }

  get limit(): number {
    const { limit } = this.#options;
    return typeof limit === "number" ? limit : limit();
  }

  /** Takes a free slot, or evicts another client. @throws SlotError */
  take(holder: Holder): Slot {
    const shortage = this.#shortage(holder);
    if (shortage === undefined) return this.#newSlot(holder);
    const victim = this.#victim(holder, shortage);
    if (victim === undefined) throw this.#error(shortage.message);
    return this.#takeFrom(victim, holder, shortage);
  }

  /** Takes a slot, even if none is free. */
  add(holder: Holder): Slot {
    return this.#newSlot(holder);
  }

  /**
   * Chooses a slot without taking it.
   *
   * @returns a function that takes it, to be called in the same turn of the event loop; undefined if there is no slot
   */
  prepare(holder: Holder): (() => Slot) | undefined {
    const shortage = this.#shortage(holder);
    if (shortage === undefined) return () => this.#newSlot(holder);
    const victim = this.#victim(holder, shortage);
    return victim && (() => this.#takeFrom(victim, holder, shortage));
  }

  #takeFrom(first: Slot, holder: Holder, shortage: Shortage): Slot {
    first.evict(this.#error("evicted for another client"));
    // The limit may have been lowered.
    while (this.#taken >= this.limit) {
      const next = this.#victim(holder, shortage);
      if (next === undefined) throw this.#error(shortage.message);
      next.evict(this.#error("evicted for another client"));
    }
    return this.#newSlot(holder);
  }

  #error(message: string): SlotError {
    const { what, reason = "waiting_limit" } = this.#options;
    return new SlotError(reason, `${what}: ${message}`);
  }

  #shortage({ service, source }: Holder): Shortage | undefined {
    const { limit } = this;
    const free = limit - this.#taken;
    if (free <= 0) return { message: `limit of ${limit} reached`, among: () => true };
    const { services } = this.#options;
    if (services === undefined) return undefined;
    const ofSource = this.#sources.of(source);
    if (ofSource > SOURCE_PER_FREE * free) {
      const message = `${source} has ${ofSource} of ${limit} slots, the rest is kept for other sources`;
      return { message, among: (other) => other.source === source };
    }
    const ofService = this.#services.of(service);
    if (ofService <= SERVICE_PER_FREE * free || services() < 2) return undefined;
    const message = `service "${service}" has ${ofService} of ${limit} slots, the rest is kept for other services`;
    return { message, among: (other) => other.service === service };
  }

  #victim(newcomer: Holder, { among }: Shortage): Slot | undefined {
    let best: { readonly slot: Slot; readonly order: readonly number[] } | undefined;
    for (const slot of this.#nextOffered()) {
      const { holder, rank } = slot;
      if (rank === undefined || !among(holder) || !this.#mayTake(newcomer, holder, rank)) continue;
      if (rank === ranks.spent) return slot;
      const order = [rank, -this.#services.of(holder.service), -this.#sources.of(holder.source)];
      if (best === undefined || isBefore(order, best.order)) best = { slot, order };
    }
    return best?.slot;
  }

  /** Yields at most MAX_EXAMINED offered slots: the oldest, or the slots after the last examined one. */
  *#nextOffered(): Generator<Slot> {
    const offered = this.#offered;
    if (offered === undefined) return;
    if (offered.size <= MAX_EXAMINED) return yield* offered;
    for (let examined = 0; examined < MAX_EXAMINED; examined += 1) {
      this.#hand ??= offered.values();
      let next = this.#hand.next();
      if (next.done) {
        this.#hand = offered.values();
        next = this.#hand.next();
      }
      if (!next.done) yield next.value;
    }
  }

  /** A waiting client is evicted only if its holder keeps as many slots as the newcomer then has (max-min fairness). */
  #mayTake(newcomer: Holder, holder: Holder, rank: Rank): boolean {
    if (rank <= ranks.idle) return true;
    const isSame = newcomer.service === holder.service;
    const [theirs, ours] = isSame
      ? [this.#sources.of(holder.source), this.#sources.of(newcomer.source)]
      : [this.#services.of(holder.service), this.#services.of(newcomer.service)];
    return theirs - 1 >= ours + 1;
  }

  #newSlot(holder: Holder): Slot {
    this.#services.add(holder.service);
    this.#sources.add(holder.source);
    this.#taken += 1;
    this.#options.onChange?.(this.#taken);
    this.#offered ??= new Set();
    return new Slot(holder, this.#offered, this.#onRelease);
  }

  readonly #onRelease = ({ service, source }: Holder): void => {
    this.#taken -= 1;
    this.#options.onChange?.(this.#taken);
    this.#services.remove(service);
    this.#sources.remove(source);
  };
}

/** A taken slot. Disposing it is idempotent. */
export class Slot implements Disposable {
  readonly holder: Holder;
  readonly #offered: Set<Slot>;
  readonly #onRelease: (holder: Holder) => void;
  #offer: { readonly rank: () => Rank | undefined; readonly onTaken: (reason: SlotError) => void } | undefined;
  #isOver = false;

  constructor(holder: Holder, offered: Set<Slot>, onRelease: (holder: Holder) => void) {
    this.holder = holder;
    this.#offered = offered;
    this.#onRelease = onRelease;
  }

  /** Its current eviction rank; undefined if it may not be evicted. */
  get rank(): Rank | undefined {
    return this.#offer?.rank();
  }

  /**
   * Allows its eviction for another client.
   *
   * @param rank called for each new client that needs a slot
   * @param onTaken called at the eviction, to end the client
   */
  offer(rank: () => Rank | undefined, onTaken: (reason: SlotError) => void): void {
    if (this.#isOver) return;
    this.#offer = { rank, onTaken };
    this.#offered.add(this);
  }

  /** Forbids its eviction. */
  keep(): void {
    this.#offer = undefined;
    this.#offered.delete(this);
  }

  /** Ends its client and frees it. */
  evict(reason: SlotError): void {
    const offer = this.#offer;
    this[Symbol.dispose]();
    offer?.onTaken(reason);
  }

  [Symbol.dispose](): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.keep();
    this.#onRelease(this.holder);
  }
}

/** An admitted client, until this is disposed. */
export interface Pass extends Disposable {
  /** Its slot of the process. */
  readonly slot: Slot;
}

/** Whether one list of numbers is before another of the same length. */
function isBefore(one: readonly number[], other: readonly number[]): boolean {
  const index = one.findIndex((number, at) => number !== other[at]);
  return index >= 0 && one[index]! < other[index]!;
}

/**
 * Returns the number of connections under a limit of open descriptors (RLIMIT_NOFILE), `reserved` of which are not for
 * clients. At least 1.
 */
export function connectionLimit(openFiles: number, reserved: number): number {
  return Math.max(1, Math.floor((openFiles - reserved) / PER_CONNECTION));
}
