/**
 * An activator in a world in which anything may happen at any time, one random step after another: clients come and go,
 * calls to the target succeed late, early or not at all, hints get lost or come twice, somebody else starts and stops
 * the target. What must hold all the same is asserted after each step, and at the end, when the world has calmed down.
 */
import assert from "node:assert/strict";
import type { Exit } from "../../../src/activation/errors.ts";
import type { Policy } from "../../../src/activation/policy.ts";
import type { TargetStatus } from "../../../src/activation/target.ts";
import { KeptError, TargetError, UnhealthyError } from "../../../src/errors.ts";
import { type Call, openCalls } from "./fake-target.ts";
import { clientLeft, type Limits, Referee } from "./referee.ts";
import { type Client, policy, Stage } from "./stage.ts";

const failure = new TargetError("failed", "it did not work");
const denial = new TargetError("denied", "it may not be done");
const kept = new KeptError("it is in use");
const exits: readonly (Exit | undefined)[] = [undefined, { code: 0 }, { code: 3 }, { code: 137, oomKilled: true }];
/** The idle timeout is shorter than a look may take, so that a look can outlast a whole activation. */
const limits: Omit<Limits, "hasSecondStep"> = {
  idleTimeoutMs: 3_000,
  startTimeoutMs: policy.startTimeoutMs,
  drainMs: 10_000,
  lateMs: 2_000,
};
const { idleTimeoutMs, drainMs } = limits;
const minUptimeMs = 4_000;
/** After a pause, in worlds in which a target sleeps in two steps. */
const thenStop = { afterMs: 6_000, action: "stop" } as const;
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
  "somebody pauses it",
  "somebody thaws it",
  "it goes down",
  "start takes effect",
  "start answers",
  "start fails",
  "stop takes effect",
  "stop answers",
  "stop fails",
  "stop is denied",
  "stop is not made",
  "look answers",
  "look fails",
  "probe answers",
  "probe fails",
  "looks hang",
  "looks work",
  "measurement finds use",
  "measurement finds none",
  "measurement fails",
  "somebody reloads",
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
  "release twice": (world, pick) => choose(world.leases, pick)?.release(),
  verify: (world, pick) => world.verify(choose(world.held, pick)),
  hint: (world) => world.hint(),
  "hint twice": (world) => {
    world.hint();
    world.hint();
  },
  "somebody starts it": (world) => world.stage.target.comeUp(),
  "somebody pauses it": (world) => world.stage.target.pause(),
  "somebody thaws it": (world) => world.stage.target.unpause(),
  "it goes down": (world, pick) => world.stage.target.goDown(choose(exits, pick)),
  "start takes effect": (world) => world.startTakesEffect(),
  "start answers": (world) => world.startAnswers(),
  "start fails": (world) => choose(openCalls(world.stage.target.starts), 0)?.reject(failure),
  "stop takes effect": (world) => world.stopTakesEffect(),
  "stop answers": (world) => world.stopAnswers(),
  "stop fails": (world) => choose(openCalls(world.stage.target.stops), 0)?.reject(failure),
  "stop is denied": (world) => choose(openCalls(world.stage.target.stops), 0)?.reject(denial),
  "stop is not made": (world) => choose(openCalls(world.stage.target.stops), 0)?.reject(kept),
  "look answers": (world, pick) => world.inspectionAnswers(pick),
  "look fails": (world, pick) => choose(openCalls(world.stage.target.inspections), pick)?.reject(failure),
  "probe answers": (world, pick) => world.probeAnswers(pick),
  "probe fails": (world, pick) => choose(openCalls(world.stage.probes), pick)?.reject(new UnhealthyError("no")),
  "measurement finds use": (world) => world.measured(["an exec session"]),
  "measurement finds none": (world) => world.measured([]),
  "measurement fails": (world) => world.measured(undefined),
  "somebody reloads": (world, pick) => world.reload(pick),
  "looks hang": (world) => {
    world.stage.target.answersInspections = false;
  },
  "looks work": (world) => {
    world.stage.target.answersInspections = true;
  },
  "probes hang": (world) => {
    world.stage.answersProbes = false;
  },
  "probes work": (world) => {
    world.stage.answersProbes = true;
  },
  "calls give up late": (world) => {
    world.stage.target.abortDelayMs = limits.lateMs;
  },
  "calls give up at once": (world) => {
    world.stage.target.abortDelayMs = 0;
  },
  "time passes": (world, pick) => world.stage.advance(choose(times, pick) ?? 0),
  close: (world) => world.close(false),
  "close, leave running": (world) => world.close(true),
};

