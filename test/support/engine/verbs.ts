/** Somebody else with a docker command and no plan: does one thing after the other to the containers of a test. */
import { scheduler } from "node:timers/promises";
import type { TestContainer } from "./containers.ts";
import type { Lab } from "./lab.ts";

const verbs = ["start", "stop", "restart", "kill", "pause", "unpause", "remove", "rename", "recreate"] as const;
export type RandomVerb = (typeof verbs)[number];

/** Echoes on port 7000. It obeys SIGTERM, which it would not as PID 1. */
const ECHO = ["sh", "-c", 'trap "exit 0" TERM; nc -ll -p 7000 -e cat & wait'];
const MAX_PAUSE_MS = 250;

/** Numbers from 0 to 1 that a seed determines (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One name, and the container that somebody gave it last. */
export class Victim {
  readonly service: string;
  /** As the configuration has it. */
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

  /** @param onNext told each container that takes the name, before it has it */
  static async create(lab: Lab, service: string, onNext: (next: TestContainer) => void): Promise<Victim> {
    return new Victim({ lab, service, container: await lab.container({ command: ECHO }), onNext });
  }

  get container(): TestContainer {
    return this.#container;
  }

  get isRemoved(): boolean {
    return this.#isRemoved;
  }

  /** Does it, or fails as the command would. */
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

  /** Puts an end to everything that was done to it: it is there, and not paused. */
  async recover(): Promise<void> {
    if (this.#isRemoved) await this.#recreate();
    if (this.#isAway) await this.#rename();
    await this.#container.unpause().catch(() => {});
  }

  async #rename(): Promise<void> {
    await this.#container.rename(this.#isAway ? this.name : `${this.name}-away`);
    this.#isAway = !this.#isAway;
  }

  /** As compose does it. */
  async #recreate(): Promise<void> {
    const old = this.#container;
    if (!this.#isRemoved) {
      // It may be down.
      await old.stop(2).catch(() => {});
      await old.rename(`${old.id.slice(0, 12)}_${this.name}`);
    }
    const next = await this.#lab.container({ command: ECHO, name: this.name });
    this.#onNext(next);
    this.#container = next;
    this.#isAway = false;
    this.#isRemoved = false;
    // A client may have woken it.
    await next.start().catch(() => {});
    await old.remove();
  }
}

/** Does `count` things, one after the other, as `random` has it. @returns how often each was done, and how often in vain */
export async function doRandomly(
  victims: readonly Victim[],
  count: number,
  random: () => number,
): Promise<ReadonlyMap<string, number>> {
  const done = new Map<string, number>();
  for (let i = 0; i < count; i += 1) {
    const victim = victims[Math.floor(random() * victims.length)]!;
    const chosen = verbs[Math.floor(random() * verbs.length)]!;
    // To what is gone for good nothing else can be done.
    const verb = victim.isRemoved ? "recreate" : chosen;
    const told = await victim.suffer(verb).then(
      () => verb,
      // As people are told when they stop what is gone, or pause what is down.
      () => `${verb} in vain`,
    );
    done.set(told, (done.get(told) ?? 0) + 1);
    await scheduler.wait(random() * MAX_PAUSE_MS);
  }
  return done;
}
