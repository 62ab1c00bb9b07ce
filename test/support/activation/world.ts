/**
 * An activator under random steps: clients connect and leave, calls to the target succeed late, early or not at all,
 * events are lost or repeated, another process starts and stops the target. Invariants are checked after each step, and
 * at the end, when all calls work again.
 */
import assert from "node:assert/strict";
import type { ActivationPolicy } from "../../../src/activation/activation-policy.ts";
import type { Exit } from "../../../src/activation/errors.ts";
import type { TargetStatus } from "../../../src/activation/target.ts";
import { KeptError, TargetError, UnhealthyError } from "../../../src/errors.ts";
import { type Call, openCalls } from "./fake-target.ts";
import { clientLeft, type Limits, Referee } from "./referee.ts";
import { type Client, policy, Stage } from "./stage.ts";

const failure = new TargetError("failed", "it did not work");
const denial = new TargetError("denied", "it may not be done");
const kept = new KeptError("it is in use");
const exits: readonly (Exit | undefined)[] = [undefined, { code: 0 }, { code: 3 }, { code: 137, oomKilled: true }];
/** The idle timeout is shorter than an inspection may take, so that an inspection can outlast an activation. */
const limits: Omit<Limits, "hasSecondStep"> = {
  idleTimeoutMs: 3_000,
  startTimeoutMs: policy.startTimeoutMs,
  drainMs: 10_000,
  lateMs: 2_000,
};
const { idleTimeoutMs, drainMs } = limits;
const minUptimeMs = 4_000;
/** The second sleep step. */
const thenStop = { afterMs: 6_000, action: "stop" } as const;
const times = [1, 20, 500, 1_000, idleTimeoutMs, 5_000, 10_000, policy.startTimeoutMs];
/** The longest delays between two stops, and between two starts. */
const longestRetryMs = 30_000;
const longestCooldownMs = 60_000;

export const actNames = [
  "nothing",
  "acquire",
  "withdraw",
  "release",
  "release twice",
  "verify",
  "hint",
  "hint twice",
  "another process starts it",
  "another process pauses it",
  "another process unpauses it",
  "it goes down",
  "start takes effect",
  "start answers",
  "start fails",
  "stop takes effect",
  "stop answers",
  "stop fails",
  "stop is denied",
  "stop is rejected",
  "inspection answers",
  "inspection fails",
  "probe answers",
  "probe fails",
  "inspections hang",
  "inspections work",
  "measurement finds use",
  "measurement finds none",
  "measurement fails",
  "reload",
  "probes hang",
  "probes work",
  "calls end late after an abort",
  "calls end at once after an abort",
  "time passes",
  "close",
  "close, leave running",
] as const;
export type Act = (typeof actNames)[number];