export class World implements Disposable {
  readonly stage: Stage;
  readonly leases: Client[] = [];
  readonly #referee: Referee;
  readonly #hasSecondStep: boolean;
  readonly #policy: Policy;
  /** The starts and stops that took effect. */
  readonly #took = new WeakSet<object>();
  /** The looks that the last hint led to, or may have; undefined when something changed after it. */
  #inspectedSince: (() => readonly Call<TargetStatus>[]) | undefined;
  /** The measurements at the end of an idle timeout. Those at its beginning are only compared with. */
  readonly #decisive = new WeakSet<object>();
  #openVerifies = 0;
  #isClosed = false;

  constructor(hasSecondStep: boolean, isMeasured: boolean) {
    this.#hasSecondStep = hasSecondStep;
    this.#policy = {
      ...policy,
      idleTimeoutMs,
      minUptimeMs,
      ...(hasSecondStep && { sleep: "pause", thenStop: thenStop }),
    };
    this.stage = new Stage(this.#policy);
    if (isMeasured) this.stage.target.measureUse();
    this.#referee = new Referee(this.stage, this.leases, { ...limits, hasSecondStep });
    const { target } = this.stage;
    target.hintsChanges = false;
    target.onRunOver = (address) => this.#referee.endedRuns.add(address);
    target.onMeasurement = (call) => {
      if (this.stage.activator.view.idleDeadline === undefined) this.#decisive.add(call);
    };
    target.onChange = () => {
      this.#inspectedSince = undefined;
    };
    this.stage.activator.open();
  }

  get waiting(): Client[] {
    return this.leases.filter((client) => client.isWaiting);
  }

  get held(): Client[] {
    return this.leases.filter((client) => client.isHeld);
  }

  /** @param ticks how many promises may settle before the next step; undefined: all of them */
  async step(act: Act, pick: number, ticks: number | undefined): Promise<void> {
    this.#referee.recordUse();
    await acts[act](this, pick);
    this.#referee.recordUse();
    this.#referee.assertAlways();
    if (ticks === undefined) return this.#settle();
    for (let tick = 0; tick < ticks; tick += 1) await Promise.resolve();
    this.#referee.assertAlways();
  }

  hint(): void {
    const { target } = this.stage;
    const begun = openCalls(target.inspections);
    const count = target.inspections.length;
    this.#inspectedSince = () => [...begun, ...target.inspections.slice(count)];
    target.hint();
  }

