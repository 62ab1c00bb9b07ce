/**
 * Checks an activator during random events: invariants of each moment, invariants of each moment without pending
 * promises, and the state at the end.
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

/** Collects unhandled rejections. An InvariantError of the activator is one, and must fail the test. */
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

/** Limits of the activator, in milliseconds. */
export interface Limits {
  readonly idleTimeoutMs: number;
  readonly startTimeoutMs: number;
  readonly drainMs: number;
  /** Time for which an aborted call may stay open. */
  readonly lateMs: number;
  /** Whether an idle target is first paused and later stopped. */
  readonly hasSecondStep: boolean;
}

/** The close of the activator. */
export interface Closing {
  readonly atMs: number;
  readonly leaveRunning: boolean;
  /** The number of changes of state before it. */
  readonly changes: number;
  readonly done: Promise<void>;
}

/** The reason of a client that leaves. */
export const clientLeft: Error = new Error("the client left");
/** The longest time of a stop after the grace period. */
const stopMarginMs = 20_000;

export class Referee implements Disposable {
  /** The addresses of ended runs. */
  readonly endedRuns: Set<string> = new Set();
  closing: Closing | undefined;
  readonly #stage: Stage;
  readonly #clients: readonly Client[];
  readonly #limits: Limits;
  readonly #rejections = new Rejections();
  readonly #contradictions: unknown[] = [];
  #lastHeldMs = 0;
  #lastDirectUseMs = Number.NEGATIVE_INFINITY;
  /** The number of changes of state at the last stop. */
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

