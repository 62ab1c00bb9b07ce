import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { reasonsAgainstStop, type Standing, type StopCase } from "../../src/targets/stop-rule.ts";

const worker = { name: "worker", how: "depends on it" };
const daemon = { name: "sidecar", how: "uses its network" };
const OTHERS = "another program started it, and no service names it";
const REMOVED = "a stop would remove it, because it was created with --rm";

/** Reasons that follow from the standing alone. */
const standings: Readonly<Record<Standing, readonly string[]>> = {
  named: [],
  created: [],
  started: [],
  found: [OTHERS],
};

type Rest = Omit<StopCase, "standing">;

/** Reasons that do not depend on the standing. */
const rows: readonly { readonly rest: Rest; readonly reasons: readonly string[] }[] = [
  { rest: { isAutoRemoved: false, dependents: [] }, reasons: [] },
  { rest: { isAutoRemoved: true, dependents: [] }, reasons: [REMOVED] },
  { rest: { isAutoRemoved: false, dependents: [worker] }, reasons: ["container worker depends on it"] },
  {
    rest: { isAutoRemoved: true, dependents: [worker, daemon] },
    reasons: [REMOVED, "container worker depends on it", "container sidecar uses its network"],
  },
];

suite("reasonsAgainstStop()", () => {
  for (const [standing, own] of Object.entries(standings) as [Standing, readonly string[]][]) {
    for (const { rest, reasons } of rows) {
      const expected = [...own, ...reasons];
      test(`returns for a ${standing} container: ${expected.join("; ") || "no reason"}`, () => {
        assert.deepEqual(reasonsAgainstStop({ standing, ...rest }), expected);
      });

      test(`returns for a ${standing} container that wakeport needs only this reason`, () => {
        assert.deepEqual(reasonsAgainstStop({ standing, ...rest, essential: "runs in it" }), ["wakeport runs in it"]);
      });
    }
  }
});
