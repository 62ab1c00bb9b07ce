/**
 * Follows the engine's events. An event only triggers an inspection, because the stream can lose events: see
 * docs/design/engine-events.md.
 */
import { abortable, delay } from "../async/wait.ts";
import { DeadlineError, TargetError } from "../errors.ts";
import type { Engine } from "./engine.ts";
import { JsonLines } from "./json-lines.ts";
import { dockerAction } from "./podman.ts";
import type { EngineObserver } from "./reports.ts";

/** Actions that change a container. `kill` contains the signal. `stop` is left out: it may arrive after the next start. */
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
/** The daemon answers before the subscription is complete, so events of this time are requested again. */
const OVERLAP_S = 5;
/** How often the stream is checked by a ping and by inspections, in milliseconds. */
const CHECKS = { tickMs: 10_000, pingMs: 10_000, inspectMs: 30_000 } as const;
/** While all targets sleep: each check wakes the process. A tick is short, because it decides when a client wakes one. */
const QUIET_CHECKS = { tickMs: 30_000, pingMs: 90_000, inspectMs: 300_000 } as const;
/** Timers fire up to this much early in relation to each other. */
const SLACK_MS = 1_000;
const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5_000;
/** The end of a stream that lasted this long is not a failure: proxies end silent streams. */
const STABLE_MS = 1_000;

/** The used part of an event. */
export interface ContainerEvent {
  readonly action: string;
  readonly id: string;
  /** Name and labels of the container, and details of the action. */
  readonly attributes: Readonly<Record<string, string>>;
}

/** Called with each event, and with undefined if events may have been lost. */
type Watcher = (event: ContainerEvent | undefined) => void;

export class EngineEvents {
  readonly #engine: Engine;
  readonly #observer: EngineObserver;
  readonly #isQuiet: () => boolean;
  readonly #watchers = new Set<Watcher>();
  readonly #closing = new AbortController();
  readonly #known = Promise.withResolvers<void>();
  #isUp: boolean | undefined;
  #isFollowed = false;
  #problem: Error | undefined;
  #description: string | undefined;
  #running: Promise<void> | undefined;

  /** @param isQuiet whether all targets sleep */
  constructor(engine: Engine, observer: EngineObserver, isQuiet: () => boolean) {
    this.#engine = engine;
    this.#observer = observer;
    this.#isQuiet = isQuiet;
  }

  /** Whether the engine answers. */
  get isUp(): boolean {
    return this.#isUp === true;
  }

  /** Whether events are being received. Events before that may have been lost. */
  get isFollowed(): boolean {
    return this.#isFollowed;
  }

  /** Why the engine does not answer or cannot be followed; undefined if it does, or before the first answer. */
  get problem(): Error | undefined {
    return this.#problem;
  }

  /** `docker 26.1.5 (API 1.45) via unix:///var/run/docker.sock`; undefined before the first answer. */
  get description(): string | undefined {
    return this.#description;
  }

  /** Resolves as soon as it is known whether the engine answers. */
  get known(): Promise<void> {
    return this.#known.promise;
  }

