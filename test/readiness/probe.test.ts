import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { scheduler } from "node:timers/promises";
import { StartTimeoutError } from "../../src/activation/errors.ts";
import { all, type NamedProbe, until } from "../../src/readiness/probe.ts";
import { checkLeaks } from "../support/leaks.ts";
import { eventually } from "../support/tcp.ts";

checkLeaks();

const never = new AbortController().signal;

suite("until()", () => {
  test("attempts once when that succeeds", async () => {
    let attempts = 0;
    await until(async () => {
      attempts += 1;
    }, never);
    assert.equal(attempts, 1);
  });

  test("attempts until it succeeds", async () => {
    let attempts = 0;
    await until(async () => {
      attempts += 1;
      if (attempts < 5) throw new Error("not yet");
    }, never);
    assert.equal(attempts, 5);
  });

  test("ends with an error that is final", async () => {
    const final = new Error("never");
    let attempts = 0;
    const attempt = async (): Promise<void> => {
      attempts += 1;
      throw attempts === 3 ? final : new Error("not yet");
    };
    await assert.rejects(
      until(attempt, never, (error) => error === final),
      final,
    );
    assert.equal(attempts, 3);
  });

  test("does not begin when the signal is aborted before", async () => {
    const reason = new Error("too late");
    const attempt = (): Promise<void> => assert.fail("attempted");
    await assert.rejects(until(attempt, AbortSignal.abort(reason)), reason);
  });

  test("prefers the signal's reason to what the aborted attempt says", async () => {
    const abort = new AbortController();
    const reason = new Error("the start was given up");
    const attempt = async (): Promise<void> => {
      abort.abort(reason);
      throw new Error("connection lost");
    };
    await assert.rejects(
      until(attempt, abort.signal, () => true),
      reason,
    );
  });

  test("pauses a twentieth of the time that has passed, from 2 ms to 250 ms", async (t) => {
    const pauses: number[] = [];
    const sinceBegin = [0, 10, 40, 100, 1_000, 4_000, 5_000, 5_001, 60_000];
    let nowMs = 0;
    t.mock.method(performance, "now", () => nowMs);
    t.mock.method(globalThis, "setTimeout", (wake: () => void, ms: number) => {
      pauses.push(ms);
      setImmediate(wake);
    });
    let attempts = 0;
    await until(async () => {
      const passed = sinceBegin[attempts];
      attempts += 1;
      if (passed === undefined) return;
      nowMs = passed;
      throw new Error("not yet");
    }, never);
    assert.deepEqual(pauses, [2, 2, 2, 5, 50, 200, 250, 250, 250]);
  });
});

suite("all()", () => {
  test("holds when each has held once, in any order", async () => {
    const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let holds = false;
    void all([probe(() => first.promise), probe(() => second.promise)])("address", never).then(() => {
      holds = true;
    });
    second.resolve();
    await scheduler.wait(5);
    assert.equal(holds, false);
    first.resolve();
    await eventually("all hold", () => holds);
  });

  test("hands the address to each", async () => {
    const seen: string[] = [];
    const note = async (address: string): Promise<void> => void seen.push(address);
    await all([probe(note), probe(note)])("10.0.0.7", never);
    assert.deepEqual(seen, ["10.0.0.7", "10.0.0.7"]);
  });

  test("fails when one fails for good, and gives the others up", async () => {
    const final = new Error("unhealthy");
    let givenUp: unknown;
    const patient = probe((_address, signal) => {
      const { promise, reject } = Promise.withResolvers<void>();
      signal.addEventListener("abort", () => {
        givenUp = signal.reason;
        reject(signal.reason);
      });
      return promise;
    });
    await assert.rejects(all([patient, probe(() => Promise.reject(final))])("address", never), final);
    assert.equal(givenUp, final);
  });

  test("gives all up when it is given up", async () => {
    const abort = new AbortController();
    const reason = new Error("the start was given up");
    const waiting = (): NamedProbe => probe((_address, signal) => until(() => Promise.reject(new Error("no")), signal));
    const rejected = assert.rejects(all([waiting(), waiting()])("address", abort.signal), reason);
    abort.abort(reason);
    await rejected;
  });
});

function probe(check: NamedProbe["check"]): NamedProbe {
  return { name: "a probe", check };
}

suite("until() that is given up by a timeout", () => {
  test("says what the last attempt met", async () => {
    const limit = new AbortController();
    let count = 0;
    const attempt = async (): Promise<void> => {
      count += 1;
      if (count === 2) limit.abort(new StartTimeoutError("a was not ready within 1 s"));
      throw new Error("connect ECONNREFUSED 10.0.0.1:81");
    };
    await assert.rejects(until(attempt, limit.signal), {
      name: "StartTimeoutError",
      message: "a was not ready within 1 s: connect ECONNREFUSED 10.0.0.1:81",
    });
  });
});
