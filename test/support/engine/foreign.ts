/** Containers that wakeport must not touch, and the record of their events. */
import type { Act, EngineEvent, TestContainer, TestEngine, Verb } from "./containers.ts";

/** The server of a foreign container prints this for each connection. */
export const REACHED = "reached";

/** Events that start, stop, interrupt, change or remove a container. */
const LIVES = /^(start|restart|stop|kill|die|oom|pause|unpause|destroy|rename|update)$/;
const STOPS = /^(kill|pause)$/;

/** The events that the test causes. */
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
  /** The names of targets that a foreign container needs. */
  readonly #needed = new Set<string>();
  readonly #reached: string[] = [];

  constructor(engine: TestEngine) {
    this.#engine = engine;
  }

  add(container: TestContainer): TestContainer {
    this.#all.set(container.id, container);
    return container;
  }

  /** From now on only the test may stop or pause this target. */
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

  /** The events so far that the test did not cause. Read while the test is idle. */
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

  /** The number of running foreign containers. */
  async running(): Promise<number> {
    const awake = await Promise.all([...this.#all.values()].map((one) => one.isAwake()));
    return awake.filter(Boolean).length;
  }

  /** The number of connections to each foreign container. */
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
  // The margin covers rounding.
  const isThen = act.from - 1 <= at && at <= act.to + 1;
  return act.id === id && isThen && EFFECTS[act.verb].includes(action);
}
