import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { LogTailCache } from "../../src/activation/log-tail.ts";

suite("LogTailCache", () => {
  test("reads once within 950 ms", async (t) => {
    let nowMs = 0;
    t.mock.method(performance, "now", () => nowMs);
    let readings = 0;
    const tail = new LogTailCache(async () => [`reading ${++readings}`]);
    const [one, other] = await Promise.all([tail.lines(), tail.lines()]);
    assert.equal(one, other);
    nowMs = 900;
    assert.equal(await tail.lines(), one);
    nowMs = 1_000;
    assert.deepEqual(await tail.lines(), ["reading 2"]);
    assert.equal(readings, 2);
  });

  test("does not read concurrently", async (t) => {
    let nowMs = 0;
    t.mock.method(performance, "now", () => nowMs);
    const { promise, resolve } = Promise.withResolvers<readonly string[]>();
    let readings = 0;
    const tail = new LogTailCache(() => {
      readings += 1;
      return promise;
    });
    const first = tail.lines();
    nowMs = 5_000;
    const second = tail.lines();
    assert.equal(readings, 1);
    resolve(["late"]);
    assert.deepEqual(await Promise.all([first, second]), [["late"], ["late"]]);
  });

  test("reads again after clear(), also during a read", async () => {
    const readings: ((lines: readonly string[]) => void)[] = [];
    const tail = new LogTailCache(() => new Promise((resolve) => readings.push(resolve)));
    const before = tail.lines();
    tail.clear();
    const after = tail.lines();
    assert.equal(readings.length, 2);
    readings[0]?.(["before"]);
    await before;
    assert.equal(tail.lines(), after, "the earlier read replaced the later one");
    readings[1]?.(["after"]);
    assert.deepEqual(await after, ["after"]);
  });
});
