/** Tests for each kind of target. They run on the fake target as well, so that it behaves like the real ones. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Exit } from "../../../src/activation/errors.ts";
import type { Target, TargetStatus } from "../../../src/activation/target.ts";

/** A new target for one test. It is down. */
export interface Subject extends AsyncDisposable {
  readonly target: Target;
  /** Resolves when the started program handles its signals. */
  atWork(): Promise<void>;
  /** Makes the program print "last words" and exit with code 7. */
  crash(): Promise<void>;
  /** Whether its output cannot be read, because a socket proxy denies it. */
  readonly hidesOutput?: boolean;
}

/** An obedient program ends at SIGTERM; a stubborn one must be killed. */
export type Temper = "obedient" | "stubborn";

const unlimited = new AbortController().signal;
/** Deadline for events and callbacks. */
const PATIENCE_MS = 10_000;
const POLL_MS = 10;
/** Time that a stop may take in addition to the grace. */
const STOP_MARGIN_MS = 2_000;

/** @param make creates the target of a test; its grace should be short */
export function targetContract(name: string, make: (temper: Temper) => Promise<Subject>): void {
  suite(`${name} as a target`, () => {
    test("inspect() returns down before the first start", async () => {
      await using subject = await make("obedient");
      const status = await subject.target.inspect(unlimited);
      assert.equal(status.up, false);
    });

    test("start() starts the target, with an address and an incarnation", async () => {
      await using subject = await make("obedient");
      assert.equal(await subject.target.start(unlimited), "started");
      const status = await inspectUp(subject.target);
      assert.notEqual(status.address, "");
      assert.notEqual(status.incarnation, "");
    });

    test("inspect() returns the same incarnation while the target runs", async () => {
      await using subject = await make("obedient");
      await subject.target.start(unlimited);
      assert.deepEqual(await inspectUp(subject.target), await inspectUp(subject.target));
    });

    test('start() returns "already" for a running target and does not touch it', async () => {
      await using subject = await make("obedient");
      await subject.target.start(unlimited);
      const before = await inspectUp(subject.target);
      assert.equal(await subject.target.start(unlimited), "already");
      assert.deepEqual(await inspectUp(subject.target), before);
    });

    test("start() with an aborted signal rejects with its reason and starts nothing", async () => {
      await using subject = await make("obedient");
      const reason = new Error("aborted");
      await assert.rejects(subject.target.start(AbortSignal.abort(reason)), reason);
      assert.equal((await subject.target.inspect(unlimited)).up, false);
    });

    test("sleep() stops the target", async () => {
      await using subject = await make("obedient");
      await subject.target.start(unlimited);
      await subject.atWork();
      await subject.target.sleep("stop", unlimited);
      assert.equal((await subject.target.inspect(unlimited)).up, false);
    });

    test("sleep() does nothing before the first start and after a stop", async () => {
      await using subject = await make("obedient");
      await subject.target.sleep("stop", unlimited);
      await subject.target.start(unlimited);
      await subject.target.sleep("stop", unlimited);
      await subject.target.sleep("stop", unlimited);
      assert.equal((await subject.target.inspect(unlimited)).up, false);
    });

    test("sleep() resolves for two concurrent calls when the target is down", async () => {
      await using subject = await make("obedient");
      await subject.target.start(unlimited);
      await subject.atWork();
      await Promise.all([subject.target.sleep("stop", unlimited), subject.target.sleep("stop", unlimited)]);
      assert.equal((await subject.target.inspect(unlimited)).up, false);
    });

    test("sleep() kills a target that ignores its stop signal after the grace", async () => {
      await using subject = await make("stubborn");
      const { target } = subject;
      await target.start(unlimited);
      await subject.atWork();
      const began = performance.now();
      await target.sleep("stop", unlimited);
      const tookMs = performance.now() - began;
      assert.equal((await target.inspect(unlimited)).up, false);
      assert.ok(tookMs >= target.graceMs * 0.9, `it took ${tookMs} ms, the grace is ${target.graceMs} ms`);
      assert.ok(tookMs <= target.graceMs + STOP_MARGIN_MS, `it took ${tookMs} ms`);
    });

    test("sleep() rejects with the reason of an aborted signal; the next call completes the stop", async () => {
      await using subject = await make("stubborn");
      const { target } = subject;
      await target.start(unlimited);
      await subject.atWork();
      const giveUp = new AbortController();
      const reason = new Error("aborted");
      const stopped = assert.rejects(target.sleep("stop", giveUp.signal), reason);
      giveUp.abort(reason);
      await stopped;
      await target.sleep("stop", unlimited);
      assert.equal((await target.inspect(unlimited)).up, false);
    });

    test("start() after a stop begins a new incarnation", async () => {
      await using subject = await make("obedient");
      await subject.target.start(unlimited);
      const first = await inspectUp(subject.target);
      await subject.target.sleep("stop", unlimited);
      assert.equal(await subject.target.start(unlimited), "started");
      assert.notEqual((await inspectUp(subject.target)).incarnation, first.incarnation);
    });

    test("an exit is reported to watchers; then inspect() returns its code and lastLines() the last output", async () => {
      await using subject = await make("obedient");
      const { target } = subject;
      await target.start(unlimited);
      await subject.atWork();
      const ending = Promise.withResolvers<{ exit: Exit | undefined; lines: readonly string[] }>();
      using _watch = target.watch(() => {
        // As early as possible.
        Promise.all([target.inspect(unlimited), target.lastLines(unlimited)])
          .then(([status, lines]) => {
            if (!status.up) ending.resolve({ exit: status.exit, lines });
          })
          // The test may be over before the answer.
          .catch(() => {});
      });
      await subject.crash();
      const { exit, lines } = await inTime(ending.promise, "the exit was not reported");
      assert.equal(exit?.code, 7);
      assert.equal(lines.at(-1), subject.hidesOutput ? undefined : "last words");
    });

    test("start() after an exit begins a new incarnation", async () => {
      await using subject = await make("obedient");
      const { target } = subject;
      await target.start(unlimited);
      await subject.atWork();
      const first = await inspectUp(target);
      await subject.crash();
      await untilDown(target);
      assert.equal(await target.start(unlimited), "started");
      assert.notEqual((await inspectUp(target)).incarnation, first.incarnation);
    });

    test("follow() passes on the output of an incarnation from its start to its end", async () => {
      await using subject = await make("obedient");
      const { target } = subject;
      await target.start(unlimited);
      const { incarnation } = await inspectUp(target);
      await subject.atWork();
      const lines: string[] = [];
      const over = target.follow(incarnation, (line) => lines.push(line), unlimited);
      await untilReceived(lines, "at work");
      await subject.crash();
      await inTime(over, "follow() did not end with the incarnation");
      assert.deepEqual(lines, ["at work", "last words"]);
    });

    test("follow() stops when its signal is aborted; a second call passes on all lines again", async () => {
      await using subject = await make("obedient");
      const { target } = subject;
      await target.start(unlimited);
      const { incarnation } = await inspectUp(target);
      await subject.atWork();
      for (const reason of [new Error("once"), new Error("twice")]) {
        const giveUp = new AbortController();
        const lines: string[] = [];
        const rejected = assert.rejects(
          target.follow(incarnation, (line) => lines.push(line), giveUp.signal),
          reason,
        );
        await untilReceived(lines, "at work");
        giveUp.abort(reason);
        await inTime(rejected, "follow() did not stop");
        assert.deepEqual(lines, ["at work"]);
      }
    });

    test("follow() passes on no line of the previous incarnation, even if it ended a moment ago", async () => {
      await using subject = await make("obedient");
      const { target } = subject;
      await target.start(unlimited);
      await subject.atWork();
      const before = await inspectUp(target);
      await subject.crash();
      await untilDown(target);
      await target.start(unlimited);
      const { incarnation } = await inspectUp(target);
      await subject.atWork();
      await target.follow(
        before.incarnation,
        (line) => assert.fail(`a line of an ended incarnation: ${line}`),
        unlimited,
      );
      const enough = new AbortController();
      const lines: string[] = [];
      const followed = target.follow(incarnation, (line) => lines.push(line), enough.signal).catch(() => {});
      await untilReceived(lines, "at work");
      enough.abort();
      await followed;
      assert.deepEqual(lines, ["at work"]);
      const last = await target.lastLines(unlimited);
      assert.deepEqual(last, subject.hidesOutput ? [] : ["at work"], "no line of the previous incarnation");
    });

    test("watch() calls back no more after its disposal, while another watch continues", async () => {
      await using subject = await make("obedient");
      const { target } = subject;
      await target.start(unlimited);
      await subject.atWork();
      let disposedCalls = 0;
      const notified = Promise.withResolvers<void>();
      const disposed = target.watch(() => {
        disposedCalls += 1;
      });
      using _watch = target.watch(() => notified.resolve());
      disposed[Symbol.dispose]();
      disposedCalls = 0;
      await subject.crash();
      await inTime(notified.promise, "the exit was not reported");
      await untilDown(target);
      assert.equal(disposedCalls, 0);
    });
  });
}

async function inspectUp(target: Target): Promise<Extract<TargetStatus, { up: true }>> {
  const status = await target.inspect(unlimited);
  assert.ok(status.up, "it is not up");
  return status;
}

async function untilDown(target: Target): Promise<void> {
  for (let waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += POLL_MS) {
    if (!(await target.inspect(unlimited)).up) return;
    await delay(POLL_MS);
  }
  assert.fail("the target does not go down");
}

async function untilReceived(lines: readonly string[], line: string): Promise<void> {
  for (let waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += POLL_MS) {
    if (lines.includes(line)) return;
    await delay(POLL_MS);
  }
  assert.fail(`expected "${line}", received ${JSON.stringify(lines)}`);
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
