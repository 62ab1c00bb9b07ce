import assert from "node:assert/strict";
import { suite, type TestContext, test } from "node:test";
import { scheduler } from "node:timers/promises";
import { StartTimeoutError } from "../../src/activation/errors.ts";
import type { Upstream } from "../../src/activation/target.ts";
import { dial } from "../../src/net/dial.ts";
import { AnsweredError, all, type NamedProbe, retryUntilReady } from "../../src/readiness/probe.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const never = new AbortController().signal;

suite("retryUntilReady()", () => {
  test("attempts once if the attempt succeeds", async () => {
    let attempts = 0;
    await retryUntilReady(async () => {
      attempts += 1;
    }, never);
    assert.equal(attempts, 1);
  });

  test("attempts until it succeeds", async () => {
    let attempts = 0;
    await retryUntilReady(async () => {
      attempts += 1;
      if (attempts < 5) throw new Error("not yet");
    }, never);
    assert.equal(attempts, 5);
  });

  test("ends with a final error", async () => {
    const final = new Error("never");
    let attempts = 0;
    const attempt = async (): Promise<void> => {
      attempts += 1;
      throw attempts === 3 ? final : new Error("not yet");
    };
    await assert.rejects(
      retryUntilReady(attempt, never, (error) => error === final),
      final,
    );
    assert.equal(attempts, 3);
  });

  test("does not begin if the signal is aborted already", async () => {
    const reason = new Error("too late");
    const attempt = (): Promise<void> => assert.fail("attempted");
    await assert.rejects(retryUntilReady(attempt, AbortSignal.abort(reason)), reason);
  });

  test("throws the signal's reason instead of the error of the aborted attempt", async () => {
    const abort = new AbortController();
    const reason = new Error("the start was aborted");
    const attempt = async (): Promise<void> => {
      abort.abort(reason);
      throw new Error("connection lost");
    };
    await assert.rejects(
      retryUntilReady(attempt, abort.signal, () => true),
      reason,
    );
  });

  const sinceBegin = [0, 10, 99, 120, 1_000, 4_000, 5_000, 5_001, 60_000];

  test("waits a hundredth of the elapsed time, from 1 ms to 250 ms", async (t) => {
    const pauses = await pausesOf(t, sinceBegin, () => new Error("refused"));
    assert.deepEqual(pauses, [1, 1, 1, 1.2, 10, 40, 50, 50.01, 250]);
  });

  test("waits from 50 ms to 1 s after an answer", async (t) => {
    const pauses = await pausesOf(t, sinceBegin, () => new AnsweredError("503"));
    assert.deepEqual(pauses, [50, 50, 50, 50, 50, 200, 250, 250.05, 1_000]);
  });
});

/** Returns the delays after attempts that fail at the given times, in milliseconds. */
async function pausesOf(t: TestContext, failAt: readonly number[], error: () => Error): Promise<number[]> {
  const pauses: number[] = [];
  let nowMs = 0;
  t.mock.method(performance, "now", () => nowMs);
  t.mock.method(globalThis, "setTimeout", (wake: () => void, ms: number) => {
    pauses.push(ms);
    setImmediate(wake);
  });
  let attempts = 0;
  await retryUntilReady(async () => {
    const passed = failAt[attempts];
    attempts += 1;
    if (passed === undefined) return;
    nowMs = passed;
    throw error();
  }, never);
  return pauses;
}

suite("all()", () => {
  test("succeeds when each probe has succeeded once, in any order", async () => {
    const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let holds = false;
    void all([probe(() => first.promise), probe(() => second.promise)])({ address: "address" }, never).then(() => {
      holds = true;
    });
    second.resolve();
    await scheduler.wait(5);
    assert.equal(holds, false);
    first.resolve();
    await eventually("all hold", () => holds);
  });

  test("passes the address to each probe", async () => {
    const seen: string[] = [];
    const note = async ({ address }: Upstream): Promise<void> => void seen.push(address);
    await all([probe(note), probe(note)])({ address: "10.0.0.7" }, never);
    assert.deepEqual(seen, ["10.0.0.7", "10.0.0.7"]);
  });

  test("succeeds at once without probes", async () => {
    const reported: unknown[] = [];
    await all([])({ address: "address" }, never, (pending) => reported.push(pending));
    assert.deepEqual(reported, [[]]);
  });

  test("reports the missing probes at the beginning and after each change", async () => {
    const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const parts = [
      { name: "tcp 21", check: () => first.promise },
      { name: "healthy", check: () => second.promise },
    ];
    const reported: (readonly string[])[] = [];
    const ready = all(parts)({ address: "address" }, never, (pending) => reported.push(pending));
    second.resolve();
    await eventually("the second holds", () => reported.length === 2);
    first.resolve();
    await ready;
    assert.deepEqual(reported, [["tcp 21", "healthy"], ["tcp 21"], []]);
  });

  test("fails if one probe fails, and aborts the others", async () => {
    const final = new Error("unhealthy");
    let givenUp: unknown;
    const patient = probe((_upstream, signal) => {
      const { promise, reject } = Promise.withResolvers<void>();
      signal.addEventListener("abort", () => {
        givenUp = signal.reason;
        reject(signal.reason);
      });
      return promise;
    });
    await assert.rejects(all([patient, probe(() => Promise.reject(final))])({ address: "address" }, never), final);
    assert.equal(givenUp, final);
  });

  test("aborts all probes when it is aborted", async () => {
    const abort = new AbortController();
    const reason = new Error("the start was aborted");
    const waiting = (): NamedProbe =>
      probe((_upstream, signal) => retryUntilReady(() => Promise.reject(new Error("no")), signal));
    const rejected = assert.rejects(all([waiting(), waiting()])({ address: "address" }, abort.signal), reason);
    abort.abort(reason);
    await rejected;
  });
});

function probe(check: NamedProbe["check"]): NamedProbe {
  return { name: "a probe", check };
}

suite("retryUntilReady() that ends with a timeout", () => {
  test("reports the progress of the last attempt", async () => {
    const limit = new AbortController();
    let count = 0;
    const attempt = async (): Promise<void> => {
      count += 1;
      if (count === 2) limit.abort(new StartTimeoutError("a was not ready within 1 s"));
      throw new Error("connect ECONNREFUSED 10.0.0.1:81");
    };
    await assert.rejects(retryUntilReady(attempt, limit.signal), {
      name: "StartTimeoutError",
      message: "a was not ready within 1 s: connect ECONNREFUSED 10.0.0.1:81",
    });
  });

  test("reports the remedy if the target refuses connections", async () => {
    const port = await freePort();
    const limit = new AbortController();
    let count = 0;
    const attempt = async (signal: AbortSignal): Promise<void> => {
      count += 1;
      if (count === 2) limit.abort(new StartTimeoutError("a was not ready"));
      await dial({ host: "127.0.0.1", port, timeoutMs: 1_000, signal });
    };
    const refused = `a was not ready: connect ECONNREFUSED 127\\.0\\.0\\.1:${port} \\(nothing listens there: correct the port`;
    await assert.rejects(retryUntilReady(attempt, limit.signal), {
      name: "StartTimeoutError",
      message: new RegExp(refused),
    });
  });
});
