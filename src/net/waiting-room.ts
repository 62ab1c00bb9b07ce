/** The places of a service for clients that are not served yet. Who has said nothing so far makes room for a newcomer. */
import { LimitError, type Seats } from "./admission/seats.ts";

export class WaitingRoom {
  readonly #seats: Seats;
  /** Who has been silent for longest first. */
  readonly #silent = new Set<Place>();

  constructor(seats: Seats) {
    this.#seats = seats;
  }

  get taken(): number {
    return this.#seats.taken;
  }

  /** Takes a place, given back by disposing it. @throws LimitError when all are taken by clients that have spoken, or need not */
  take(): Place {
    const [oldest] = this.#silent;
    const isFull = this.#seats.taken >= this.#seats.limit;
    const seat = isFull && oldest !== undefined ? oldest.makeRoom() : this.#seats.take();
    return new Place(seat, this.#silent);
  }
}

/** One of them. */
export class Place implements Disposable {
  #seat: Disposable | undefined;
  readonly #silent: Set<Place>;
  #giveUp: (reason: LimitError) => void = () => {};

  constructor(seat: Disposable, silent: Set<Place>) {
    this.#seat = seat;
    this.#silent = silent;
  }

  /** Until `heard` is settled, the place may be given away. @param giveUp called when it is: the client has to go */
  async listen(heard: Promise<void>, giveUp: (reason: LimitError) => void): Promise<void> {
    this.#giveUp = giveUp;
    this.#silent.add(this);
    try {
      await heard;
    } finally {
      this.#silent.delete(this);
    }
  }

  /** @returns the seat of who leaves, for who comes */
  makeRoom(): Disposable {
    const seat = this.#seat;
    if (seat === undefined) throw new TypeError("the place was given back already");
    this.#silent.delete(this);
    this.#seat = undefined;
    this.#giveUp(new LimitError("waiting_limit", "another client took the place of this one, which had said nothing"));
    return seat;
  }

  [Symbol.dispose](): void {
    this.#seat?.[Symbol.dispose]();
    this.#seat = undefined;
  }
}
