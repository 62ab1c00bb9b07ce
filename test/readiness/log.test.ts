import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { StartTimeoutError } from "../../src/activation/errors.ts";
import type { Target } from "../../src/activation/target.ts";
import { TargetError, type TargetFault } from "../../src/errors.ts";
import { logProbe } from "../../src/readiness/log.ts";
import { FakeTarget } from "../support/activation/fake-target.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { ProcessSubject } from "../support/targets/process-subject.ts";

checkLeaks();

const never = new AbortController().signal;

/** A running target that counts the readings of its output. */
class Printing extends FakeTarget {
  reads = 0;
  /** The failures of the next readings. */
  readonly troubles: (Error | "cut")[] = [];

  constructor() {
    super();
    this.comeUp();
  }

  override async follow(incarnation: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    this.reads += 1;
    const trouble = this.troubles.shift();
    if (trouble === "cut") return;
    if (trouble !== undefined) throw trouble;
    await super.follow(incarnation, onLine, signal);
  }
}

/** Runs a log probe. */
function isReady(target: Target, pattern: string, signal: AbortSignal = never): { is: boolean; done: Promise<void> } {
  const progress = { is: false, done: Promise.resolve() };
  progress.done = logProbe(target, pattern)
    .check({ address: "127.0.0.1" }, signal)
    .then(() => {
      progress.is = true;
    });
  return progress;
}

suite("logProbe()", () => {
  test("is ready if a stored line matches", async () => {
    const target = new Printing();
    target.print("booting");
    target.print("listening on 8080");
    await isReady(target, "listening on \\d+$").done;
  });

  test("waits for the line", async () => {
    const target = new Printing();
    const ready = isReady(target, "^ready$");
    await eventually("it reads", () => target.reads === 1);
    target.print("not ready");
    target.print("ready soon");
    assert.equal(ready.is, false);
    target.print("ready");
    await ready.done;
  });

  test("matches lines without their colours", async () => {
    const target = new Printing();
    target.print("\u001b[32mre\u001b[1mady\u001b[0m in 300 ms");
    await isReady(target, "^ready in").done;
  });

  test("reads again from the beginning if the reading is interrupted or fails", async () => {
    const target = new Printing();
    target.troubles.push("cut", new TargetError("unreachable", "the engine does not answer"), "cut");
    target.print("ready");
    await isReady(target, "ready").done;
    assert.equal(target.reads, 4);
  });

  test("reads again after 10 s without a line", async (t) => {
    const target = new Printing();
    const follow = t.mock.method(target, "follow", (_life: string, _onLine: unknown, signal: AbortSignal) => {
      return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    });
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const ready = isReady(target, "ready");
    while (follow.mock.callCount() === 0) await new Promise(setImmediate);
    follow.mock.restore();
    target.print("ready");
    while (!ready.is) {
      t.mock.timers.tick(1_000);
      await new Promise(setImmediate);
    }
    assert.equal(target.reads, 1);
  });

  test("matches only lines of the current run", async () => {
    const target = new Printing();
    target.print("ready");
    target.goDown();
    const ready = isReady(target, "ready");
    target.comeUp();
    await eventually("it reads", () => target.reads > 0);
    assert.equal(ready.is, false);
    target.print("ready");
    await ready.done;
  });

  test("does not read again after a match in the same run", async () => {
    const target = new Printing();
    const probe = logProbe(target, "ready");
    target.print("ready");
    await probe.check({ address: "127.0.0.1" }, never);
    target.lines = [];
    await probe.check({ address: "127.0.0.1" }, never);
    assert.equal(target.reads, 1);
  });

  for (const fault of ["denied", "invalid"] as const satisfies readonly TargetFault[]) {
    test(`fails at once if the log can never be read: ${fault}`, async () => {
      const target = new Printing();
      const error = new TargetError(fault, "the log cannot be read");
      target.troubles.push(error);
      await assert.rejects(isReady(target, "ready").done, error);
    });
  }

  test("ends at once when it is aborted, and reports what was missing", async () => {
    const target = new Printing();
    target.troubles.push("cut");
    const limit = new AbortController();
    const ready = isReady(target, "ready", limit.signal);
    await eventually("it reads again", () => target.reads === 2);
    limit.abort(new StartTimeoutError("too late"));
    await assert.rejects(ready.done, /^StartTimeoutError: too late: no line of the log matches \/ready\/$/);
  });

  test("reads the standard output and standard error of a process", async () => {
    for (const stream of [1, 2]) {
      const script = `echo booting; sleep 0.1; echo ready >&${stream}; exec sleep 60`;
      await using subject = await ProcessSubject.of(["/bin/sh", "-c", script], { env: { PATH: "/usr/bin:/bin" } });
      await subject.target.start(never);
      await isReady(subject.target, "^ready$").done;
    }
  });

  test("matches a prompt without a line end when the output pauses", async () => {
    const script = "printf 'log'; sleep 0.05; printf 'in: '; echo other >&2; exec sleep 60";
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", script], { env: { PATH: "/usr/bin:/bin" } });
    await subject.target.start(never);
    const giveUp = new AbortController();
    const tooEarly = isReady(subject.target, "^log$", giveUp.signal);
    await isReady(subject.target, "^login: $", AbortSignal.timeout(10_000)).done;
    assert.equal(tooEarly.is, false);
    // The output has paused.
    await isReady(subject.target, "^login: $", AbortSignal.timeout(10_000)).done;
    giveUp.abort(new Error("the test is over"));
    await assert.rejects(tooEarly.done, /the test is over/);
  });

  test("matches at the end of a long line, which is shown shortened", async () => {
    const script = "head -c 500000 /dev/zero | tr '\\0' x; echo ready; exec sleep 60";
    await using subject = await ProcessSubject.of(["/bin/sh", "-c", script], { env: { PATH: "/usr/bin:/bin" } });
    await subject.target.start(never);
    await isReady(subject.target, "x{10}ready$", AbortSignal.timeout(10_000)).done;
    const [shown] = await subject.target.lastLines(never);
    assert.equal(shown, `${"x".repeat(4_096)} […]`);
  });

  test("has a name for messages", () => {
    assert.equal(logProbe(new FakeTarget(), "ready|up").name, "log /ready|up/");
  });
});
