/** Another program that does random things to the containers of a test, one after the other. */
import { scheduler } from "node:timers/promises";
import type { TestContainer } from "./containers.ts";
import type { Lab } from "./lab.ts";

const verbs = ["start", "stop", "restart", "kill", "pause", "unpause", "remove", "rename", "recreate"] as const;
export type RandomVerb = (typeof verbs)[number];

/** Echoes on port 7000. The trap makes it exit on SIGTERM, which PID 1 ignores. */
const ECHO = ["sh", "-c", 'trap "exit 0" TERM; nc -ll -p 7000 -e cat & wait'];
const MAX_PAUSE_MS = 250;

/** Seeded random numbers from 0 to 1 (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A name, and the container that has it. */
export class Victim {
  readonly service: string;
  /** The name in the configuration. */
  readonly name: string;
  readonly #lab: Lab;
  readonly #onNext: (container: TestContainer) => void;
  #container: TestContainer;
  #isAway = false;
  #isRemoved = false;

  private constructor(parts: {
    lab: Lab;
    service: string;
    container: TestContainer;
    onNext: (next: TestContainer) => void;
  }) {
    this.service = parts.service;
    this.name = parts.container.name;
    this.#lab = parts.lab;
    this.#container = parts.container;
    this.#onNext = parts.onNext;
  }

  /** @param onNext called with each container before it gets the name */
  static async create(lab: Lab, service: string, onNext: (next: TestContainer) => void): Promise<Victim> {
    return new Victim({ lab, service, container: await lab.container({ command: ECHO }), onNext });
  }

  get container(): TestContainer {
    return this.#container;
  }

  get isRemoved(): boolean {
    return this.#isRemoved;
  }

  /** Does the action, or fails like the command. */
  async suffer(verb: RandomVerb): Promise<void> {
    const container = this.#container;
    switch (verb) {
      case "stop":
        return container.stop(2);
      case "restart":
        return container.restart(2);
      case "rename":
        return this.#rename();
      case "remove":
        this.#isRemoved = true;
        return container.remove();
      case "recreate":
        return this.#recreate();
      default:
        return container[verb]();
    }
  }

  /** Restores it: the container exists and is not paused. */
  async recover(): Promise<void> {
    if (this.#isRemoved) await this.#recreate();
    if (this.#isAway) await this.#rename();
    await this.#container.unpause().catch(() => {});
  }

  async #rename(): Promise<void> {
    await this.#container.rename(this.#isAway ? this.name : `${this.name}-away`);
    this.#isAway = !this.#isAway;
  }

  /** Recreates it like compose. */
  async #recreate(): Promise<void> {
    const old = this.#container;
    if (!this.#isRemoved) {
      // The container may be stopped.
      await old.stop(2).catch(() => {});
      await old.rename(`${old.id.slice(0, 12)}_${this.name}`);
    }
    const next = await this.#lab.container({ command: ECHO, name: this.name });
    this.#onNext(next);
    this.#container = next;
    this.#isAway = false;
    this.#isRemoved = false;
    // A client may have started it.
    await next.start().catch(() => {});
    await old.remove();
  }
}

/** Does `count` random actions, one after the other. @returns the number of successes and failures of each */
export async function doRandomly(
  victims: readonly Victim[],
  count: number,
  random: () => number,
): Promise<ReadonlyMap<string, number>> {
  const done = new Map<string, number>();
  for (let i = 0; i < count; i += 1) {
    const victim = victims[Math.floor(random() * victims.length)]!;
    const chosen = verbs[Math.floor(random() * verbs.length)]!;
    // A removed container allows no other action.
    const verb = victim.isRemoved ? "recreate" : chosen;
    const reported = await victim.suffer(verb).then(
      () => verb,
      // The expected errors: a stop of a removed container, a pause of a stopped one.
      () => `${verb} in vain`,
    );
    done.set(reported, (done.get(reported) ?? 0) + 1);
    await scheduler.wait(random() * MAX_PAUSE_MS);
  }
  return done;
}
