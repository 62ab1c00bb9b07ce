/**
 * An activator in a world in which anything may happen at any time, one random step after another: clients come and go,
 * calls to the target succeed late, early or not at all, hints get lost or come twice, somebody else starts and stops
 * the target. What must hold all the same is asserted after each step, and at the end, when the world has calmed down.
 */
import assert from "node:assert/strict";
import {
  ActivationError,
  ClosedError,
  CooldownError,
  type Exit,
  ExitedError,
  StartTimeoutError,
} from "../../src/activation/errors.ts";
import { TargetError, UnhealthyError } from "../../src/errors.ts";
import type { Sight } from "../../src/target/target.ts";
import { type Call, openCalls } from "../support/fake-target.ts";
import { type Claim, policy, Stage } from "./stage.ts";

const clientLeft = new Error("the client left");
const failure = new TargetError("failed", "it did not work");
const drainMs = 10_000;
const exits: readonly (Exit | undefined)[] = [undefined, { code: 0 }, { code: 3 }, { code: 137, oomKilled: true }];
/** Shorter than a look may take, so that a look can outlast a whole activation. */
const idleTimeoutMs = 3_000;
const times = [1, 20, 500, 1_000, idleTimeoutMs, 5_000, 10_000, policy.startTimeoutMs];
/** The longest pause between two attempts to stop, and between two to start. */
const longestRetryMs = 30_000;
const longestCooldownMs = 60_000;

export const actNames = [
  "nothing",
  "acquire",
  "abandon",
  "release",
  "release twice",
  "verify",
  "hint",
  "hint twice",
  "somebody starts it",
  "it goes down",
  "start takes effect",
  "start answers",
  "start fails",
  "stop takes effect",
  "stop answers",
  "stop fails",
  "look answers",
  "look fails",
  "probe answers",
  "probe fails",
  "looks hang",
  "looks work",
  "probes hang",
  "probes work",
  "calls give up late",
  "calls give up at once",
  "time passes",
  "close",
  "close, leave running",
] as const;
export type Act = (typeof actNames)[number];

/** What may happen. `pick` chooses among the things that it may happen to. */
const acts: Readonly<Record<Act, (world: World, pick: number) => Promise<void> | void>> = {
  nothing: () => {},
  acquire: (world) => world.acquire(),
  abandon: (world, pick) => choose(world.waiting, pick)?.leave(clientLeft),
  release: (world, pick) => choose(world.held, pick)?.release(),
  "release twice": (world, pick) => choose(world.claims, pick)?.release(),
  verify: (world, pick) => world.verify(choose(world.held, pick)),
  hint: (world) => world.hint(),
  "hint twice": (world) => {
    world.hint();
    world.hint();
  },
  "somebody starts it": (world) => world.stage.target.comeUp(),
  "it goes down": (world, pick) => world.stage.target.goDown(choose(exits, pick)),
  "start takes effect": (world) => world.startTakesEffect(),
  "start answers": (world) => world.startAnswers(),
  "start fails": (world) => choose(openCalls(world.stage.target.starts), 0)?.reject(failure),
  "stop takes effect": (world) => world.stopTakesEffect(),
  "stop answers": (world) => world.stopAnswers(),
  "stop fails": (world) => choose(openCalls(world.stage.target.stops), 0)?.reject(failure),
  "look answers": (world, pick) => world.lookAnswers(pick),
  "look fails": (world, pick) => choose(openCalls(world.stage.target.looks), pick)?.reject(failure),
  "probe answers": (world, pick) => world.probeAnswers(pick),
  "probe fails": (world, pick) => choose(openCalls(world.stage.probes), pick)?.reject(new UnhealthyError("no")),
  "looks hang": (world) => {
    world.stage.target.answersLooks = false;
  },
  "looks work": (world) => {
    world.stage.target.answersLooks = true;
  },
  "probes hang": (world) => {
    world.stage.answersProbes = false;
  },
  "probes work": (world) => {
    world.stage.answersProbes = true;
  },
  "calls give up late": (world) => {
    world.stage.target.givesUpAfterMs = 2_000;
  },
  "calls give up at once": (world) => {
    world.stage.target.givesUpAfterMs = 0;
  },
  "time passes": (world, pick) => world.stage.advance(choose(times, pick) ?? 0),
  close: (world) => world.close(false),
  "close, leave running": (world) => world.close(true),
};

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

export class World implements Disposable {
  readonly stage: Stage = new Stage({ idleTimeoutMs });
  readonly claims: Claim[] = [];
  readonly #rejections = new Rejections();
  readonly #endedLives = new Set<string>();
  /** The starts and stops that took effect. */
  readonly #took = new WeakSet<object>();
  /** The looks that the last hint led to, or may have; undefined when something changed after it. */
  #lookedSince: (() => readonly Call<Sight>[]) | undefined;
  #openVerifies = 0;
  /** How many changes of state there had been when the target was last stopped. */
  #stopsDecided = 0;
  #closed: { readonly atMs: number; readonly done: Promise<void> } | undefined;
  #isClosed = false;

