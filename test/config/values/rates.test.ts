import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { formatRate, parseRate } from "../../../src/config/values/rates.ts";
import { UnitError } from "../../../src/config/values/units.ts";

suite("parseRate()", () => {
  test("parses a count per second, minute or hour", () => {
    assert.deepEqual(parseRate("50/s"), { count: 50, perMs: 1_000 });
    assert.deepEqual(parseRate("10/m"), { count: 10, perMs: 60_000 });
    assert.deepEqual(parseRate(" 100 / h"), { count: 100, perMs: 3_600_000 });
  });

  test("parses the output of formatRate()", () => {
    for (const text of ["50/s", "10/m", "100/h"]) assert.equal(formatRate(parseRate(text)), text);
  });

  const bad: Readonly<Record<string, RegExp>> = {
    "50": /not a rate: write it as "50\/s", "10\/m" or "100\/h"/,
    "50/": /not a rate/,
    "50/d": /not a rate/,
    "50/10s": /not a rate/,
    "0/s": /rejects all clients: write "1\/s"/,
    "50/min": /not a rate/,
    "1.5/s": /not a rate/,
    "-1/s": /not a rate/,
    "50 10": /not a rate/,
    "": /not a rate/,
    "1000001/s": /more than 1000000/,
  };
  for (const [text, message] of Object.entries(bad)) {
    test(`rejects "${text}" with a remedy`, () => {
      assert.throws(
        () => parseRate(text),
        (error) => error instanceof UnitError && message.test(error.message),
      );
    });
  }

  test("throws UnitError only, for random text", () => {
    const parts = fc.array(fc.constantFrom("1", "0", "/", "s", "m", " ", "-", "."), { maxLength: 6 });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          parts.map((list) => list.join("")),
        ),
        (text) => {
          try {
            parseRate(text);
          } catch (error) {
            assert.ok(error instanceof UnitError, String(error));
          }
        },
      ),
      { numRuns: 10_000 },
    );
  });
});
