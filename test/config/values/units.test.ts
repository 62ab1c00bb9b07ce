import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { formatDuration, parseDuration, UnitError } from "../../../src/config/values/units.ts";

suite("parseDuration()", () => {
  test("parses several units, as Go does", () => {
    assert.equal(parseDuration("500ms"), 500);
    assert.equal(parseDuration("1h30m"), 5_400_000);
    assert.equal(parseDuration("1.5s"), 1_500);
    assert.equal(parseDuration("0"), 0);
  });

  for (const text of ["", "90", "5d", "-5m", "5 m", "m", "5m!", "1e3s", "577h"]) {
    test(`rejects "${text}" with UnitError`, () => assert.throws(() => parseDuration(text), UnitError));
  }

  test("parses the output of formatDuration()", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 576 * 3_600_000 }), (ms) => parseDuration(formatDuration(ms)) === ms),
    );
  });
});
