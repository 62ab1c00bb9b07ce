/** All clients of which it is not known yet who they are, or which service they came for. */
import type net from "node:net";
import { endsOf } from "../../net/addresses.ts";
import { readIp } from "../../net/ip.ts";
import type { Observer } from "../../telemetry/observer.ts";
import { sourceOf } from "../admission/ban-list.ts";
import { type Holder, LimitError, ranks, type Slot, Slots } from "../admission/slots.ts";
import type { Gatehouse } from "../admission/stage.ts";
import { Arrival, type ArrivalOptions, type Arrived } from "./route-lookup.ts";
import { UnroutedError } from "./unrouted.ts";

/** What a client has to say first takes it no longer than this. */
const ARRIVAL_MS = 5_000;
/** So many at a time, and no more than half of the places of the process: those who say nothing keep nobody else out. */
const MOST_ARRIVING = 4_096;

/** Bits of an IPv6 address that identify a source. The service, which may set another number, is not known yet. */
const IPV6_PREFIX = 64;

export interface ArrivalsOptions {
  readonly gatehouse: Pick<Gatehouse, "slots" | "farewell">;
  readonly observer: Observer;
  /** In milliseconds; default: 5 s. */
  readonly deadlineMs?: number | undefined;
}

export class Arrivals {
  readonly #options: ArrivalsOptions;
  /** Each with its slots. */
  readonly #open = new Map<Arrival, readonly Slot[]>();
  readonly #slots: Slots;
  readonly #running = new Set<Promise<void>>();

  constructor(options: ArrivalsOptions) {
    this.#options = options;
    const { slots } = options.gatehouse;
    const limit = (): number => Math.max(1, Math.min(MOST_ARRIVING, Math.floor(slots.limit / 2)));
    this.#slots = new Slots({ limit, what: "clients whose service is not known yet" });
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
    const running = this.#run(arrival, holderOf(front, client), onArrived).finally(() => this.#running.delete(running));
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

  async #run(arrival: Arrival, holder: Holder, onArrived: (arrived: Arrived) => void): Promise<void> {
    try {
      this.#open.set(arrival, this.#takePlaces(arrival, holder));
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

  /** If all slots are taken, an older arrival is evicted: well-behaved clients send their first bytes at once. */
  #takePlaces(arrival: Arrival, holder: Holder): Slot[] {
    const taken: Slot[] = [];
    try {
      for (const slots of [this.#slots, this.#options.gatehouse.slots]) taken.push(slots.take(holder));
    } catch (error) {
      for (const slot of taken) slot[Symbol.dispose]();
      throw error instanceof LimitError ? new UnroutedError("limit", error.message, { cause: error }) : error;
    }
    for (const slot of taken)
      slot.offer(
        () => ranks.idle,
        () => this.#sendAway(arrival),
      );
    return taken;
  }

  #sendAway(arrival: Arrival): void {
    this.#leave(arrival);
    arrival.end(new UnroutedError("limit", "evicted: no slot left, and the client had not sent its name"));
  }

  #leave(arrival: Arrival): void {
    for (const slot of this.#open.get(arrival) ?? []) slot[Symbol.dispose]();
    this.#open.delete(arrival);
  }
}

/** Until its service is known, a client counts with those of its front. */
function holderOf(front: string, client: net.Socket): Holder {
  const ip = readIp(endsOf(client).peer.address);
  return { service: front, source: ip === undefined ? "an unknown source" : sourceOf(ip, IPV6_PREFIX) };
}
