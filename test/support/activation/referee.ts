/**
 * Judges an activator in a world of random events: what must hold at every moment, what must hold whenever everything
 * has settled, and what must be left at the end.
 */
import assert from "node:assert/strict";
import {
  ActivationError,
  ClosedError,
  CooldownError,
  ExitedError,
  StartTimeoutError,
} from "../../../src/activation/errors.ts";
import { openCalls } from "./fake-target.ts";
import type { Client, Stage } from "./stage.ts";

/** Collects what nobody handles: a contradiction in the activator shows as a rejection, which must fail the sequence. */
class Rejections implements Disposable {
  readonly #seen: unknown[] = [];
  readonly #usual = process.listeners("unhandledRejection");

  constructor() {
    process.removeAllListeners("unhandledRejection");
    process.on("unhandledRejection", (reason) => this.#seen.push(reason));
  }

  throwAny(): void {
    if (this.#seen.length > 0) throw this.#seen[0];
  }

  [Symbol.dispose](): void {
    process.removeAllListeners("unhandledRejection");
    for (const listener of this.#usual) process.on("unhandledRejection", listener);
  }
}

/** What an activator has to keep to, in milliseconds. */
export interface Limits {
  readonly idleTimeoutMs: number;
  readonly startTimeoutMs: number;
  readonly drainMs: number;
  /** How long a call that was given up may go on. */
  readonly lateMs: number;
  /** Whether an idle target is paused first, and stopped later. */
  readonly hasSecondStep: boolean;
}

/** How the activator was closed. */
export interface Closing {
  readonly atMs: number;
  readonly leaveRunning: boolean;
  /** How many changes of state there had been before. */
  readonly changes: number;
  readonly done: Promise<void>;
}

/** Given up by the client itself. */
export const clientLeft: Error = new Error("the client left");
/** The longest that a stop may take after the grace. */
const stopMarginMs = 20_000;

export class Referee implements Disposable {
  /** The addresses of lives that are over. */
  readonly endedRuns: Set<string> = new Set();
  closing: Closing | undefined;
  readonly #stage: Stage;
  readonly #clients: readonly Client[];
  readonly #limits: Limits;
  readonly #rejections = new Rejections();
  readonly #contradictions: unknown[] = [];
  #lastHeldMs = 0;
  #lastDirectUseMs = Number.NEGATIVE_INFINITY;
  /** How many changes of state there had been when the target was last stopped. */
  #stopsDecided = 0;

  constructor(stage: Stage, leases: readonly Client[], limits: Limits) {
    this.#stage = stage;
    this.#clients = leases;
    this.#limits = limits;
    stage.target.onStart = () => this.#note(() => this.#assertMayStart());
    stage.target.onStop = () => this.#note(() => this.#assertMayStop());
  }

  get #held(): Client[] {
    return this.#clients.filter((client) => client.isHeld);
  }

  get #waiting(): Client[] {
    return this.#clients.filter((client) => client.isWaiting);
  }

  /** To be called around everything that may end a use of the target. */
  recordUse(): void {
    if (this.#held.length > 0) this.#lastHeldMs = this.#stage.clock.nowMs;
  }

  /** To be called when a measurement that counts finds direct use. */
  recordDirectUse(): void {
    this.#lastDirectUseMs = this.#stage.clock.nowMs;
  }

  /** Whoever waits longest is granted first. */
  assertInTurn(client: Client): void {
    if (client.lease === undefined) return;
    const earlier = this.#clients.slice(0, this.#clients.indexOf(client));
    // Who was granted a target that somebody paused may wait longer, until it is thawed.
    if (this.#stage.activator.view.waiting === 0) return;
    assert.ok(!earlier.some((other) => other.isWaiting), "granted before one that waits longer");
  }

  #assertMayStart(): void {
    const { changes, activator } = this.#stage;
    const cause = changes.at(-1);
    // What somebody paused under its connections is thawed without a change of state.
    const isInUse = cause?.to === "ready" || cause?.to === "draining";
    const { truth } = this.#stage.target;
    const isPaused = activator.view.state === "paused" || (!truth.up && truth.pausedIncarnation !== undefined);
    if (isInUse && isPaused) return;
    assert.equal(cause?.to, "starting");
    // A running target is adopted in the cooldown too, and started again when it goes down meanwhile.
    const isAdoption = cause?.event === "found" || cause?.event === "kept";
    if (!isAdoption) assert.equal(activator.view.cooldownUntil, undefined, "started in the cooldown");
  }

  /** When the target is stopped, nobody may hold it, and nobody may have been waiting for it when that was decided. */
  #assertMayStop(): void {
    assert.equal(this.#held.length, 0, "stopped under a lease");
    const { starts, stops } = this.#stage.target;
    const decided = this.#stage.changes.at(-1);
    const isLeft = this.closing?.leaveRunning && this.#stage.changes.length > this.closing.changes;
    assert.ok(!isLeft, "stopped although it was to be left");
    assert.equal(decided?.to, "stopping");
    if (decided?.event === "idle" && decided.from === "ready") {
      const idleMs = this.#stage.changedAtMs - this.#lastHeldMs;
      assert.ok(idleMs >= this.#limits.idleTimeoutMs, `stopped ${idleMs} ms after its last use`);
      const unusedMs = this.#stage.changedAtMs - this.#lastDirectUseMs;
      assert.ok(unusedMs >= this.#limits.idleTimeoutMs, `stopped ${unusedMs} ms after direct use was found`);
    }
    const isRetry = this.#stopsDecided === this.#stage.changes.length;
    this.#stopsDecided = this.#stage.changes.length;
    // Whoever came after the decision waits for the end of it, and for the next start.
    const wasHeldBack = starts.at(-1)?.signal.aborted === true;
    if (!isRetry && !wasHeldBack)
      assert.equal(this.#stage.activator.view.waiting, 0, "stopped although somebody waits");
    assert.equal(openCalls(starts).length, 0, "stopped in the middle of a start");
    assert.equal(openCalls(stops).length, 0, "stopped twice at a time");
  }

  assertAlways(): void {
    if (this.#contradictions.length > 0) throw this.#contradictions[0];
    const { starts, stops } = this.#stage.target;
    const wanted = openCalls(starts).filter(({ signal }) => !signal.aborted);
    const [starting, stopping] = [wanted.length, openCalls(stops).length];
    assert.ok(starting + stopping <= 1, `${starting} starts and ${stopping} stops at a time`);
    const { view } = this.#stage.activator;
    const isMeasured = this.#stage.target.measurements.length > 0;
    if (view.idleDeadline !== undefined) assert.ok(this.#isIdle, "idle timer in use");
    else if (!isMeasured) this.#assertTimer();
    const measuring = openCalls(this.#stage.target.measurements);
    assert.ok(measuring.length <= 1, `${measuring.length} measurements at a time`);
    if (view.state === "asleep") assert.equal(view.held + view.waiting, 0);
    if (view.held > 0) assert.ok(["ready", "draining", "paused"].includes(view.state), `held while ${view.state}`);
    if (view.waiting > 0)
      assert.ok(view.state === "starting" || view.state === "stopping", `waits while ${view.state}`);
  }

  get #isIdle(): boolean {
    const { view } = this.#stage.activator;
    return view.held === 0 && (view.state === "ready" || view.state === "paused");
  }

  /** An idle target has a timer, or is being measured. */
  #assertTimer(): void {
    const { view } = this.#stage.activator;
    // What somebody paused for good waits for nothing, unless it is being thawed for a client who has left meanwhile.
    if (view.state === "paused" && !this.#limits.hasSecondStep) return;
    const isMeasuring = openCalls(this.#stage.target.measurements).length > 0;
    assert.ok(!this.#isIdle || isMeasuring || view.idleDeadline !== undefined, "an idle target without a timer");
  }

  assertSettled(): void {
    this.#rejections.throwAny();
    this.assertAlways();
    this.#assertTimer();
    const { view } = this.#stage.activator;
    const { nowMs } = this.#stage.clock;
    if (view.state === "starting") {
      const { startTimeoutMs, idleTimeoutMs, lateMs } = this.#limits;
      const startingMs = nowMs - this.#stage.changedAtMs;
      assert.ok(startingMs <= 2 * startTimeoutMs + idleTimeoutMs + lateMs, `starting for ${startingMs} ms`);
    }
    if (this.closing && nowMs >= this.closing.atMs + this.#limits.drainMs)
      assert.equal(view.held, 0, "held after the deadline");
    assert.equal(view.held + view.waiting, this.#held.length + this.#waiting.length);
    // Who was granted a target that somebody paused waits until it is thawed.
    assert.ok(view.waiting <= this.#waiting.length);
    for (const client of this.#clients) this.#assertFair(client);
  }

  /** Whoever was refused or cut was so for a reason that is true. */
  #assertFair({ error, lease, cutBy, isWaiting, hasLeft, sinceMs }: Client): void {
    const { nowMs } = this.#stage.clock;
    const longestWaitMs = this.#stage.target.graceMs + stopMarginMs + this.#limits.startTimeoutMs;
    if (isWaiting) assert.ok(!hasLeft && nowMs - sinceMs <= longestWaitMs, `waits for ${nowMs - sinceMs} ms`);
    if (error !== undefined && error !== clientLeft) {
      assert.ok(error instanceof ActivationError, String(error));
      if (error instanceof ClosedError) assert.ok(this.closing, "refused as closed");
      if (error instanceof ExitedError) assert.ok(this.endedRuns.size > 0, "refused as exited");
      if (error instanceof StartTimeoutError) assert.ok(nowMs >= this.#limits.startTimeoutMs, "refused as too late");
      if (error instanceof CooldownError) assert.ok(this.#stage.target.starts.length > 0, "refused without a failure");
    }
    if (lease === undefined || cutBy === undefined) return;
    if (cutBy instanceof ExitedError) assert.ok(this.endedRuns.has(lease.address), "cut although it lives");
    else assert.ok(this.closing && nowMs >= this.closing.atMs + this.#limits.drainMs, `cut by ${cutBy}`);
  }

  assertEnd(): void {
    const stage = this.#stage;
    assert.equal(stage.clock.pending, 0, "timers are left");
    assert.equal(stage.target.watchers, 0, "a watch is left");
    this.assertSettled();
    let from = "asleep";
    for (const change of stage.changes) {
      assert.equal(change.from, from);
      assert.notEqual(change.to, from);
      from = change.to;
    }
    const lost = stage.activations.filter(({ adopted, outcome }) => adopted && outcome === "exited");
    const begun = stage.changes.filter(({ to }) => to === "starting");
    const readopted = stage.changes.filter(({ event }) => event === "lost");
    assert.equal(stage.activations.length, begun.length + lost.length - readopted.length, "activations told");
  }

  [Symbol.dispose](): void {
    this.#rejections[Symbol.dispose]();
  }

  /** For what is asserted within a call from the activator, which would take the failure for one of its target. */
  #note(assertion: () => void): void {
    try {
      assertion();
    } catch (error) {
      this.#contradictions.push(error);
    }
  }
}