  constructor() {
    const { target } = this.stage;
    target.hintsChanges = false;
    target.onStop = () => this.#assertMayStop();
    target.onChange = (before) => {
      if (before.up) this.#endedLives.add(before.address);
      this.#lookedSince = undefined;
    };
    this.stage.activator.open();
  }

  get waiting(): Claim[] {
    return this.claims.filter((claim) => claim.isWaiting);
  }

  get held(): Claim[] {
    return this.claims.filter((claim) => claim.isHeld);
  }

  /** @param ticks how many promises may settle before the next step; undefined: all of them */
  async step(act: Act, pick: number, ticks: number | undefined): Promise<void> {
    await acts[act](this, pick);
    this.#assertAlways();
    if (ticks === undefined) return this.#settle();
    for (let tick = 0; tick < ticks; tick += 1) await Promise.resolve();
    this.#assertAlways();
  }

  hint(): void {
    const { target } = this.stage;
    const begun = openCalls(target.looks);
    const count = target.looks.length;
    this.#lookedSince = () => [...begun, ...target.looks.slice(count)];
    target.hint();
  }

  acquire(): void {
    this.claims.push(this.stage.claim());
  }

  verify(claim: Claim | undefined): void {
    if (claim?.lease === undefined) return;
    this.#openVerifies += 1;
    const over = (): void => {
      this.#openVerifies -= 1;
    };
    this.stage.activator.verify(claim.lease).then(over, over);
  }

  /** The target is up, though the call that starts it is not answered yet. */
  startTakesEffect(): void {
    const [call] = openCalls(this.stage.target.starts);
    if (call === undefined || this.#took.has(call)) return;
    this.#took.add(call);
    if (!this.stage.target.truth.up) this.stage.target.comeUp();
  }

  startAnswers(): void {
    const [call] = openCalls(this.stage.target.starts);
    if (call === undefined) return;
    // One that was up when the call came may have been on its way down: the answer does not tell.
    if (!call.before.up) this.startTakesEffect();
    call.resolve(call.before.up ? "already" : "started");
  }

  stopTakesEffect(): void {
    const [call] = openCalls(this.stage.target.stops);
    if (call === undefined || this.#took.has(call)) return;
    this.#took.add(call);
    if (this.stage.target.truth.up) this.stage.target.goDown();
  }

  stopAnswers(): void {
    this.stopTakesEffect();
    openCalls(this.stage.target.stops)[0]?.resolve();
  }

  /** With what is true now, or with what was true when it was asked. */
  lookAnswers(pick: number): void {
    const call = choose(openCalls(this.stage.target.looks), pick);
    call?.resolve(pick % 2 === 0 ? call.before : this.stage.target.truth);
  }

  /** Only the life that is probed can answer. */
  probeAnswers(pick: number): void {
    const call = choose(openCalls(this.stage.probes), pick);
    if (call?.before.up && call.before === this.stage.target.truth) call.resolve();
  }

  close(leaveRunning: boolean): void {
    const done = this.stage.activator.close({ drainMs, leaveRunning });
    if (this.#closed !== undefined) return assert.equal(done, this.#closed.done);
    this.#closed = { atMs: this.stage.clock.nowMs, done };
    void done.then(() => {
      this.#isClosed = true;
    });
  }

  /**
   * From here on everything works; when the last hint was lost, or could not be looked after, another one comes. Then
   * all that is left must come out right.
   */
  async calmDown(): Promise<void> {
    const { stage, claims } = this;
    stage.target.isPrompt = true;
    stage.target.answersLooks = true;
    stage.target.givesUpAfterMs = 0;
    stage.answersProbes = true;
    this.#answerEverything();
    const isInformed = this.#lookedSince?.().every((look) => !look.hasFailed);
    if (!isInformed) this.hint();
    await stage.advance(5_000);
    this.#answerEverything();
    await stage.advance(longestRetryMs);
    this.#assertSettled();
    assert.deepEqual(
      claims.filter((claim) => claim.isWaiting),
      [],
      "somebody waits for ever",
    );
    assert.equal(this.#openVerifies, 0);

    if (this.#closed === undefined) await this.#live();
    for (const claim of this.held) claim.release();
    await stage.advance(drainMs);
    this.#assertEnd();
  }

  [Symbol.dispose](): void {
    this.#rejections[Symbol.dispose]();
    this.stage[Symbol.dispose]();
  }

  /** An activator that is not closed goes on to do its work, whatever it went through. */
  async #live(): Promise<void> {
    const { stage } = this;
    assert.equal(stage.state, stage.target.truth.up ? "ready" : "asleep", "its state is not what is true");
    for (const { lease } of this.held)
      assert.ok(!this.#endedLives.has(lease?.address ?? ""), "holds a life that is over");
    for (const claim of this.held) claim.release();
    await stage.advance(idleTimeoutMs);
    assert.equal(stage.state, "asleep", "an unused target was not put to sleep");
    assert.equal(stage.target.truth.up, false);
    assert.equal(stage.sleeps.length, stage.path.filter((state) => state === "ready").length);

    await stage.advance(longestCooldownMs);
    this.acquire();
    await stage.settle();
    assert.equal(this.held.length, 1, "it does not serve any more");
    this.close(false);
    await stage.advance(drainMs - 1);
    assert.equal(this.held.length, 1, "cut before the deadline");
  }

  #answerEverything(): void {
    const { target, probes } = this.stage;
    for (const look of openCalls(target.looks)) look.resolve(target.truth);
    if (openCalls(target.starts).length > 0) target.finishStart();
    if (openCalls(target.stops).length > 0) target.finishStop();
    for (let pick = 0; pick < openCalls(probes).length; pick += 1) this.probeAnswers(pick);
  }

  async #settle(): Promise<void> {
    await this.stage.settle();
    this.#assertSettled();
  }

  /** When the target is stopped, nobody may hold it, and nobody may have been waiting for it when that was decided. */
  #assertMayStop(): void {
    assert.equal(this.held.length, 0, "stopped under a lease");
    const { starts, stops } = this.stage.target;
    const decided = this.stage.changes.at(-1);
    assert.equal(decided?.to, "stopping");
    const isRetry = this.#stopsDecided === this.stage.changes.length;
    this.#stopsDecided = this.stage.changes.length;
    // Whoever came after the decision waits for the end of it, and for the next start.
    const wasHeldBack = starts.at(-1)?.signal.aborted === true;
    if (!isRetry && !wasHeldBack) assert.equal(this.stage.activator.view.waiting, 0, "stopped although somebody waits");
    assert.equal(openCalls(starts).length, 0, "stopped in the middle of a start");
    assert.equal(openCalls(stops).length, 0, "stopped twice at a time");
  }

  #assertAlways(): void {
    const { starts, stops } = this.stage.target;
    const [starting, stopping] = [openCalls(starts).length, openCalls(stops).length];
    assert.ok(starting + stopping <= 1, `${starting} starts and ${stopping} stops at a time`);
    const { view } = this.stage.activator;
    assert.equal(view.idleDeadline !== undefined, view.state === "ready" && view.held === 0, "idle timer");
    if (view.state === "asleep") assert.equal(view.held + view.waiting, 0);
    if (view.held > 0) assert.ok(view.state === "ready" || view.state === "draining", `held while ${view.state}`);
    if (view.waiting > 0)
      assert.ok(view.state === "starting" || view.state === "stopping", `waits while ${view.state}`);
  }

  #assertSettled(): void {
    this.#rejections.throwAny();
    this.#assertAlways();
    const { view } = this.stage.activator;
    assert.equal(view.held, this.held.length);
    assert.equal(view.waiting, this.waiting.length);
    for (const claim of this.claims) this.#assertFair(claim);
  }

