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
    const { limit, taken } = this.#seats;
    const isOfUse = taken - this.#silent.size < limit;
    // Several where the limit was lowered meanwhile.
    for (const place of isOfUse ? this.#silent : []) {
      if (this.#seats.taken < limit) break;
      place.makeRoom();
    }
    return new Place(this.#seats.take(), this.#silent);
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

  /** For somebody else. */
  makeRoom(): void {
    this.#silent.delete(this);
    this[Symbol.dispose]();
    this.#giveUp(new LimitError("waiting_limit", "another client took the place of this one, which had said nothing"));
  }

  [Symbol.dispose](): void {
    this.#seat?.[Symbol.dispose]();
    this.#seat = undefined;
  }
}