/** The possible steps. `pick` selects the object of a step. */
const acts: Readonly<Record<Act, (world: World, pick: number) => Promise<void> | void>> = {
  nothing: () => {},
  acquire: (world) => world.acquire(),
  withdraw: (world, pick) => choose(world.waiting, pick)?.leave(clientLeft),
  release: (world, pick) => choose(world.held, pick)?.release(),
  "release twice": (world, pick) => choose(world.leases, pick)?.release(),
  verify: (world, pick) => world.verify(choose(world.held, pick)),
  hint: (world) => world.hint(),
  "hint twice": (world) => {
    world.hint();
    world.hint();
  },
  "another process starts it": (world) => world.stage.target.comeUp(),
  "another process pauses it": (world) => world.stage.target.pause(),
  "another process unpauses it": (world) => world.stage.target.unpause(),
  "it goes down": (world, pick) => world.stage.target.goDown(choose(exits, pick)),
  "start takes effect": (world) => world.startTakesEffect(),
  "start answers": (world) => world.startAnswers(),
  "start fails": (world) => choose(openCalls(world.stage.target.starts), 0)?.reject(failure),
  "stop takes effect": (world) => world.stopTakesEffect(),
  "stop answers": (world) => world.stopAnswers(),
  "stop fails": (world) => choose(openCalls(world.stage.target.stops), 0)?.reject(failure),
  "stop is denied": (world) => choose(openCalls(world.stage.target.stops), 0)?.reject(denial),
  "stop is rejected": (world) => choose(openCalls(world.stage.target.stops), 0)?.reject(kept),
  "inspection answers": (world, pick) => world.inspectionAnswers(pick),
  "inspection fails": (world, pick) => choose(openCalls(world.stage.target.inspections), pick)?.reject(failure),
  "probe answers": (world, pick) => world.probeAnswers(pick),
  "probe fails": (world, pick) => choose(openCalls(world.stage.probes), pick)?.reject(new UnhealthyError("no")),
  "measurement finds use": (world) => world.measured(["an exec session"]),
  "measurement finds none": (world) => world.measured([]),
  "measurement fails": (world) => world.measured(undefined),
  reload: (world, pick) => world.reload(pick),
  "inspections hang": (world) => {
    world.stage.target.answersInspections = false;
  },
  "inspections work": (world) => {
    world.stage.target.answersInspections = true;
  },
  "probes hang": (world) => {
    world.stage.answersProbes = false;
  },
  "probes work": (world) => {
    world.stage.answersProbes = true;
  },
  "calls end late after an abort": (world) => {
    world.stage.target.abortDelayMs = limits.lateMs;
  },
  "calls end at once after an abort": (world) => {
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
  readonly #policy: ActivationPolicy;
  /** The calls that took effect. */
  readonly #took = new WeakSet<object>();
  /** The inspections that the last event may have caused; undefined after a change of the status. */
  #inspectedSince: (() => readonly Call<TargetStatus>[]) | undefined;
  /** The measurements at the end of an idle timeout. Those at its beginning are a baseline. */
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

  /** @param ticks number of promise callbacks before the next step; undefined: all */
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

  /** The target is up, but the start call is not answered yet. */
  startTakesEffect(): void {
    const [call] = openCalls(this.stage.target.starts);
    if (call === undefined || this.#took.has(call)) return;
    this.#took.add(call);
    this.stage.target.applyStart();
  }

  startAnswers(): void {
    const [call] = openCalls(this.stage.target.starts);
    if (call === undefined) return;
    // The result does not show whether a target that was up was going down.
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

  /** Answers with the current status, or with the status at the time of the call. */
  inspectionAnswers(pick: number): void {
    const call = choose(openCalls(this.stage.target.inspections), pick);
    call?.resolve(pick % 2 === 0 ? call.before : this.stage.target.truth);
  }

  /** Only the probed run can answer. */
  probeAnswers(pick: number): void {
    const call = choose(openCalls(this.stage.probes), pick);
    if (call?.before.up && call.before === this.stage.target.truth) call.resolve();
  }

  /** @param uses undefined: the measurement fails */
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
   * From now on all calls succeed. If the last event was lost, or its inspection failed, another event follows. Then all
   * open work must finish correctly.
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
      "a client waits forever",
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

  /** Checks that the open activator continues to work. */
  async #live(): Promise<void> {
    const { stage } = this;
    const { truth } = stage.target;
    const name = truth.up ? "ready" : truth.pausedIncarnation === undefined ? "asleep" : "paused";
    assert.equal(stage.state, name, "the state differs from the status");
    for (const { lease } of this.held)
      assert.ok(!this.#referee.endedRuns.has(lease?.address ?? ""), "holds an ended run");
    for (const client of this.held) client.release();
    await stage.settle();
    // A target that another process paused stays paused.
    const staysPaused = stage.state === "paused" && !this.#hasSecondStep;
    // Direct use that was found before keeps the target awake for one more idle timeout.
    const wasMeasured = stage.target.measurements.length > 0;
    await stage.advance(Math.max(idleTimeoutMs, minUptimeMs) + (wasMeasured ? idleTimeoutMs : 0));
    if (this.#hasSecondStep) await stage.advance(thenStop.afterMs);
    assert.equal(stage.state, staysPaused ? "paused" : "asleep", "an unused target was not put to sleep");
    assert.equal(stage.target.truth.up, false);
    assert.ok(stage.sleeps.length >= stage.readyRuns.size, "each ready run ends in a sleep");

    await stage.advance(longestCooldownMs);
    this.acquire();
    await stage.settle();
    assert.equal(this.held.length, 1, "the target does not start again");
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
