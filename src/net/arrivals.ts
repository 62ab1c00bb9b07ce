/** All clients of which it is not known yet who they are, or which service they came for. */
import type net from "node:net";
import type { Observer } from "../telemetry/observer.ts";
import type { Gatehouse } from "./admission/entrance.ts";
import { LimitError } from "./admission/seats.ts";
import { Arrival, type ArrivalOptions, type Arrived } from "./arrival.ts";
import { endsOf } from "./ends.ts";
import { UnroutedError } from "./unrouted.ts";

/** What a client has to say first takes it no longer than this. */
const ARRIVAL_MS = 5_000;
/** So many at a time, and no more than half of the places of the process: those who say nothing keep nobody else out. */
const MOST_ARRIVING = 4_096;

export interface ArrivalsOptions {
  readonly gatehouse: Pick<Gatehouse, "seats" | "farewell">;
  readonly observer: Observer;
  /** In milliseconds; default: 5 s. */
  readonly deadlineMs?: number | undefined;
}

export class Arrivals {
  readonly #options: ArrivalsOptions;
  /** Each with its place, in the order in which they came. */
  readonly #open = new Map<Arrival, Disposable>();
  readonly #running = new Set<Promise<void>>();

  constructor(options: ArrivalsOptions) {
    this.#options = options;
  }

  /** How many there are at this moment. */
  get size(): number {
    return this.#open.size;
  }

  /**
   * Finds out where a client is led; at once where nothing has to be read for that.
   *
   * @param onArrived told in the very turn in which it is known, unless the client is led nowhere
   */
  receive(
    client: net.Socket,
    { front, signpost }: Pick<ArrivalOptions, "front" | "signpost">,
    onArrived: (arrived: Arrived) => void,
  ): void {
    const route = signpost()?.directly(endsOf(client).peer.address);
    if (route !== undefined) return onArrived({ route, ends: undefined });
    const { gatehouse, deadlineMs = ARRIVAL_MS } = this.#options;
    const arrival = new Arrival({ client, front, signpost, deadlineMs, farewell: gatehouse.farewell });
    const running = this.#run(arrival, onArrived).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Ends those who are here. */
  close(): void {
    for (const arrival of this.#open.keys()) arrival.end(new UnroutedError("closing", "wakeport ends"));
  }

  /** Resolves when nobody is left. */
  async finished(): Promise<void> {
    await Promise.all(this.#running);
  }

  async #run(arrival: Arrival, onArrived: (arrived: Arrived) => void): Promise<void> {
    try {
      this.#open.set(arrival, this.#takePlace());
      const arrived = await arrival.find();
      this.#leave(arrival);
      onArrived(arrived);
    } catch (error) {
      this.#leave(arrival);
      if (!(error instanceof UnroutedError)) throw error;
      this.#options.observer.unrouted(arrival.report(error));
      await arrival.refuse(error);
    }
  }

  /** When there is none left, who has taken longest so far makes room: an honest client says at once what it wants. */
  #takePlace(): Disposable {
    const { seats } = this.#options.gatehouse;
    const most = Math.max(1, Math.min(MOST_ARRIVING, Math.floor(seats.limit / 2)));
    if (this.#open.size >= most || seats.taken >= seats.limit) this.#sendAwayFirst();
    try {
      return seats.take();
    } catch (error) {
      throw error instanceof LimitError ? new UnroutedError("limit", error.message, { cause: error }) : error;
    }
  }

  #sendAwayFirst(): void {
    const [first] = this.#open.keys();
    if (first === undefined) return;
    this.#leave(first);
    first.end(new UnroutedError("limit", "the client did not say in time what it wants, and others came"));
  }

  #leave(arrival: Arrival): void {
    this.#open.get(arrival)?.[Symbol.dispose]();
    this.#open.delete(arrival);
  }
}
