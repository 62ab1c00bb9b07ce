import type { ContainerFacts } from "../docker/container-facts.ts";
import type { ContainerEvent, EngineEvents } from "../docker/events.ts";

/** An event, or undefined if events may have been lost. */
type PossibleEvent = ContainerEvent | undefined;

/**
 * Whether the facts of a container are still current: whether an event since then may have changed them. An event that
 * reports what an inspection or the answer to a call has reported already, such as the start of a container by wakeport,
 * causes no further inspection.
 */
export class KnownFacts {
  readonly #events: () => Pick<EngineEvents, "isFollowed">;
  readonly #watchers = new Set<() => void>();
  /** The events during each inspection under way. Its result may be older or newer than they are. */
  readonly #inspections = new Set<PossibleEvent[]>();
  #facts: ContainerFacts | undefined;

  constructor(events: () => Pick<EngineEvents, "isFollowed">) {
    this.#events = events;
  }

  /** The facts, if no event since their inspection may have changed them; undefined if they may be outdated. */
  get current(): ContainerFacts | undefined {
    return this.#watchers.size > 0 && this.#events().isFollowed ? this.#facts : undefined;
  }

  /** Calls `onChange` when the facts may be outdated. */
  watch(onChange: () => void): Disposable {
    // Events before the first watch were not received.
    if (this.#watchers.size === 0) this.#facts = undefined;
    const own = (): void => onChange();
    this.#watchers.add(own);
    return { [Symbol.dispose]: () => this.#watchers.delete(own) };
  }

  /** Handles an event of the container. */
  onEvent(event: PossibleEvent): void {
    for (const events of this.#inspections) events.push(event);
    if (this.#mayHaveChanged(event)) this.#changed();
  }

  /** Stores what the answer to a call of wakeport reports, unless an inspection has reported it already. */
  update(facts: ContainerFacts): void {
    const now = this.#facts;
    const isKnown = now?.id === facts.id && now.isRunning === facts.isRunning && now.isPaused === facts.isPaused;
    if (!isKnown) this.#facts = facts;
  }

  /** Drops the facts. */
  forget(): void {
    this.#facts = undefined;
  }

  /** Runs an inspection and stores its result. @param inspect returns undefined without facts; its errors are thrown */
  async inspect<T>(inspect: () => Promise<T>, factsIn: (result: T) => ContainerFacts | undefined): Promise<T> {
    const events: PossibleEvent[] = [];
    this.#inspections.add(events);
    try {
      const result = await inspect();
      this.#facts = factsIn(result);
      return result;
    } finally {
      this.#inspections.delete(events);
      if (events.some((event) => this.#mayHaveChanged(event))) this.#changed();
    }
  }

  #changed(): void {
    this.#facts = undefined;
    for (const onChange of [...this.#watchers]) onChange();
  }

  #mayHaveChanged(event: PossibleEvent): boolean {
    return event === undefined || this.#facts === undefined || mayHaveChanged(event, this.#facts);
  }
}

/**
 * Returns whether an event may have changed a container since an inspection, whose result may be older than the event.
 * Each change of a run begins with an event that contradicts `facts`, so an event that agrees with them reports nothing.
 */
export function mayHaveChanged({ action, id }: ContainerEvent, facts: ContainerFacts): boolean {
  if (id !== facts.id) return true;
  switch (action) {
    // The event of a signal. If the container ends, `die` follows.
    case "kill":
      return false;
    case "start":
      return !facts.isRunning;
    // A stopped container leaves its networks, and does not join others without a start.
    case "die":
    case "connect":
    case "disconnect":
      return facts.isRunning;
    case "pause":
      return !facts.isPaused;
    case "unpause":
      return facts.isPaused;
    default:
      return true;
  }
}