  acquire(): void {
    this.leases.push(this.stage.connect((client) => this.#referee.assertInTurn(client)));
  }

  verify(client: Client | undefined): void {
    if (client?.lease === undefined) return;
    this.#openVerifies += 1;
    const over = (): void => {
      this.#openVerifies -= 1;
    };
    this.stage.activator.verify(client.lease).then(over, over);
  }

  /** The target is up, though the call that starts it is not answered yet. */
  startTakesEffect(): void {
    const [call] = openCalls(this.stage.target.starts);
    if (call === undefined || this.#took.has(call)) return;
    this.#took.add(call);
    this.stage.target.applyStart();
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
    this.stage.target.applyStop();
  }

  stopAnswers(): void {
    this.stopTakesEffect();
    openCalls(this.stage.target.stops)[0]?.resolve();
  }

  /** With what is true now, or with what was true when it was asked. */
  inspectionAnswers(pick: number): void {
    const call = choose(openCalls(this.stage.target.inspections), pick);
    call?.resolve(pick % 2 === 0 ? call.before : this.stage.target.truth);
  }

  /** Only the life that is probed can answer. */
  probeAnswers(pick: number): void {
    const call = choose(openCalls(this.stage.probes), pick);
    if (call?.before.up && call.before === this.stage.target.truth) call.resolve();
  }

  /** @param uses undefined: it fails */
  measured(uses: readonly string[] | undefined): void {
    const [call] = openCalls(this.stage.target.measurements);
    if (call === undefined) return;
    const isUse = uses === undefined || uses.length > 0;
    if (isUse && this.#decisive.has(call) && !call.signal.aborted) this.#referee.recordDirectUse();
    if (uses === undefined) call.reject(failure);
    else call.resolve(uses);
  }

  reload(pick: number): void {
    const directTrafficBytes = pick % 2 === 0 ? undefined : 1_024;
    this.stage.activator.configure({
      probe: this.stage.probe,
      services: ["web"],
      policy: { ...this.#policy, ...(directTrafficBytes !== undefined && { directTrafficBytes }) },
    });
  }

  close(leaveRunning: boolean): void {
    const changes = this.stage.changes.length;
    const done = this.stage.activator.close({ drainMs, leaveRunning });
    if (this.#referee.closing !== undefined) return assert.equal(done, this.#referee.closing.done);
    this.#referee.closing = { atMs: this.stage.clock.nowMs, leaveRunning, changes, done };
    void done.then(() => {
      this.#isClosed = true;
    });
  }

  /**
   * From here on everything works; when the last hint was lost, or could not be looked after, another one comes. Then
   * all that is left must come out right.
   */
  async calmDown(): Promise<void> {
    const { stage, leases } = this;
    stage.target.isPrompt = true;
    stage.target.answersInspections = true;
    stage.target.abortDelayMs = 0;
    stage.answersProbes = true;
    this.#answerEverything();
    const isInformed = this.#inspectedSince?.().every((inspection) => !inspection.hasFailed);
    if (!isInformed) this.hint();
    await stage.advance(5_000);
    this.#answerEverything();
    await stage.advance(longestRetryMs);
    this.#referee.assertSettled();
    assert.deepEqual(
      leases.filter((client) => client.isWaiting),
      [],
      "somebody waits for ever",
    );
    assert.equal(this.#openVerifies, 0);

    if (this.#referee.closing === undefined) await this.#live();
    for (const client of this.held) client.release();
    await stage.advance(drainMs);
    assert.ok(this.#isClosed, "close() does not resolve");
    this.#referee.assertEnd();
  }

  [Symbol.dispose](): void {
    this.#referee[Symbol.dispose]();
    this.stage[Symbol.dispose]();
  }

  /** An activator that is not closed goes on to do its work, whatever it went through. */
  async #live(): Promise<void> {
    const { stage } = this;
    const { truth } = stage.target;
    const name = truth.up ? "ready" : truth.pausedIncarnation === undefined ? "asleep" : "paused";
    assert.equal(stage.state, name, "its state is not what is true");
    for (const { lease } of this.held)
      assert.ok(!this.#referee.endedRuns.has(lease?.address ?? ""), "holds a life that is over");
    for (const client of this.held) client.release();
    await stage.settle();
    // What somebody else paused stays as it is.
    const staysPaused = stage.state === "paused" && !this.#hasSecondStep;
    // Direct use that was found before the calm keeps it awake for one more idle timeout.
    const wasMeasured = stage.target.measurements.length > 0;
    await stage.advance(Math.max(idleTimeoutMs, minUptimeMs) + (wasMeasured ? idleTimeoutMs : 0));
    if (this.#hasSecondStep) await stage.advance(thenStop.afterMs);
    assert.equal(stage.state, staysPaused ? "paused" : "asleep", "an unused target was not put to sleep");
    assert.equal(stage.target.truth.up, false);
    assert.ok(stage.sleeps.length >= stage.readyRuns.size, "each life that was ready ends in a sleep");

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
    for (const inspection of openCalls(target.inspections)) inspection.resolve(target.truth);
    for (const measurement of openCalls(target.measurements)) measurement.resolve([]);
    if (openCalls(target.starts).length > 0) target.finishStart();
    if (openCalls(target.stops).length > 0) target.finishStop();
    for (let pick = 0; pick < openCalls(probes).length; pick += 1) this.probeAnswers(pick);
  }

  async #settle(): Promise<void> {
    await this.stage.settle();
    this.#referee.assertSettled();
  }
}

function choose<T>(from: readonly T[], pick: number): T | undefined {
  return from[pick % from.length];
}
