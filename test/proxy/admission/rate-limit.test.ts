import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { parseRate } from "../../../src/config/values/rates.ts";
import { RateLimit } from "../../../src/proxy/admission/rate-limit.ts";
import { TokenBucket } from "../../../src/proxy/admission/token-bucket.ts";

/** Returns how many of `tries` clients of a source are admitted at `now`. */
function admitted(limit: RateLimit, source: string, tries: number, now: number): number {
  return Array.from({ length: tries }, () => {
    const mayEnter = limit.wait(source, now) === undefined;
    if (mayEnter) limit.take(source, now);
    return mayEnter;
  }).filter(Boolean).length;
}

suite("TokenBucket", () => {
  test("gives its tokens at once, then as it refills", () => {
    const bucket = new TokenBucket(parseRate("10/m"), 0);
    for (let taken = 0; taken < 10; taken += 1) bucket.take(0);
    assert.equal(bucket.waitMs(0), 6_000);
    assert.equal(bucket.waitMs(5_999), 1);
    assert.equal(bucket.waitMs(6_000), 0);
    assert.equal(bucket.isFull(59_999), false);
    assert.equal(bucket.isFull(60_000), true);
  });

  test("has a token after the returned wait, and never gives more than twice the count in a period", () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 3_000 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), gaps, (count, pauses) => {
        const bucket = new TokenBucket({ count, perMs: 1_000 }, 0);
        let now = 0;
        const taken: number[] = [];
        for (const pause of pauses) {
          now += pause;
          const wait = bucket.waitMs(now);
          if (wait > 0) {
            assert.equal(bucket.waitMs(now + wait), 0);
            now += wait;
          }
          bucket.take(now);
          taken.push(now);
        }
        for (const from of taken) {
          assert.ok(taken.filter((at) => at >= from && at <= from + 1_000).length <= 2 * count + 1);
        }
      }),
    );
  });

  test("loses no token when the clock goes back", () => {
    const bucket = new TokenBucket(parseRate("1/s"), 10_000);
    bucket.take(10_000);
    assert.equal(bucket.waitMs(5_000), 1_000);
    assert.equal(bucket.waitMs(11_000), 0);
  });
});

suite("RateLimit", () => {
  test("limits all clients of a service", () => {
    const limit = new RateLimit({ rate: parseRate("4/s"), perSource: parseRate("100/s") }, 0);
    assert.equal(admitted(limit, "a", 100, 0), 4);
    assert.deepEqual(limit.wait("b", 0), { waitMs: 250, scope: "service" });
    assert.equal(admitted(limit, "b", 100, 500), 2);
  });

  test("gives a source half of the rate by default, and at least one", () => {
    const limit = new RateLimit({ rate: parseRate("50/s") }, 0);
    assert.equal(admitted(limit, "a", 1_000, 0), 25);
    assert.equal(admitted(new RateLimit({ rate: parseRate("1/m") }, 0), "a", 1_000, 0), 1);
    assert.equal(admitted(new RateLimit({ rate: parseRate("5/m") }, 0), "a", 1_000, 0), 2);
  });

  test("never lets one source use up the rate of all", () => {
    const limit = new RateLimit({ rate: parseRate("10/s") }, 0);
    let served = 0;
    for (let now = 0; now < 60_000; now += 1) {
      admitted(limit, "abuser", 5, now);
      if (now % 1_000 === 999) served += admitted(limit, "innocent", 4, now);
    }
    assert.equal(served, 60 * 4);
  });

  test("takes no token of the service for a denied source", () => {
    const limit = new RateLimit({ rate: parseRate("10/s"), perSource: parseRate("2/s") }, 0);
    assert.equal(admitted(limit, "a", 1_000, 0), 2);
    assert.deepEqual(limit.wait("a", 0), { waitMs: 500, scope: "source" });
    for (const source of ["b", "c", "d", "e"]) assert.equal(admitted(limit, source, 1_000, 0), 2);
    assert.deepEqual(limit.wait("f", 0), { waitMs: 100, scope: "service" });
  });

  test("takes no token of the source if the service denies", () => {
    const limit = new RateLimit({ rate: parseRate("1/s"), perSource: parseRate("1/h") }, 0);
    assert.equal(admitted(limit, "a", 1, 0), 1);
    assert.equal(admitted(limit, "b", 50, 0), 0);
    assert.equal(admitted(limit, "b", 1, 1_000), 1);
  });

  test("limits only sources if there is only a rate per source", () => {
    const limit = new RateLimit({ perSource: parseRate("1/s") }, 0);
    for (let source = 0; source < 1_000; source += 1) assert.equal(admitted(limit, String(source), 3, 0), 1);
  });

  test("denies and remembers no source without a rate", () => {
    const limit = new RateLimit({}, 0);
    assert.equal(admitted(limit, "a", 1_000, 0), 1_000);
    assert.equal(limit.size, 0);
  });

  test("remembers a limited number of sources, and drops the least recently used", () => {
    const limit = new RateLimit({ perSource: parseRate("1/h"), maxSources: 1_000 }, 0);
    for (let source = 0; source < 50_000; source += 1) limit.take(String(source), 0);
    assert.equal(limit.size, 1_000);
    assert.equal(admitted(limit, "49999", 1, 0), 0);
    assert.equal(admitted(limit, "0", 1, 0), 1);
  });

  test("forgets sources with full buckets", () => {
    const limit = new RateLimit({ perSource: parseRate("1/s") }, 0);
    for (let source = 0; source < 100; source += 1) limit.take(String(source), 0);
    for (let source = 0; source < 100; source += 1) limit.take("later", 10_000 + source);
    assert.equal(limit.size, 97);
    for (let source = 100; source < 200; source += 1) limit.take(String(source), 20_000);
    assert.ok(limit.size <= 101, String(limit.size));
  });
});
