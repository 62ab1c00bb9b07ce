/**
 * The engine's stream of container events, for as long as wakeport runs. Events are hints: they say where to look,
 * never what is true, because the stream loses some without a word (a slow reader, a restart of the daemon). So every
 * connect, and every half minute, is a hint about all containers.
 *
 * The stream is always drained: a slow reader slows the whole daemon down. A daemon that hangs is plain silence, so it
 * is pinged.
 */
import { abortable, delay } from "../async/wait.ts";
import { DeadlineError, TargetError } from "../errors.ts";
import type { Engine } from "./engine.ts";
import { JsonLines } from "./json-lines.ts";
import { dockerAction } from "./podman.ts";
import type { EngineObserver } from "./reports.ts";

/** What moves the state of a container, and `kill`, which tells who did it. `stop` may arrive after the next start. */
const ACTIONS = [
  // Events of a network about one of its containers.
  "connect",
  "disconnect",
  "create",
  "start",
  "kill",
  "die",
  "pause",
  "unpause",
  "destroy",
  "rename",
  "oom",
  "health_status",
] as const;
/** The daemon answers before it has subscribed us: what happens in between is asked for again. */
const OVERLAP_S = 5;
const PING_EVERY_MS = 10_000;
const LOOK_EVERY_MS = 30_000;
const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5_000;
/** A stream that lasted this long worked: its end is no failure, but what proxies do to those that are silent. */
const STEADY_MS = 1_000;

/** One event, as far as wakeport needs it. */
export interface ContainerEvent {
  readonly action: string;
  readonly id: string;
  /** Name and labels of the container, and details of the action. */
  readonly attributes: Readonly<Record<string, string>>;
}

/** Called with each event; with undefined whenever events may have been missed. */
type Watcher = (event: ContainerEvent | undefined) => void;

export class EngineEvents {
  readonly #engine: Engine;
  readonly #observer: EngineObserver;
  readonly #watchers = new Set<Watcher>();
  readonly #closing = new AbortController();
  readonly #known = Promise.withResolvers<void>();
  #isUp: boolean | undefined;
  #trouble: Error | undefined;
  #description: string | undefined;
  #running: Promise<void> | undefined;

  constructor(engine: Engine, observer: EngineObserver) {
    this.#engine = engine;
    this.#observer = observer;
  }

  /** Whether the engine answers. */
  get isUp(): boolean {
    return this.#isUp === true;
  }

  /** Why it does not, or cannot be followed; undefined when all is well, or nothing is known yet. */
  get trouble(): Error | undefined {
    return this.#trouble;
  }

  /** For people: `docker 26.1.5 (API 1.45) via unix:///var/run/docker.sock`, once it answered. */
  get description(): string | undefined {
    return this.#description;
  }

  /** Resolves as soon as it is known whether the engine answers. */
  get known(): Promise<void> {
    return this.#known.promise;
  }