  /** Begins to follow the engine in the background. */
  open(): void {
    this.#running = this.#follow();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  /** Calls `watcher` for each event, and with undefined if events may have been lost. */
  watch(watcher: Watcher): Disposable {
    // A new function for each call, so that one watcher can be registered twice.
    const own: Watcher = (event) => watcher(event);
    this.#watchers.add(own);
    return { [Symbol.dispose]: () => this.#watchers.delete(own) };
  }

  /** Reconnects until closed. Never rejects. */
  async #follow(): Promise<void> {
    const { signal } = this.#closing;
    for (let failures = 0; !signal.aborted; failures += 1) {
      const began = performance.now();
      const error = await this.#subscribe(signal).catch((reason: unknown) => reason);
      if (signal.aborted) return;
      this.#down(error instanceof Error ? error : new Error(String(error)));
      if (performance.now() - began > STABLE_MS) failures = 0;
      const backoffMs = Math.min(FIRST_BACKOFF_MS * 2 ** failures, MAX_BACKOFF_MS);
      await delay(backoffMs * (0.5 + Math.random() / 2), signal).catch(() => {});
    }
  }

  /** Runs one connection. Rejects, or resolves with the reason for its end. */
  async #subscribe(closing: AbortSignal): Promise<Error> {
    await this.#engine.ping();
    const over = new AbortController();
    const signal = AbortSignal.any([closing, over.signal]);
    try {
      const opening = this.#engine.events(Math.floor(Date.now() / 1000) - OVERLAP_S, ACTIONS, signal);
      const ended = this.#drain(opening);
      // Podman is subscribed already, but answers only with its first event.
      if (!this.#engine.isPodman) await opening;
      await this.#up();
      this.#isFollowed = true;
      this.#requestInspections();
      return await Promise.race([ended, this.#check(signal)]);
    } finally {
      this.#isFollowed = false;
      over.abort();
    }
  }

  /** Reads the stream at full speed, because a slow reader delays the daemon. Resolves with the reason for its end. */
  async #drain(opening: Promise<NodeJS.ReadableStream>): Promise<Error> {
    const lines = new JsonLines((value) => this.#received(value));
    const stream = await opening.catch((error: Error) => error);
    if (stream instanceof Error) return stream;
    return new Promise((resolve) => {
      stream.on("data", (chunk: Buffer) => lines.push(chunk));
      stream.on("error", resolve);
      // A proxy, or a daemon that shuts down cleanly, ends the stream without an error.
      stream.on("close", () => resolve(new Error("the event stream ended")));
    });
  }

  /** Finds a hung engine by pings, and lost events by inspections. Rejects if a ping fails. */
  async #check(signal: AbortSignal): Promise<Error> {
    let [pinged, inspected] = [performance.now(), performance.now()];
    for (;;) {
      await delay((this.#isQuiet() ? QUIET_CHECKS : CHECKS).tickMs, signal);
      const { pingMs, inspectMs } = this.#isQuiet() ? QUIET_CHECKS : CHECKS;
      const now = performance.now() + SLACK_MS;
      if (now - pinged >= pingMs) {
        pinged = now;
        await abortable(this.#engine.ping(), signal);
      }
      if (now - inspected >= inspectMs) {
        inspected = now;
        this.#requestInspections();
      }
    }
  }

  #received(value: unknown): void {
    const event = eventOf(value);
    if (event !== undefined) for (const watcher of this.#watchers) watcher(event);
  }

  #requestInspections(): void {
    for (const watcher of this.#watchers) watcher(undefined);
  }

  async #up(): Promise<void> {
    if (this.#isUp === true) return this.#observer.eventsReconnected();
    const version = await this.#engine.version().catch(() => "docker");
    if (this.#isUp === false) this.#observer.eventsReconnected();
    this.#isUp = true;
    this.#problem = undefined;
    this.#description = `${version} via ${this.#engine.url}`;
    this.#observer.engineUp(this.#description);
    this.#known.resolve();
  }

  #down(error: Error): void {
    // The end of a stream does not mean that the engine is down. The next ping decides.
    if (this.#isUp === true && !isFatal(error)) return;
    if (this.#isUp !== false || faultOf(error) !== faultOf(this.#problem)) this.#observer.engineDown(error);
    this.#isUp = false;
    this.#problem = error;
    this.#known.resolve();
  }
}

/** Reports repeat only if the kind of fault changes, such as from unreachable to denied. */
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
  // The attributes of this event are those of the network.
  const isOfNetwork = "Type" in value && value.Type === "network";
  if (isOfNetwork) return { action, id: attributes["container"] ?? "", attributes: {} };
  return { action: dockerAction(action), id: String(actor.ID), attributes };
}

function isStringRecord(value: unknown): value is Record<string, string> {
  return typeof value === "object" && value !== null && Object.values(value).every((v) => typeof v === "string");
}
