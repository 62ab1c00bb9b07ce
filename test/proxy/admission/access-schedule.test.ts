import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { type AccessTimes, parseTimes } from "../../../src/config/values/access-times.ts";
import { AccessSchedule, isOpenAt } from "../../../src/proxy/admission/access-schedule.ts";

const at = (utc: string): number => Date.parse(`${utc}Z`);
const hours = (zone: string, ...entries: string[]) => new AccessSchedule(entries.map(parseTimes), zone);

suite("AccessSchedule", () => {
  // The 23rd of November 2026 is a Monday.
  const cases: readonly (readonly [string, string, boolean])[] = [
    ["mon-fri 08:00-20:00", "2026-11-23T07:59:59.999", false],
    ["mon-fri 08:00-20:00", "2026-11-23T08:00", true],
    ["mon-fri 08:00-20:00", "2026-11-23T19:59:59.999", true],
    ["mon-fri 08:00-20:00", "2026-11-23T20:00", false],
    ["mon-fri 08:00-20:00", "2026-11-22T12:00", false],
    ["sat,sun", "2026-11-22T23:59:59", true],
    ["sat,sun", "2026-11-23T00:00", false],
    ["22:00-06:00", "2026-11-23T23:00", true],
    ["22:00-06:00", "2026-11-23T05:59", true],
    ["22:00-06:00", "2026-11-23T06:00", false],
    ["mon 22:00-06:00", "2026-11-24T05:59", true],
    ["mon 22:00-06:00", "2026-11-23T05:59", false],
    ["sat 22:00-06:00", "2026-11-29T05:59", true],
    ["00:00-24:00", "2026-11-23T23:59:59.999", true],
    ["mon 12:00-24:00", "2026-11-24T00:00", false],
  ];
  for (const [entry, when, expected] of cases) {
    test(`"${entry}" at ${when}: ${expected ? "open" : "closed"}`, () => {
      assert.equal(hours("UTC", entry).isOpen(at(when)), expected);
    });
  }

  test("uses the local time of its zone", () => {
    const tokyo = hours("Asia/Tokyo", "mon 08:00-09:00");
    assert.equal(tokyo.isOpen(at("2026-11-22T23:30")), true);
    assert.equal(tokyo.isOpen(at("2026-11-23T08:30")), false);
    const kathmandu = hours("Asia/Kathmandu", "08:00-09:00");
    assert.equal(kathmandu.isOpen(at("2026-11-23T02:15")), true);
    assert.equal(kathmandu.isOpen(at("2026-11-23T02:14")), false);
  });

  test("uses the machine's zone by default", () => {
    const now = Date.now();
    const { timeZone } = new Intl.DateTimeFormat().resolvedOptions();
    const entry = parseTimes("06:00-18:00");
    assert.equal(new AccessSchedule([entry]).isOpen(now), new AccessSchedule([entry], timeZone).isOpen(now));
  });

  test("is not open in an hour that daylight saving time skips", () => {
    const berlin = hours("Europe/Berlin", "02:00-03:00");
    for (let minute = -120; minute < 240; minute += 1) {
      assert.equal(berlin.isOpen(at("2026-03-29T01:00") + minute * 60_000), false);
    }
    assert.equal(berlin.isOpen(at("2026-03-30T00:30")), true);
  });

  test("is open twice in an hour that occurs twice", () => {
    const berlin = hours("Europe/Berlin", "02:00-03:00");
    const open = Array.from({ length: 360 }, (_, minute) => berlin.isOpen(at("2026-10-24T22:00") + minute * 60_000));
    assert.equal(open.filter(Boolean).length, 120);
    assert.equal(open.indexOf(true), 120);
  });

  test("ends at the local time after a night with a time change", () => {
    const berlin = hours("Europe/Berlin", "sat 22:00-06:00");
    const open = (from: string) =>
      Array.from({ length: 24 * 60 }, (_, minute) => berlin.isOpen(at(from) + minute * 60_000)).filter(Boolean).length;
    assert.equal(open("2026-03-28T12:00"), 7 * 60);
    assert.equal(open("2026-10-24T12:00"), 9 * 60);
    assert.equal(open("2026-11-21T12:00"), 8 * 60);
  });
});

const WEEK = 7 * 24 * 60;

/** All open minutes of a week, counted minute by minute from the start of each span to its end. */
function walk(entries: readonly AccessTimes[]): Uint8Array {
  const week = new Uint8Array(WEEK);
  for (const { days, spans } of entries) {
    for (const day of days) {
      for (const { from, to } of spans) {
        let minute = day * 1440 + from;
        do {
          week[minute % WEEK] = 1;
          minute += 1;
        } while (minute % 1440 !== to % 1440);
      }
    }
  }
  return week;
}

suite("isOpenAt()", () => {
  const day = fc.constantFrom("mon", "tue", "wed", "thu", "fri", "sat", "sun");
  const days = fc
    .array(
      fc.oneof(
        day,
        fc.tuple(day, day).map(([from, to]) => `${from}-${to}`),
      ),
      { minLength: 1, maxLength: 3 },
    )
    .map((list) => list.join(","));
  const clock = fc
    .integer({ min: 0, max: 1439 })
    .map((minute) => `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`);
  const span = fc
    .tuple(clock, fc.oneof(clock, fc.constant("24:00")))
    .filter(([from, to]) => from !== to)
    .map(([from, to]) => `${from}-${to}`);
  const spans = fc.array(span, { minLength: 1, maxLength: 2 }).map((list) => list.join(","));
  const entry = fc.oneof(
    days,
    spans,
    fc.tuple(days, spans).map(([first, last]) => `${first} ${last}`),
  );
  const entries = fc.array(entry, { minLength: 1, maxLength: 3 });

  test("agrees with a count of the week's minutes", () => {
    fc.assert(
      fc.property(entries, fc.array(fc.integer({ min: 0, max: WEEK - 1 }), { minLength: 20 }), (texts, minutes) => {
        const times = texts.map(parseTimes);
        const week = walk(times);
        const edges = times.flatMap((one) => one.spans.flatMap(({ from, to }) => [from, from + 1439, to, to + 1439]));
        for (const minute of [...minutes, ...edges.flatMap((edge) => [edge % WEEK, (edge + 1440) % WEEK])]) {
          const isOpen = isOpenAt(times, Math.floor(minute / 1440), minute % 1440);
          assert.equal(isOpen, week[minute] === 1, `${texts.join("; ")} at ${minute}`);
        }
      }),
      { numRuns: 10_000 },
    );
  });

  test("agrees with an AccessSchedule in UTC, for a whole week", () => {
    const sunday = at("2026-11-22T00:00");
    fc.assert(
      fc.property(entries, (texts) => {
        const times = texts.map(parseTimes);
        const week = walk(times);
        const utc = new AccessSchedule(times, "UTC");
        for (let minute = 0; minute < WEEK; minute += 1) {
          assert.equal(utc.isOpen(sunday + minute * 60_000), week[minute] === 1, `${texts.join("; ")} at ${minute}`);
        }
      }),
      { numRuns: 20 },
    );
  });
});