  /** Begins to follow the engine; returns at once, whether it is there or not. */
  open(): void {
    this.#running = this.#follow();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  /** Calls back for each event, and with undefined whenever events may have been missed. */
  watch(watcher: Watcher): Disposable {
    // Each call counts, also with a function that watches already.
    const own: Watcher = (event) => watcher(event);
    this.#watchers.add(own);
    return { [Symbol.dispose]: () => this.#watchers.delete(own) };
  }

  /** Connects for ever. Never rejects. */
  async #follow(): Promise<void> {
    const { signal } = this.#closing;
    for (let failures = 0; !signal.aborted; failures += 1) {
      const began = performance.now();
      const error = await this.#subscribe(signal).catch((reason: unknown) => reason);
      if (signal.aborted) return;
      this.#down(error instanceof Error ? error : new Error(String(error)));
      if (performance.now() - began > STEADY_MS) failures = 0;
      const backoffMs = Math.min(FIRST_BACKOFF_MS * 2 ** failures, MAX_BACKOFF_MS);
      await delay(backoffMs * (0.5 + Math.random() / 2), signal).catch(() => {});
    }
  }

  /** One connection, from ping to end. Only ever rejects, or resolves with the reason why it ended. */
  async #subscribe(closing: AbortSignal): Promise<Error> {
    await this.#engine.ping();
    const over = new AbortController();
    const signal = AbortSignal.any([closing, over.signal]);
    try {
      const opening = this.#engine.events(Math.floor(Date.now() / 1000) - OVERLAP_S, ACTIONS, signal);
      const ended = this.#drain(opening);
      // What Podman has to tell from now on will come, but it does not say so before.
      if (!this.#engine.isPodman) await opening;
      await this.#up();
      this.#hintAll();
      return await Promise.race([ended, this.#ping(signal), this.#remind(signal)]);
    } finally {
      over.abort();
    }
  }

  /** Resolves with the reason why the stream ended. */
  async #drain(opening: Promise<NodeJS.ReadableStream>): Promise<Error> {
    const lines = new JsonLines((value) => this.#received(value));
    const stream = await opening.catch((error: Error) => error);
    if (stream instanceof Error) return stream;
    return new Promise((resolve) => {
      stream.on("data", (chunk: Buffer) => lines.push(chunk));
      stream.on("error", resolve);
      // A proxy, or a daemon that stops in good order, ends the stream without any error.
      stream.on("close", () => resolve(new Error("the event stream ended")));
    });
  }

  async #ping(signal: AbortSignal): Promise<Error> {
    for (;;) {
      await delay(PING_EVERY_MS, signal);
      await abortable(this.#engine.ping(), signal);
    }
  }

  async #remind(signal: AbortSignal): Promise<Error> {
    for (;;) {
      await delay(LOOK_EVERY_MS, signal);
      this.#hintAll();
    }
  }

  #received(value: unknown): void {
    const event = eventOf(value);
    if (event !== undefined) for (const watcher of this.#watchers) watcher(event);
  }

  #hintAll(): void {
    for (const watcher of this.#watchers) watcher(undefined);
  }

  async #up(): Promise<void> {
    if (this.#isUp === true) return this.#observer.eventsReconnected();
    const version = await this.#engine.version().catch(() => "docker");
    if (this.#isUp === false) this.#observer.eventsReconnected();
    this.#isUp = true;
    this.#trouble = undefined;
    this.#description = `${version} via ${this.#engine.url}`;
    this.#observer.engineUp(this.#description);
    this.#known.resolve();
  }

  #down(error: Error): void {
    // A stream that merely ended says nothing against the engine: the ping before the next one will.
    if (this.#isUp === true && !isFatal(error)) return;
    if (this.#isUp !== false || faultOf(error) !== faultOf(this.#trouble)) this.#observer.engineDown(error);
    this.#isUp = false;
    this.#trouble = error;
    this.#known.resolve();
  }
}

/** Away and refused are two things to be told; away for this reason or that is one. */
function faultOf(error: Error | undefined): string {
  return error instanceof TargetError ? error.fault : "unreachable";
}

function isFatal(error: Error): boolean {
  return error instanceof DeadlineError || error.name === "TargetError";
}

function eventOf(value: unknown): ContainerEvent | undefined {
  if (typeof value !== "object" || value === null || !("Action" in value) || !("Actor" in value)) return undefined;
  const { Action: action, Actor: actor } = value;
  if (typeof action !== "string" || typeof actor !== "object" || actor === null || !("ID" in actor)) return undefined;
  const attributes = "Attributes" in actor && isStringRecord(actor.Attributes) ? actor.Attributes : {};
  // Such an event has the name and the labels of the network.
  const isOfNetwork = "Type" in value && value.Type === "network";
  if (isOfNetwork) return { action, id: attributes["container"] ?? "", attributes: {} };
  return { action: dockerAction(action), id: String(actor.ID), attributes };
}

function isStringRecord(value: unknown): value is Record<string, string> {
  return typeof value === "object" && value !== null && Object.values(value).every((v) => typeof v === "string");
}