  /** Whoever was refused or cut was so for a reason that is true. */
  #assertFair({ error, lease, cutBy }: Claim): void {
    const { nowMs } = this.stage.clock;
    if (error !== undefined && error !== clientLeft) {
      assert.ok(error instanceof ActivationError, String(error));
      if (error instanceof ClosedError) assert.ok(this.#closed, "refused as closed");
      if (error instanceof ExitedError) assert.ok(this.#endedLives.size > 0, "refused as exited");
      if (error instanceof StartTimeoutError) assert.ok(nowMs >= policy.startTimeoutMs, "refused as too late");
      if (error instanceof CooldownError) assert.ok(this.stage.target.starts.length > 0, "refused without a failure");
    }
    if (lease === undefined || cutBy === undefined) return;
    if (cutBy instanceof ExitedError) assert.ok(this.#endedLives.has(lease.address), "cut although it lives");
    else assert.ok(this.#closed && nowMs >= this.#closed.atMs + drainMs, `cut by ${cutBy}`);
  }

  #assertEnd(): void {
    const { stage } = this;
    assert.ok(this.#isClosed, "close() does not resolve");
    assert.equal(stage.clock.pending, 0, "timers are left");
    assert.equal(stage.target.watchers, 0, "a watch is left");
    this.#assertSettled();
    let from = "asleep";
    for (const change of stage.changes) {
      assert.equal(change.from, from);
      assert.notEqual(change.to, from);
      from = change.to;
    }
    const lost = stage.activations.filter(({ adopted, outcome }) => adopted && outcome === "exited");
    const begun = stage.changes.filter(({ to }) => to === "starting");
    const givenBack = stage.changes.filter(({ event }) => event === "lost");
    assert.equal(stage.activations.length, begun.length + lost.length - givenBack.length, "activations told");
  }
}

function choose<T>(from: readonly T[], pick: number): T | undefined {
  return from[pick % from.length];
}
