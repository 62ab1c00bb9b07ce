import { type Observer, observer } from "./observer.ts";

/** How many there were of each kind. */
export type Counts = Readonly<Record<string, number>>;

/** How the connections of one service ended, since the start. */
export interface OutcomeCounts {
  readonly outcomes: Counts;
  /** Of those that were turned away: why. */
  readonly denials: Counts;
}

/** Counts how the connections of each service end, for whoever asks what has happened so far. */
export class OutcomeCounter {
  readonly observer: Observer;
  readonly #services = new Map<
    string,
    { readonly outcomes: Map<string, number>; readonly denials: Map<string, number> }
  >();

  constructor() {
    this.observer = observer({
      connection: ({ service, outcome, reason }) => {
        const counts = this.#of(service);
        increase(counts.outcomes, outcome);
        if (reason !== undefined) increase(counts.denials, reason);
      },
    });
  }

  of(service: string): OutcomeCounts {
    const { outcomes, denials } = this.#of(service);
    return { outcomes: Object.fromEntries(outcomes), denials: Object.fromEntries(denials) };
  }

  #of(service: string): { readonly outcomes: Map<string, number>; readonly denials: Map<string, number> } {
    const counts = this.#services.get(service) ?? { outcomes: new Map(), denials: new Map() };
    this.#services.set(service, counts);
    return counts;
  }
}

/** `2 address, 1 rate`; empty if there are none. */
export function formatCounts(counts: Counts): string {
  return Object.entries(counts)
    .map(([key, count]) => `${count} ${key}`)
    .join(", ");
}

function increase(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
