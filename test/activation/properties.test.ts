/**
 * The states of a target under random events. WAKEPORT_TEST_RUNS sets the number of sequences (100000 takes a few
 * minutes), WAKEPORT_TEST_SEED replays a failure.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { InvariantError } from "../../src/activation/errors.ts";
import {
  type EffectName,
  type EventName,
  eventNames,
  initialState,
  type State,
  transition,
} from "../../src/activation/machine.ts";
import { randomRuns } from "../support/activation/random.ts";
import { type Act, actNames, World } from "../support/activation/world.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const length = { minLength: 30, maxLength: 80, size: "max" } as const;

suite("transition()", () => {
  test("keeps leases, timer, starts and stops consistent in any sequence of events, or raises InvariantError", (t) => {
    const sequences = fc.array(fc.constantFrom(...eventNames), length);
    fc.assert(
      fc.property(sequences, (events) => {
        const books = new Books();
        for (const event of events) books.enter(event);
      }),
      randomRuns(t, 2_000),
    );
  });
});

suite("Activator", () => {
  test("loses no lease and stops no target during a lease, in any order of events", async (t) => {
    const property = fc.asyncProperty(
      schedules(),
      fc.boolean(),
      fc.boolean(),
      async ({ steps }, hasSecondStep, isMeasured) => {
        using world = new World(hasSecondStep, isMeasured);
        for (const { act, pick, ticks } of steps) await world.step(act, pick, ticks);
        await world.calmDown();
      },
    );
    await fc.assert(property, { ...randomRuns(t, 1_000), examples: [...found] });
  });
});

/** Counts the effects of a target's events, and finds contradictions. */
class Books {
  #state: State = Object.freeze(initialState);
  #waiting = 0;
  #held = 0;
  #isArmed = false;
  #isStarting = false;
  #isStopping = false;

