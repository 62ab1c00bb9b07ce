import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { MAX_ATTEMPTS, retryWhenLost } from "../../src/activation/retry.ts";

class TestLease implements Disposable {
  readonly lost = new AbortController();
  isDisposed = false;

  get signal(): AbortSignal {
    return this.lost.signal;
  }

  [Symbol.dispose](): void {
    this.isDisposed = true;
  }
}

interface Run {
  readonly result: Promise<number>;
  readonly leases: TestLease[];
}

/** @param use called with each lease and its number, from 1 */
function run(
  use: (lease: TestLease, attempt: number) => Promise<number>,
  { gone = new AbortController(), deadline = new AbortController() } = {},
): Run {
  const leases: TestLease[] = [];
  const acquire = async (): Promise<TestLease> => {
    const lease = new TestLease();
    leases.push(lease);
    return lease;
  };
  const options = { acquire, use: (lease: TestLease) => use(lease, leases.length), gone, deadline };
  return { result: retryWhenLost(options), leases };
}

function lose(lease: TestLease): never {
  lease.lost.abort();
  throw new Error("the target went down");
}

suite("retryWhenLost()", () => {
  test("returns the first result, and keeps its lease", async () => {
    const { result, leases } = run(async (lease, attempt) => (attempt < 3 ? lose(lease) : attempt));
    assert.equal(await result, 3);
    assert.deepEqual(
      leases.map(({ isDisposed }) => isDisposed),
      [true, true, false],
    );
  });

  test("rejects after the last attempt", async () => {
    const { result, leases } = run(async (lease) => lose(lease));
    await assert.rejects(result, /went down/);
    assert.equal(leases.length, MAX_ATTEMPTS);
  });

  test("does not repeat other failures", async () => {
    const { result, leases } = run(async () => {
      throw new Error("the dial failed");
    });
    await assert.rejects(result, /the dial failed/);
    assert.deepEqual([leases.length, leases[0]?.isDisposed], [1, true]);
  });

  test("rejects with the reason of a client that has gone", async () => {
    const gone = new AbortController();
    const { result } = run(
      async (lease) => {
        gone.abort(new Error("the client has gone"));
        return lose(lease);
      },
      { gone },
    );
    await assert.rejects(result, /the client has gone/);
  });

  test("does not repeat after the deadline", async () => {
    const deadline = new AbortController();
    const { result, leases } = run(
      async (lease) => {
        deadline.abort();
        return lose(lease);
      },
      { deadline },
    );
    await assert.rejects(result, /went down/);
    assert.equal(leases.length, 1);
  });
});
