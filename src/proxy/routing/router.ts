/** All clients of which it is not known yet who they are, or which service they came for. */
import type net from "node:net";
import { addressesOf } from "../../net/addresses.ts";
import { readIp } from "../../net/ip.ts";
import { sourceOf } from "../admission/ban-list.ts";
import { type Holder, ranks, type Slot, SlotError, Slots } from "../admission/slots.ts";
import type { SharedAdmission } from "../admission/stage.ts";
import type { ProxyObserver } from "../reports.ts";
import { UnroutedError } from "../unrouted.ts";
import { type RoutedClient, RouteLookup, type RouteLookupOptions } from "./route-lookup.ts";

/** What a client has to say first takes it no longer than this. */
const LOOKUP_MS = 5_000;
/** So many at a time, and no more than half of the places of the process: those who say nothing keep nobody else out. */
const MAX_LOOKUPS = 4_096;

/** Bits of an IPv6 address that identify a source. The service, which may set another number, is not known yet. */
const IPV6_PREFIX = 64;

export interface RouterOptions {
  readonly sharedAdmission: Pick<SharedAdmission, "slots" | "lingering">;
  readonly observer: ProxyObserver;
  /** In milliseconds; default: 5 s. */
  readonly deadlineMs?: number | undefined;
}

export class Router {
  readonly #options: RouterOptions;
  /** Each with its slots. */
  readonly #open = new Map<RouteLookup, readonly Slot[]>();
  readonly #slots: Slots;
  readonly #running = new Set<Promise<void>>();

  constructor(options: RouterOptions) {
    this.#options = options;
    const { slots } = options.sharedAdmission;
    const limit = (): number => Math.max(1, Math.min(MAX_LOOKUPS, Math.floor(slots.limit / 2)));
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
  route(
    client: net.Socket,
    { listener, routeTable }: Pick<RouteLookupOptions, "listener" | "routeTable">,
    onArrived: (routed: RoutedClient) => void,
  ): void {
    const route = routeTable()?.routeWithoutReading(addressesOf(client).peer.address);
    if (route !== undefined) return onArrived({ route, addresses: undefined });
    const { sharedAdmission, deadlineMs = LOOKUP_MS } = this.#options;
    const lookup = new RouteLookup({ client, listener, routeTable, deadlineMs, lingering: sharedAdmission.lingering });
    const running = this.#run(lookup, holderOf(listener, client), onArrived).finally(() =>
      this.#running.delete(running),
    );
    this.#running.add(running);
  }

  /** Ends those who are here. */
  close(): void {
    for (const lookup of this.#open.keys()) lookup.cancel(new UnroutedError("closing", "wakeport ends"));
  }

  /** Resolves when nobody is left. */
  async finished(): Promise<void> {
    await Promise.all(this.#running);
  }

  async #run(lookup: RouteLookup, holder: Holder, onArrived: (routed: RoutedClient) => void): Promise<void> {
    try {
      this.#open.set(lookup, this.#takePlaces(lookup, holder));
      const routed = await lookup.run();
      this.#leave(lookup);
      onArrived(routed);
    } catch (error) {
      this.#leave(lookup);
      if (!(error instanceof UnroutedError)) throw error;
      this.#options.observer.unrouted(lookup.report(error));
      await lookup.reject(error);
    }
  }

  /** If all slots are taken, an older arrival is evicted: well-behaved clients send their first bytes at once. */
  #takePlaces(lookup: RouteLookup, holder: Holder): Slot[] {
    const taken: Slot[] = [];
    try {
      for (const slots of [this.#slots, this.#options.sharedAdmission.slots]) taken.push(slots.take(holder));
    } catch (error) {
      for (const slot of taken) slot[Symbol.dispose]();
      throw error instanceof SlotError ? new UnroutedError("limit", error.message, { cause: error }) : error;
    }
    for (const slot of taken)
      slot.offer(
        () => ranks.idle,
        () => this.#reject(lookup),
      );
    return taken;
  }

  #reject(lookup: RouteLookup): void {
    this.#leave(lookup);
    lookup.cancel(new UnroutedError("limit", "evicted: no slot left, and the client had not sent its name"));
  }

  #leave(lookup: RouteLookup): void {
    for (const slot of this.#open.get(lookup) ?? []) slot[Symbol.dispose]();
    this.#open.delete(lookup);
  }
}

/** Until its service is known, a client counts with those of its front. */
function holderOf(listener: string, client: net.Socket): Holder {
  const ip = readIp(addressesOf(client).peer.address);
  return { service: listener, source: ip === undefined ? "an unknown source" : sourceOf(ip, IPV6_PREFIX) };
}