  enter(event: EventName): void {
    if (!this.#isPossible(event)) {
      assert.throws(() => transition(this.#state, event), InvariantError);
      return;
    }
    const before = this.#state;
    const { state, effects } = transition(before, event);
    this.#state = Object.freeze(state);
    this.#count(event, before);
    for (const effect of effects) this.#apply(effect, event);
    assert.equal(state.closing, before.closing || event === "close");
    this.#assertBalanced();
  }

  #isPossible(event: EventName): boolean {
    switch (event) {
      case "acquire":
      case "found":
      case "exited":
      case "close":
        return true;
      case "release":
        return this.#waiting + this.#held > 0;
      case "started":
      case "lost":
        return this.#isStarting;
      case "failed":
        return this.#isStarting || this.#isStopping;
      case "stopped":
      case "denied":
      case "kept":
        return this.#isStopping;
      case "paused":
        return !this.#isStarting;
      case "idle":
        return this.#isArmed;
      case "deadline":
        return this.#state.name === "draining";
    }
  }

  #count(event: EventName, before: State): void {
    if (event === "acquire") this.#waiting += 1;
    if (event === "release") {
      if (this.#held > 0) this.#held -= 1;
      else this.#waiting -= 1;
    }
    if (event === "idle") this.#isArmed = false;
    if (
      event === "stopped" ||
      event === "denied" ||
      event === "kept" ||
      event === "paused" ||
      (event === "failed" && before.name === "stopping")
    )
      this.#isStopping = false;
    if (event === "started" || event === "lost" || (event === "failed" && before.name === "starting")) {
      this.#isStarting = false;
    }
  }

  #apply(effect: EffectName, event: EventName): void {
    const isBusy = this.#isStarting || this.#isStopping;
    switch (effect) {
      case "start":
      case "adopt":
        assert.ok(!isBusy);
        this.#isStarting = true;
        return;
      case "abort":
        assert.ok(this.#isStarting);
        this.#isStarting = false;
        return;
      case "sleep":
      case "stop":
        assert.ok(!isBusy);
        assert.equal(this.#waiting + this.#held, 0, "stopped during a lease");
        this.#isStopping = true;
        return;
      case "stop-again":
        assert.ok(!isBusy);
        this.#isStopping = true;
        return;
      case "hurry":
        assert.ok(this.#isStopping);
        return;
      case "grant":
        assert.ok(this.#waiting > 0);
        this.#held += this.#waiting;
        this.#waiting = 0;
        return;
      case "reject-newcomer":
        assert.equal(event, "acquire");
        this.#waiting -= 1;
        return;
      case "reject-waiting":
        this.#waiting = 0;
        return;
      case "cut":
        this.#held = 0;
        return;
      case "arm":
        assert.ok(!this.#isArmed);
        this.#isArmed = true;
        return;
      case "disarm":
        this.#isArmed = false;
        return;
    }
  }

  #assertBalanced(): void {
    const { name, leases, closing } = this.#state;
    assert.equal(leases, this.#waiting + this.#held);
    assert.ok(this.#waiting >= 0 && this.#held >= 0);
    assert.equal(this.#isStarting, name === "starting");
    assert.equal(this.#isStopping, name === "stopping");
    assert.equal(this.#isArmed, (name === "ready" || name === "paused") && leases === 0);
    if (this.#held > 0) assert.ok(name === "ready" || name === "draining");
    if (this.#waiting > 0) assert.ok(name === "starting" || name === "stopping");
    if (name === "draining") assert.ok(closing && this.#held > 0);
    if (closing) assert.ok(name !== "starting" && name !== "ready");
  }
}

interface Step {
  readonly act: Act;
  readonly pick: number;
  readonly ticks: number | undefined;
}

/** A sequence of steps. Its text omits the steps in which nothing happens. */
class Schedule {
  readonly steps: readonly Step[];

  constructor(steps: readonly Step[]) {
    this.steps = steps;
  }

  [fc.toStringMethod](): string {
    const reported = this.steps.filter(({ act }) => act !== "nothing");
    return reported
      .map(({ act, pick, ticks }) => `\n  ${act} (${pick})${ticks === undefined ? "" : ` +${ticks}`}`)
      .join("");
  }
}

function scheduleOf(...acts: readonly (Act | Step)[]): Schedule {
  return new Schedule(acts.map((act) => (typeof act === "string" ? { act, pick: 0, ticks: undefined } : act)));
}

/** Schedules that failed once, with `hasSecondStep` and `isMeasured`. */
const found: readonly [Schedule, boolean, boolean][] = [
  // A check of the upstream and an inspection overlap, and the older status arrives last.
  [
    scheduleOf(
      "acquire",
      "start answers",
      "inspections hang",
      "verify",
      "another process pauses it",
      "hint",
      { act: "inspection answers", pick: 3, ticks: undefined },
      "inspection answers",
    ),
    false,
    false,
  ],
  // Inspections of a start attempt and of the inspector overlap, and an older status arrives last.
  [
    scheduleOf(
      "another process starts it",
      "inspections hang",
      "hint twice",
      "inspection answers",
      "probes hang",
      "another process starts it",
      "hint",
      "inspections work",
      "acquire",
      { act: "inspection answers", pick: 0, ticks: 2 },
    ),
    false,
    false,
  ],
  // A found run is adopted while the aborted start call of the run before is still open, then the activator closes.
  [
    scheduleOf(
      "calls end late after an abort",
      "acquire",
      "another process starts it",
      { act: "hint twice", pick: 0, ticks: 0 },
      "another process starts it",
      "close",
    ),
    false,
    false,
  ],
  // A probe of the run before succeeds after an inspection has shown the next run.
  [
    scheduleOf(
      "probes hang",
      "calls end late after an abort",
      "another process starts it",
      "acquire",
      { act: "hint", pick: 0, ticks: 0 },
      "another process starts it",
      "hint",
    ),
    false,
    false,
  ],
];

function schedules(): fc.Arbitrary<Schedule> {
  const step = fc.record({
    act: fc.oneof(
      { withCrossShrink: true },
      ...actNames.map((act) => ({ arbitrary: fc.constant(act), weight: weightOf(act) })),
    ),
    pick: fc.nat(7),
    // Usually all promises settle between two steps.
    ticks: fc.option(fc.nat(6), { nil: undefined, freq: 2 }),
  });
  return fc.array(step, length).map((steps) => new Schedule(steps));
}

/** Usual events are frequent, failures less frequent, and the end of the test is rare. */
function weightOf(act: Act): number {
  switch (act) {
    case "acquire":
    case "release":
    case "start answers":
    case "stop answers":
    case "probe answers":
    case "inspection answers":
    case "measurement finds use":
    case "measurement finds none":
    case "time passes":
      return 40;
    case "start fails":
    case "stop fails":
    case "stop is denied":
    case "stop is rejected":
    case "inspection fails":
    case "probe fails":
      return 5;
    case "close":
    case "close, leave running":
      return 1;
    default:
      return 12;
  }
}
