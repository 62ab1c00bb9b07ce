/** Containers that are no targets, and the record of everything that happens to them. */
import type { Act, EngineEvent, TestContainer, TestEngine, Verb } from "../support/containers.ts";

/** The server of a foreign container prints this for each connection. */
export const REACHED = "reached";

/** Begins, ends, interrupts or changes a life of a container, or removes it. */
const LIVES = /^(start|restart|stop|kill|die|oom|pause|unpause|destroy|rename|update)$/;

/** The events that the acts of the test cause. */
const EFFECTS: Readonly<Partial<Record<Verb, readonly string[]>>> = {
  start: ["start"],
  remove: ["kill", "die", "destroy"],
};

export class Foreigners {
  readonly #engine: TestEngine;
  readonly #all = new Map<string, TestContainer>();
  /** The one that the test itself starts or removes at this moment: the act is recorded when it is over. */
  #busy: string | undefined;
  readonly #reached: string[] = [];

  constructor(engine: TestEngine) {
    this.#engine = engine;
  }

  add(container: TestContainer): TestContainer {
    this.#all.set(container.id, container);
    return container;
  }

  async start(container: TestContainer): Promise<void> {
    this.#busy = container.id;
    await container.start();
    this.#busy = undefined;
  }

  async remove(container: TestContainer): Promise<void> {
    await this.#noteReached(container);
    this.#busy = container.id;
    await container.remove();
    this.#busy = undefined;
  }

  /** What others than the test did to them, so far. */
  get offences(): readonly string[] {
    const { events, acts } = this.#engine;
    return events
      .filter(({ id, action }) => this.#all.has(id) && id !== this.#busy && LIVES.test(action))
      .filter((event) => !acts.some((act) => isCausedBy(event, act)))
      .map(({ name, action }) => `foreign container ${name} got a ${action}`);
  }

  /** How many of them run. */
  async running(): Promise<number> {
    const awake = await Promise.all([...this.#all.values()].map((one) => one.isAwake()));
    return awake.filter(Boolean).length;
  }

  /** Which of them were connected to, and how often. */
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
  return act.id === id && isThen && EFFECTS[act.verb]?.includes(action) === true;
}
