import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { formatTimes, parseTimes, parseTimeZone } from "../../../src/config/values/access-times.ts";
import { UnitError } from "../../../src/config/values/units.ts";

const all = [0, 1, 2, 3, 4, 5, 6];
const whole = [{ from: 0, to: 1440 }];

suite("parseTimes()", () => {
  const good: Readonly<Record<string, object>> = {
    "mon-fri 08:00-20:00": { days: [1, 2, 3, 4, 5], spans: [{ from: 480, to: 1200 }] },
    "22:00-06:00": { days: all, spans: [{ from: 1320, to: 1800 }] },
    "sat,sun": { days: [0, 6], spans: whole },
    "00:00-24:00": { days: all, spans: whole },
    "12:00-24:00": { days: all, spans: [{ from: 720, to: 1440 }] },
    "22:00-00:00": { days: all, spans: [{ from: 1320, to: 1440 }] },
    "mon-fri 08:00-12:00,13:00-17:00": {
      days: [1, 2, 3, 4, 5],
      spans: [
        { from: 480, to: 720 },
        { from: 780, to: 1020 },
      ],
    },
    "fri-mon": { days: [0, 1, 5, 6], spans: whole },
    "mon,wed-thu,mon": { days: [1, 3, 4], spans: whole },
    "  Mon - Fri   8:00 - 9:30 ": { days: [1, 2, 3, 4, 5], spans: [{ from: 480, to: 570 }] },
    "sun-sat": { days: all, spans: whole },
    "mon-mon": { days: [1], spans: whole },
  };
  for (const [text, expected] of Object.entries(good)) {
    test(`parses "${text}" and the output of formatTimes() for it`, () => {
      const times = parseTimes(text);
      assert.deepEqual(times, expected);
      assert.deepEqual(parseTimes(formatTimes(times)), expected);
    });
  }

  const bad: Readonly<Record<string, RegExp>> = {
    "": /the entry is empty/,
    " ": /the entry is empty/,
    "monday 08:00-20:00": /"monday" is not a day: did you mean "mon"\?/,
    "thr-fri": /"thr" is not a day: did you mean "thu"\?/,
    someday: /not a day: use mon, tue/,
    "08:00-20:00 mon-fri": /write days before times/,
    "mon-fri 08:00-12:00 13:00-17:00": /too many parts/,
    "mon-fri-sun": /not a range of days/,
    "mon,,fri": /a day is missing/,
    "mon-": /a day is missing/,
    "08:00": /write start and end/,
    "8-20": /"8" is not a time of day: write "08:00"/,
    "08:00-25:00": /"25:00" is not a time of day: use 00:00 to 24:00/,
    "08:00-24:01": /"24:01" is not a time of day/,
    "08:60-10:00": /"08:60" is not a time of day/,
    "24:00-06:00": /write 00:00 for the start/,
    "08:00-08:00": /is empty: the whole day is "00:00-24:00"/,
    "08:00-20:00-22:00": /is not a time/,
    "08:00-20:00,": /is not a time/,
    "8am-5pm": /"8am" is not a time of day/,
  };
  for (const [text, message] of Object.entries(bad)) {
    test(`rejects "${text}" with the reason`, () => {
      assert.throws(
        () => parseTimes(text),
        (error) => error instanceof UnitError && message.test(error.message),
      );
    });
  }

  test("throws UnitError only, for random text", () => {
    const parts = fc.array(
      fc.constantFrom("mon", "fri", "sun", "-", ",", " ", "08:00", "24:00", "00:00", "8", ":", "22:30", "x"),
      { maxLength: 9 },
    );
    const text = fc.oneof(
      fc.string(),
      parts.map((list) => list.join("")),
    );
    let read = 0;
    fc.assert(
      fc.property(text, (entry) => {
        try {
          parseTimes(entry);
          read += 1;
        } catch (error) {
          assert.ok(error instanceof UnitError, String(error));
        }
      }),
      { numRuns: 10_000 },
    );
    assert.ok(read > 100, `only ${read} of them were times`);
  });

  test("rejects a very long entry fast", () => {
    for (const part of ["mon,", "-", " ", "08:00-", "1"])
      assert.throws(() => parseTimes(part.repeat(100_000)), UnitError);
  });
});

suite("parseTimeZone()", () => {
  test("accepts names of the IANA database", () => {
    for (const zone of ["Europe/Berlin", "UTC", "Asia/Kolkata", "America/Argentina/Buenos_Aires"]) {
      assert.equal(parseTimeZone(zone), zone);
    }
  });

  test("rejects other names with a hint", () => {
    assert.throws(() => parseTimeZone("Europe/Berln"), /not a time zone: did you mean "Europe\/Berlin"\?/);
    assert.throws(() => parseTimeZone("+02:00"), /an offset, which has no summer time/);
    assert.throws(() => parseTimeZone("Mars"), /write it as "Europe\/Berlin"/);
    assert.throws(() => parseTimeZone(""), UnitError);
    assert.throws(() => parseTimeZone("x".repeat(100_000)), UnitError);
  });
});
