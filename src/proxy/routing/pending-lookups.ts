/** Accepted clients whose route is not known yet. */
import type net from "node:net";
import { peerOf } from "../../net/addresses.ts";
import { readIp } from "../../net/ip.ts";
import { UNKNOWN_SOURCE } from "../admission/admission.ts";
import type { SharedAdmission } from "../admission/admission-stage.ts";
import { sourceOf } from "../admission/ban-list.ts";
import { type Holder, ranks, type Slot, SlotError, Slots } from "../admission/slots.ts";
import type { ProxyObserver } from "../reports.ts";
import { UnroutedError } from "../unrouted.ts";
import { type RoutedClient, RouteLookup, type RouteLookupOptions } from "./route-lookup.ts";

/** Deadline of one lookup. */
const LOOKUP_MS = 5_000;
/** Limit of lookups. Half of the process's slots is another limit, so that silent clients cannot take all of them. */
const MAX_LOOKUPS = 4_096;

/** Bits of an IPv6 address that identify a source. The service's own number is not known yet. */
const IPV6_PREFIX = 64;

export interface PendingLookupsOptions {
  readonly sharedAdmission: Pick<SharedAdmission, "slots" | "lingering">;
  readonly observer: ProxyObserver;
  /** Milliseconds; default: 5 s. */
  readonly deadlineMs?: number | undefined;
}

export class PendingLookups {
  readonly #options: PendingLookupsOptions;
  /** The slots of each lookup. */
  readonly #open = new Map<RouteLookup, readonly Slot[]>();
  readonly #slots: Slots;
  readonly #running = new Set<Promise<void>>();

  constructor(options: PendingLookupsOptions) {
    this.#options = options;
    const { slots } = options.sharedAdmission;
    const limit = (): number => Math.max(1, Math.min(MAX_LOOKUPS, Math.floor(slots.limit / 2)));
    this.#slots = new Slots({ limit, what: "clients without a route yet" });
  }

  /** Number of lookups. */
  get size(): number {
    return this.#open.size;
  }

  /**
   * Looks up the route of a client, without a wait if no byte must be read for it. Closes and reports a client without a
   * route.
   *
   * @param onRouted called in the turn of the event loop in which the route is found
   */
  start(
    client: net.Socket,
    { listener, routeTable }: Pick<RouteLookupOptions, "listener" | "routeTable">,
    onRouted: (routed: RoutedClient) => void,
  ): void {
    const route = routeTable()?.routeWithoutReading(peerOf(client).address);
    if (route !== undefined) return onRouted({ route, addresses: undefined });
    const { sharedAdmission, deadlineMs = LOOKUP_MS } = this.#options;
    const lookup = new RouteLookup({ client, listener, routeTable, deadlineMs, lingering: sharedAdmission.lingering });
    const running = this.#run(lookup, holderOf(listener, client), onRouted).finally(() =>
      this.#running.delete(running),
    );
    this.#running.add(running);
  }

  /** Ends all lookups. */
  close(): void {
    for (const lookup of this.#open.keys()) lookup.cancel(new UnroutedError("closing", "wakeport is shutting down"));
  }

  /** Resolves when each lookup has ended and its client is closed or has a connection. */
  async finished(): Promise<void> {
    await Promise.all(this.#running);
  }

  async #run(lookup: RouteLookup, holder: Holder, onRouted: (routed: RoutedClient) => void): Promise<void> {
    try {
      this.#open.set(lookup, this.#takeSlots(lookup, holder));
      const routed = await lookup.run();
      this.#release(lookup);
      onRouted(routed);
    } catch (error) {
      this.#release(lookup);
      if (!(error instanceof UnroutedError)) throw error;
      this.#options.observer.unrouted(lookup.report(error));
      await lookup.reject(error);
    }
  }

  /** If all slots are taken, an older lookup is evicted: well-behaved clients send their first bytes at once. */
  #takeSlots(lookup: RouteLookup, holder: Holder): Slot[] {
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
        () => this.#evict(lookup),
      );
    return taken;
  }

  #evict(lookup: RouteLookup): void {
    this.#release(lookup);
    lookup.cancel(new UnroutedError("limit", "evicted: no slot is free, and the client had not sent its name"));
  }

  #release(lookup: RouteLookup): void {
    for (const slot of this.#open.get(lookup) ?? []) slot[Symbol.dispose]();
    this.#open.delete(lookup);
  }
}

/** Until its service is known, a client counts for its listener. */
function holderOf(listener: string, client: net.Socket): Holder {
  const ip = readIp(peerOf(client).address);
  return { service: listener, source: ip === undefined ? UNKNOWN_SOURCE : sourceOf(ip, IPV6_PREFIX) };
}
