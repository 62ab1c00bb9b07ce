import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Lease } from "../../src/activation/lease.ts";
import { CLIENT } from "../../src/activation/lease-set.ts";
import { AbortSource } from "../../src/async/abort-source.ts";

const reason = new Error("reason");

/** A lease, and the number of its callbacks. */
function newLease(): { lease: Lease; releases: () => number } {
  let releases = 0;
  const lease = new Lease(CLIENT, () => {
    releases += 1;
  });
  return { lease, releases: () => releases };
}

suite("Lease", () => {
  test("calls back once when it is disposed, waiting or held", () => {
    for (const isGranted of [false, true]) {
      const { lease, releases } = newLease();
      if (isGranted) lease.grant({ address: "10.0.0.1" }, new AbortSource());
      lease[Symbol.dispose]();
      lease[Symbol.dispose]();
      assert.equal(releases(), 1);
      assert.ok(!lease.isWaiting && !lease.isHeld);
    }
  });

  test("does not call back when it is disposed after a rejection or a cut", () => {
    const rejected = newLease();
    rejected.lease.reject(reason);
    const cut = newLease();
    cut.lease.grant({ address: "10.0.0.1" }, new AbortSource());
    cut.lease.cut(reason);
    for (const { lease, releases } of [rejected, cut]) {
      lease[Symbol.dispose]();
      assert.equal(releases(), 0);
    }
  });

  test("rejects with the reason when it is withdrawn while it waits, and calls back once", async () => {
    const { lease, releases } = newLease();
    lease.withdraw(reason);
    lease.withdraw(new Error("another"));
    await assert.rejects(lease.granted, reason);
    assert.equal(releases(), 1);
  });

  test("cannot be withdrawn while it is held", () => {
    const { lease, releases } = newLease();
    lease.grant({ address: "10.0.0.1" }, new AbortSource());
    lease.withdraw(reason);
    assert.ok(lease.isHeld);
    assert.equal(releases(), 0);
  });

  test("causes no unhandled rejection when it is rejected without a waiting caller", async () => {
    newLease().lease.reject(reason);
    await new Promise((resolve) => setImmediate(resolve));
  });

  test("aborts its signal with the reason of the cut", () => {
    const { lease } = newLease();
    lease.grant({ address: "10.0.0.1" }, new AbortSource());
    assert.equal(lease.signal.aborted, false);
    lease.cut(reason);
    assert.equal(lease.signal.reason, reason);
  });
});
