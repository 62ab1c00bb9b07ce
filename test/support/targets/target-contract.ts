/**
 * What each kind of target must do, whatever it is made of. Run on the fake as well, so that the fake cannot drift from
 * what it stands for.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Exit } from "../../../src/activation/errors.ts";
import type { Target, TargetStatus } from "../../../src/activation/target.ts";

/** A target of its own for one test, down at first. */
export interface Subject extends AsyncDisposable {
  readonly target: Target;
  /** Resolves when the program that was started is at work, with its signals set up. */
  atWork(): Promise<void>;
  /** Makes the program print "last words" and exit by itself with code 7. */
  crash(): Promise<void>;
  /** Whether its output cannot be read: a narrow socket proxy forbids that. */
  readonly hidesOutput?: boolean;
}

/** An obedient program ends when it is told to; a stubborn one has to be killed. */
export type Temper = "obedient" | "stubborn";

const unlimited = new AbortController().signal;
/** For what comes in its own time: a hint, an event of an engine. */
const PATIENCE_MS = 10_000;
const POLL_MS = 10;
/** What a stop may take beyond the grace. */
const STOP_MARGIN_MS = 2_000;

/** @param make gives each test a target of its own; its grace should be short */
export function targetContract(name: string, make: (temper: Temper) => Promise<Subject>): void {
  suite(`${name} as a target`, () => {
    test("look() before the first start is down", async () => {
      await using subject = await make("obedient");
      const status = await subject.target.inspect(unlimited);
      assert.equal(status.up, false);
    });

    test("start() brings it up, with an address and a life", async () => {
      await using subject = await make("obedient");
      assert.equal(await subject.target.start(unlimited), "started");
      const status = await lookUp(subject.target);
      assert.notEqual(status.address, "");
      assert.notEqual(status.incarnation, "");
    });

    test("look() tells the same life as long as it lasts", async () => {
      await using subject = await make("obedient");
      await subject.target.start(unlimited);
      assert.deepEqual(await lookUp(subject.target), await lookUp(subject.target));
    });

    test('start() of one that is up is "already", and leaves it as it is', async () => {
      await using subject = await make("obedient");
      await subject.target.start(unlimited);
      const before = await lookUp(subject.target);
      assert.equal(await subject.target.start(unlimited), "already");
      assert.deepEqual(await lookUp(subject.target), before);
    });

    test("start() that was given up before it began rejects with the reason, and starts nothing", async () => {
      await using subject = await make("obedient");
      const reason = new Error("given up");
      await assert.rejects(subject.target.start(AbortSignal.abort(reason)), reason);
      assert.equal((await subject.target.inspect(unlimited)).up, false);
    });

    test("stop() takes it down", async () => {
      await using subject = await make("obedient");
      await subject.target.start(unlimited);
      await subject.atWork();
      await subject.target.sleep("stop", unlimited);
      assert.equal((await subject.target.inspect(unlimited)).up, false);
    });

    test("stop() of one that is down does nothing, before its first start and after a stop", async () => {
      await using subject = await make("obedient");
      await subject.target.sleep("stop", unlimited);
      await subject.target.start(unlimited);
      await subject.target.sleep("stop", unlimited);
      await subject.target.sleep("stop", unlimited);
      assert.equal((await subject.target.inspect(unlimited)).up, false);
    });

    test("stop() by two at once is over for both when it is down", async () => {
      await using subject = await make("obedient");
      await subject.target.start(unlimited);
      await subject.atWork();
      await Promise.all([subject.target.sleep("stop", unlimited), subject.target.sleep("stop", unlimited)]);
      assert.equal((await subject.target.inspect(unlimited)).up, false);
    });

    test("stop() of one that ignores the request is over soon after the grace", async () => {
      await using subject = await make("stubborn");
      const { target } = subject;
      await target.start(unlimited);
      await subject.atWork();
      const began = performance.now();
      await target.sleep("stop", unlimited);
      const tookMs = performance.now() - began;
      assert.equal((await target.inspect(unlimited)).up, false);
      assert.ok(tookMs >= target.graceMs * 0.9, `it had ${tookMs} ms of its ${target.graceMs} ms`);
      assert.ok(tookMs <= target.graceMs + STOP_MARGIN_MS, `it took ${tookMs} ms`);
    });

    test("stop() that is given up rejects with the reason; another one ends what it began", async () => {
      await using subject = await make("stubborn");
      const { target } = subject;
      await target.start(unlimited);
      await subject.atWork();
      const giveUp = new AbortController();
      const reason = new Error("given up");
      const stopped = assert.rejects(target.sleep("stop", giveUp.signal), reason);
      giveUp.abort(reason);
      await stopped;
      await target.sleep("stop", unlimited);
      assert.equal((await target.inspect(unlimited)).up, false);
    });

    test("start() after a stop is a new life", async () => {
      await using subject = await make("obedient");
      await subject.target.start(unlimited);
      const first = await lookUp(subject.target);
      await subject.target.sleep("stop", unlimited);
      assert.equal(await subject.target.start(unlimited), "started");
      assert.notEqual((await lookUp(subject.target)).incarnation, first.incarnation);
    });

    test("an exit by itself is hinted at; a look then tells its code, and lastLines() its last words", async () => {
      await using subject = await make("obedient");
      const { target } = subject;
      await target.start(unlimited);
      await subject.atWork();
      const ending = Promise.withResolvers<{ exit: Exit | undefined; lines: readonly string[] }>();
      using _watch = target.watch(() => {
        // As early as anybody can ask.
        Promise.all([target.inspect(unlimited), target.lastLines(unlimited)])
          .then(([status, lines]) => {
            if (!status.up) ending.resolve({ exit: status.exit, lines });
          })
          // One that is still asked when the test is over is nobody's.
          .catch(() => {});
      });
      await subject.crash();
      const { exit, lines } = await inTime(ending.promise, "no hint at the exit");
      assert.equal(exit?.code, 7);
      assert.equal(lines.at(-1), subject.hidesOutput ? undefined : "last words");
    });

    test("start() after an exit by itself is a new life", async () => {
      await using subject = await make("obedient");
      const { target } = subject;
      await target.start(unlimited);
      await subject.atWork();
      const first = await lookUp(target);
      await subject.crash();
      await untilDown(target);
      assert.equal(await target.start(unlimited), "started");
      assert.notEqual((await lookUp(target)).incarnation, first.incarnation);
    });

    test("follow() tells what is printed in a life, from its beginning to its end", async () => {
      await using subject = await make("obedient");
      const { target } = subject;
      await target.start(unlimited);
      const { incarnation } = await lookUp(target);
      await subject.atWork();
      const lines: string[] = [];
      const over = target.follow(incarnation, (line) => lines.push(line), unlimited);
      await untilTold(lines, "at work");
      await subject.crash();
      await inTime(over, "it follows a life that is over");
      assert.deepEqual(lines, ["at work", "last words"]);
    });

    test("follow() is given up at once, and tells everything again to whoever asks again", async () => {
      await using subject = await make("obedient");
      const { target } = subject;
      await target.start(unlimited);
      const { incarnation } = await lookUp(target);
      await subject.atWork();
      for (const reason of [new Error("once"), new Error("twice")]) {
        const giveUp = new AbortController();
        const lines: string[] = [];
        const rejected = assert.rejects(
          target.follow(incarnation, (line) => lines.push(line), giveUp.signal),
          reason,
        );
        await untilTold(lines, "at work");
        giveUp.abort(reason);
        await inTime(rejected, "it goes on");
        assert.deepEqual(lines, ["at work"]);
      }
    });

    test("follow() tells nothing of the life before, even when that ended a moment ago", async () => {
      await using subject = await make("obedient");
      const { target } = subject;
      await target.start(unlimited);
      await subject.atWork();
      const before = await lookUp(target);
      await subject.crash();
      await untilDown(target);
      await target.start(unlimited);
      const { incarnation } = await lookUp(target);
      await subject.atWork();
      await target.follow(before.incarnation, (line) => assert.fail(`of a life that is over: ${line}`), unlimited);
      const enough = new AbortController();
      const lines: string[] = [];
      const followed = target.follow(incarnation, (line) => lines.push(line), enough.signal).catch(() => {});
      await untilTold(lines, "at work");
      enough.abort();
      await followed;
      assert.deepEqual(lines, ["at work"]);
      const last = await target.lastLines(unlimited);
      assert.deepEqual(last, subject.hidesOutput ? [] : ["at work"], "nothing of the life before");
    });

    test("a watch that was disposed hears nothing more, another one still does", async () => {
      await using subject = await make("obedient");
      const { target } = subject;
      await target.start(unlimited);
      await subject.atWork();
      let disposedHints = 0;
      const hinted = Promise.withResolvers<void>();
      const disposed = target.watch(() => {
        disposedHints += 1;
      });
      using _watch = target.watch(() => hinted.resolve());
      disposed[Symbol.dispose]();
      disposedHints = 0;
      await subject.crash();
      await inTime(hinted.promise, "no hint at the exit");
      await untilDown(target);
      assert.equal(disposedHints, 0);
    });
  });
}

async function lookUp(target: Target): Promise<Extract<TargetStatus, { up: true }>> {
  const status = await target.inspect(unlimited);
  assert.ok(status.up, "it is not up");
  return status;
}

async function untilDown(target: Target): Promise<void> {
  for (let waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += POLL_MS) {
    if (!(await target.inspect(unlimited)).up) return;
    await delay(POLL_MS);
  }
  assert.fail("it does not go down");
}

async function untilTold(lines: readonly string[], line: string): Promise<void> {
  for (let waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += POLL_MS) {
    if (lines.includes(line)) return;
    await delay(POLL_MS);
  }
  assert.fail(`it was not told "${line}", but ${JSON.stringify(lines)}`);
}

/** @throws AssertionError with `complaint` when `promise` takes too long */
async function inTime<T>(promise: Promise<T>, complaint: string): Promise<T> {
  const timeUp = new AbortController();
  const late = delay(PATIENCE_MS, undefined, { signal: timeUp.signal }).then(() => assert.fail(complaint));
  try {
    return await Promise.race([promise, late]);
  } finally {
    timeUp.abort();
    late.catch(() => {});
  }
}
