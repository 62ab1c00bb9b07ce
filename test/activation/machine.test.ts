import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { InvariantError } from "../../src/activation/errors.ts";
import {
  type EffectName,
  type EventName,
  eventNames,
  type State,
  type StateName,
  stateNames,
  transition,
} from "../../src/activation/machine.ts";

/** The next state with its leases and effects. "never": an InvariantError. */
type Cell = readonly [to: StateName, leases: number, ...effects: EffectName[]] | "never";

const state = (name: StateName, leases = 0, closing = false): State => ({ name, leases, closing });

/** One row for each kind of state, one cell for each event: a new event needs a decision in each row. */
const grid: readonly { readonly from: State; readonly cells: Record<EventName, Cell> }[] = [
  {
    from: state("asleep"),
    cells: {
      acquire: ["starting", 1, "start"],
      release: "never",
      found: ["starting", 0, "adopt"],
      started: "never",
      failed: "never",
      idle: "never",
      paused: ["paused", 0, "arm"],
      exited: ["asleep", 0],
      lost: "never",
      stopped: "never",
      denied: "never",
      kept: "never",
      close: ["asleep", 0],
      deadline: "never",
    },
  },
  {
    from: state("asleep", 0, true),
    cells: {
      acquire: ["asleep", 0, "reject-newcomer"],
      release: "never",
      found: ["asleep", 0],
      started: "never",
      failed: "never",
      idle: "never",
      paused: ["asleep", 0],
      exited: ["asleep", 0],
      lost: "never",
      stopped: "never",
      denied: "never",
      kept: "never",
      close: ["asleep", 0],
      deadline: "never",
    },
  },
  {
    from: state("paused"),
    cells: {
      acquire: ["starting", 1, "disarm", "start"],
      release: "never",
      found: ["starting", 0, "disarm", "adopt"],
      started: "never",
      failed: "never",
      idle: ["stopping", 0, "sleep"],
      paused: ["paused", 0],
      exited: ["asleep", 0, "disarm"],
      lost: "never",
      stopped: "never",
      denied: "never",
      kept: "never",
      close: ["stopping", 0, "disarm", "stop"],
      deadline: "never",
    },
  },
  {
    from: state("starting", 2),
    cells: {
      acquire: ["starting", 3],
      release: ["starting", 1],
      found: ["starting", 2],
      started: ["ready", 2, "grant"],
      failed: ["stopping", 0, "reject-waiting", "stop"],
      idle: "never",
      paused: "never",
      exited: ["stopping", 0, "reject-waiting", "abort", "stop"],
      lost: ["starting", 2, "start"],
      stopped: "never",
      denied: "never",
      kept: "never",
      close: ["stopping", 0, "reject-waiting", "abort", "stop"],
      deadline: "never",
    },
  },
  {
    from: state("starting", 0),
    cells: {
      acquire: ["starting", 1],
      release: "never",
      found: ["starting", 0],
      started: ["ready", 0, "arm"],
      failed: ["stopping", 0, "reject-waiting", "stop"],
      idle: "never",
      paused: "never",
      exited: ["stopping", 0, "reject-waiting", "abort", "stop"],
      lost: ["asleep", 0],
      stopped: "never",
      denied: "never",
      kept: "never",
      close: ["stopping", 0, "reject-waiting", "abort", "stop"],
      deadline: "never",
    },
  },
  {
    from: state("ready", 0),
    cells: {
      acquire: ["ready", 1, "disarm", "grant"],
      release: "never",
      found: ["ready", 0],
      started: "never",
      failed: "never",
      idle: ["stopping", 0, "sleep"],
      paused: ["paused", 0, "disarm", "arm"],
      exited: ["asleep", 0, "disarm", "cut"],
      lost: "never",
      stopped: "never",
      denied: "never",
      kept: "never",
      close: ["stopping", 0, "disarm", "stop"],
      deadline: "never",
    },
  },
  {
    from: state("ready", 1),
    cells: {
      acquire: ["ready", 2, "disarm", "grant"],
      release: ["ready", 0, "arm"],
      found: ["ready", 1],
      started: "never",
      failed: "never",
      idle: "never",
      paused: ["ready", 1],
      exited: ["asleep", 0, "disarm", "cut"],
      lost: "never",
      stopped: "never",
      denied: "never",
      kept: "never",
      close: ["draining", 1, "disarm"],
      deadline: "never",
    },
  },
  {
    from: state("ready", 2),
    cells: {
      acquire: ["ready", 3, "disarm", "grant"],
      release: ["ready", 1],
      found: ["ready", 2],
      started: "never",
      failed: "never",
      idle: "never",
      paused: ["ready", 2],
      exited: ["asleep", 0, "disarm", "cut"],
      lost: "never",
      stopped: "never",
      denied: "never",
      kept: "never",
      close: ["draining", 2, "disarm"],
      deadline: "never",
    },
  },
  {
    from: state("draining", 1, true),
    cells: {
      acquire: ["draining", 1, "reject-newcomer"],
      release: ["stopping", 0, "stop"],
      found: ["draining", 1],
      started: "never",
      failed: "never",
      idle: "never",
      paused: ["draining", 1],
      exited: ["asleep", 0, "cut"],
      lost: "never",
      stopped: "never",
      denied: "never",
      kept: "never",
      close: ["draining", 1],
      deadline: ["stopping", 0, "cut", "stop"],
    },
  },
  {
    from: state("draining", 2, true),
    cells: {
      acquire: ["draining", 2, "reject-newcomer"],
      release: ["draining", 1],
      found: ["draining", 2],
      started: "never",
      failed: "never",
      idle: "never",
      paused: ["draining", 2],
      exited: ["asleep", 0, "cut"],
      lost: "never",
      stopped: "never",
      denied: "never",
      kept: "never",
      close: ["draining", 2],
      deadline: ["stopping", 0, "cut", "stop"],
    },
  },
  {
    from: state("stopping", 0),
    cells: {
      acquire: ["stopping", 1, "hurry"],
      release: "never",
      found: ["stopping", 0],
      started: "never",
      failed: ["stopping", 0, "stop-again"],
      idle: "never",
      paused: ["paused", 0, "arm"],
      exited: ["stopping", 0],
      lost: "never",
      stopped: ["asleep", 0],
      denied: ["stopping", 0, "stop-again"],
      kept: ["starting", 0, "adopt"],
      close: ["stopping", 0, "reject-waiting"],
      deadline: "never",
    },
  },
  {
    from: state("stopping", 2),
    cells: {
      acquire: ["stopping", 3, "hurry"],
      release: ["stopping", 1],
      found: ["stopping", 2],
      started: "never",
      failed: ["stopping", 2, "stop-again"],
      idle: "never",
      paused: ["starting", 2, "start"],
      exited: ["stopping", 2],
      lost: "never",
      stopped: ["starting", 2, "start"],
      denied: ["starting", 2, "adopt"],
      kept: ["starting", 2, "adopt"],
      close: ["stopping", 0, "reject-waiting"],
      deadline: "never",
    },
  },
  {
    from: state("stopping", 0, true),
    cells: {
      acquire: ["stopping", 0, "reject-newcomer"],
      release: "never",
      found: ["stopping", 0],
      started: "never",
      failed: ["asleep", 0],
      idle: "never",
      paused: ["stopping", 0, "stop"],
      exited: ["stopping", 0],
      lost: "never",
      stopped: ["asleep", 0],
      denied: ["asleep", 0],
      kept: ["asleep", 0],
      close: ["stopping", 0, "reject-waiting"],
      deadline: "never",
    },
  },
];

suite("transition()", () => {
  for (const { from, cells } of grid) {
    for (const event of eventNames) {
      const cell = cells[event];
      const where = `${from.name}, ${from.leases} leases${from.closing ? ", closing" : ""}`;
      test(`${event} in ${where}`, () => {
        if (cell === "never") {
          assert.throws(() => transition(from, event), InvariantError);
          return;
        }
        const [name, leases, ...effects] = cell;
        const result = transition(from, event);
        assert.deepEqual(result.state, { name, leases, closing: from.closing || event === "close" });
        assert.deepEqual(result.effects, effects);
      });
    }
  }

  test("is tested in each state", () => {
    assert.deepEqual([...new Set(grid.map(({ from }) => from.name))].sort(), [...stateNames].sort());
  });
});
