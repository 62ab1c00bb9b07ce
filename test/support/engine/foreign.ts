/** Containers that wakeport must leave alone, and the record of everything that happens to them. */
import type { Act, EngineEvent, TestContainer, TestEngine, Verb } from "./containers.ts";

/** The server of a foreign container prints this for each connection. */
export const REACHED = "reached";

/** Begins, ends, interrupts or changes a life of a container, or removes it. */
const LIVES = /^(start|restart|stop|kill|die|oom|pause|unpause|destroy|rename|update)$/;
const STOPS = /^(kill|pause)$/;

/** The events that the acts of the test cause. */
const EFFECTS: Readonly<Record<Verb, readonly string[]>> = {
  start: ["start"],
  stop: ["kill"],
  restart: ["kill"],
  kill: ["kill"],
  pause: ["pause"],
  unpause: [],
  rename: [],
  remove: ["kill", "die", "destroy"],
};

export class Foreigners {
  readonly #engine: TestEngine;
  readonly #all = new Map<string, TestContainer>();
  /** Names of targets that a foreign container needs. */
  readonly #needed = new Set<string>();
  readonly #reached: string[] = [];

  constructor(engine: TestEngine) {
    this.#engine = engine;
  }

  add(container: TestContainer): TestContainer {
    this.#all.set(container.id, container);
    return container;
  }

  /** Only the test may stop or pause the target of that name from now on. */
  need(name: string): void {
    this.#needed.add(name);
  }

  noLongerNeed(name: string): void {
    this.#needed.delete(name);
  }

  async remove(container: TestContainer): Promise<void> {
    await this.#noteReached(container);
    await container.remove();
  }

  /** What others than the test did, so far. Read while the test does nothing itself. */
  get offences(): readonly string[] {
    const { events, acts } = this.#engine;
    return events
      .filter(
        ({ id, name, action }) =>
          (this.#all.has(id) && LIVES.test(action)) || (this.#needed.has(name) && STOPS.test(action)),
      )
      .filter((event) => !acts.some((act) => isCausedBy(event, act)))
      .map(({ name, action }) => `container ${name} got a ${action}`);
  }

  /** How many foreign containers run. */
  async running(): Promise<number> {
    const awake = await Promise.all([...this.#all.values()].map((one) => one.isAwake()));
    return awake.filter(Boolean).length;
  }

  /** Which foreign containers were connected to, and how often. */
  async reached(): Promise<readonly string[]> {
    for (const one of this.#all.values()) if ((await one.state()) !== undefined) await this.#noteReached(one);
    return this.#reached;
  }

  async #noteReached(container: TestContainer): Promise<void> {
    const count = (await container.output()).split(REACHED).length - 1;
    if (count > 0) this.#reached.push(`foreign container ${container.name} was reached ${count} times`);
  }
}

function isCausedBy({ id, action, at }: EngineEvent, act: Act): boolean {
  // The margin is for rounding.
  const isThen = act.from - 1 <= at && at <= act.to + 1;
  return act.id === id && isThen && EFFECTS[act.verb].includes(action);
}