  /** Called before and after each step that may end a use of the target. */
  recordUse(): void {
    if (this.#held.length > 0) this.#lastHeldMs = this.#stage.clock.nowMs;
  }

  /** Called when the last measurement of an idle timeout finds direct use. */
  recordDirectUse(): void {
    this.#lastDirectUseMs = this.#stage.clock.nowMs;
  }

  /** Leases are granted in order. */
  assertInTurn(client: Client): void {
    if (client.lease === undefined) return;
    const earlier = this.#clients.slice(0, this.#clients.indexOf(client));
    // A client of a paused target waits longer, until the target is unpaused.
    if (this.#stage.activator.view.waiting === 0) return;
    assert.ok(!earlier.some((other) => other.isWaiting), "granted before an older lease");
  }

  #assertMayStart(): void {
    const { changes, activator } = this.#stage;
    const cause = changes.at(-1);
    // A target that was paused during its connections is unpaused without a change of state.
    const isInUse = cause?.to === "ready" || cause?.to === "draining";
    const { truth } = this.#stage.target;
    const isPaused = activator.view.state === "paused" || (!truth.up && truth.pausedIncarnation !== undefined);
    if (isInUse && isPaused) return;
    assert.equal(cause?.to, "starting");
    // A running target is adopted during the cooldown too, and started again if it goes down meanwhile.
    const isAdoption = cause?.event === "found" || cause?.event === "kept";
    if (!isAdoption) assert.equal(activator.view.cooldownUntil, undefined, "started during the cooldown");
  }

  /** At a stop there must be no held lease, and at its decision no waiting lease. */
  #assertMayStop(): void {
    assert.equal(this.#held.length, 0, "stopped during a lease");
    const { starts, stops } = this.#stage.target;
    const decided = this.#stage.changes.at(-1);
    const isLeft = this.closing?.leaveRunning && this.#stage.changes.length > this.closing.changes;
    assert.ok(!isLeft, "stopped despite leaveRunning");
    assert.equal(decided?.to, "stopping");
    if (decided?.event === "idle" && decided.from === "ready") {
      const idleMs = this.#stage.changedAtMs - this.#lastHeldMs;
      assert.ok(idleMs >= this.#limits.idleTimeoutMs, `stopped ${idleMs} ms after its last use`);
      const unusedMs = this.#stage.changedAtMs - this.#lastDirectUseMs;
      assert.ok(unusedMs >= this.#limits.idleTimeoutMs, `stopped ${unusedMs} ms after direct use was found`);
    }
    const isRetry = this.#stopsDecided === this.#stage.changes.length;
    this.#stopsDecided = this.#stage.changes.length;
    // A lease after the decision waits for the end of the stop, and for the next start.
    const wasHeldBack = starts.at(-1)?.signal.aborted === true;
    if (!isRetry && !wasHeldBack) assert.equal(this.#stage.activator.view.waiting, 0, "stopped although a lease waits");
    assert.equal(openCalls(starts).length, 0, "stopped during a start");
    assert.equal(openCalls(stops).length, 0, "two concurrent stops");
  }

  assertAlways(): void {
    if (this.#contradictions.length > 0) throw this.#contradictions[0];
    const { starts, stops } = this.#stage.target;
    const wanted = openCalls(starts).filter(({ signal }) => !signal.aborted);
    const [starting, stopping] = [wanted.length, openCalls(stops).length];
    assert.ok(starting + stopping <= 1, `${starting} starts and ${stopping} stops at a time`);
    const { view } = this.#stage.activator;
    const isMeasured = this.#stage.target.measurements.length > 0;
    if (view.idleDeadline !== undefined) assert.ok(this.#isIdle, "idle timeout during use");
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

  /** An idle target has an idle timeout, or is being measured. */
  #assertTimer(): void {
    const { view } = this.#stage.activator;
    // A target that another process paused has no idle timeout.
    if (view.state === "paused" && !this.#limits.hasSecondStep) return;
    const isMeasuring = openCalls(this.#stage.target.measurements).length > 0;
    assert.ok(
      !this.#isIdle || isMeasuring || view.idleDeadline !== undefined,
      "an idle target without an idle timeout",
    );
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
    // A client of a paused target waits until the target is unpaused.
    assert.ok(view.waiting <= this.#waiting.length);
    for (const client of this.#clients) this.#assertFair(client);
  }

  /** Each rejection and each cut has a valid reason. */
  #assertFair({ error, lease, cutBy, isWaiting, hasLeft, sinceMs }: Client): void {
    const { nowMs } = this.#stage.clock;
    const longestWaitMs = this.#stage.target.graceMs + stopMarginMs + this.#limits.startTimeoutMs;
    if (isWaiting) assert.ok(!hasLeft && nowMs - sinceMs <= longestWaitMs, `waits for ${nowMs - sinceMs} ms`);
    if (error !== undefined && error !== clientLeft) {
      assert.ok(error instanceof ActivationError, String(error));
      if (error instanceof ClosedError) assert.ok(this.closing, "rejected as closed");
      if (error instanceof ExitedError) assert.ok(this.endedRuns.size > 0, "rejected as exited");
      if (error instanceof StartTimeoutError) assert.ok(nowMs >= this.#limits.startTimeoutMs, "rejected as too late");
      if (error instanceof CooldownError) assert.ok(this.#stage.target.starts.length > 0, "rejected without a failure");
    }
    if (lease === undefined || cutBy === undefined) return;
    if (cutBy instanceof ExitedError) assert.ok(this.endedRuns.has(lease.address), "cut during its run");
    else assert.ok(this.closing && nowMs >= this.closing.atMs + this.#limits.drainMs, `cut by ${cutBy}`);
  }

  assertEnd(): void {
    const stage = this.#stage;
    assert.equal(stage.clock.pending, 0, "timers remain");
    assert.equal(stage.target.watchers, 0, "a watch remains");
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
    assert.equal(stage.activations.length, begun.length + lost.length - readopted.length, "activation reports");
  }

  [Symbol.dispose](): void {
    this.#rejections[Symbol.dispose]();
  }

  /** For assertions within a call of the activator, which would handle the error as one of its target. */
  #note(assertion: () => void): void {
    try {
      assertion();
    } catch (error) {
      this.#contradictions.push(error);
    }
  }
}
