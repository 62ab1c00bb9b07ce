import type { Counters } from "./table.ts";

export const NO_COUNTERS: Counters = { up: 0, down: 0, connections: 0 };

/** The totals of the kernel's counters since wakeport started, by service. */
export class CounterTotals {
  /** The last values of the kernel. */
  #last: ReadonlyMap<string, Counters> = new Map();
  readonly #totals = new Map<string, Counters>();

  /** Returns undefined if no packet of the service was forwarded. */
  of(service: string): Counters | undefined {
    return this.#totals.get(service);
  }

  /** Adds the kernel's values. @returns what was counted since the last call, for the services that were used */
  add(counters: ReadonlyMap<string, Counters>): ReadonlyMap<string, Counters> {
    const used = new Map<string, Counters>();
    for (const [service, now] of counters) {
      const since = difference(now, this.#last.get(service) ?? NO_COUNTERS);
      if (since.up + since.down + since.connections === 0) continue;
      used.set(service, since);
      const { up, down, connections } = this.of(service) ?? NO_COUNTERS;
      const total = { up: up + since.up, down: down + since.down, connections: connections + since.connections };
      this.#totals.set(service, total);
    }
    this.#last = counters;
    return used;
  }
}

/** A new table counts from 0. */
function difference(now: Counters, last: Counters): Counters {
  const since = (key: keyof Counters): number => (now[key] < last[key] ? now[key] : now[key] - last[key]);
  return { up: since("up"), down: since("down"), connections: since("connections") };
}
