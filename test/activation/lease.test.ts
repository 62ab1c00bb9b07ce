import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Lease } from "../../src/activation/lease.ts";
import { CLIENT } from "../../src/activation/lease-set.ts";

const reason = new Error("reason");

/** A lease, and how often it told that its claim ended. */
function newLease(): { lease: Lease; releases: () => number } {
  let releases = 0;
  const lease = new Lease(CLIENT, () => {
    releases += 1;
  });
  return { lease, releases: () => releases };
}

suite("Lease", () => {
  test("that is disposed while it waits, or while it is held, tells so once", () => {
    for (const isGranted of [false, true]) {
      const { lease, releases } = newLease();
      if (isGranted) lease.grant({ address: "10.0.0.1" });
      lease[Symbol.dispose]();
      lease[Symbol.dispose]();
      assert.equal(releases(), 1);
      assert.ok(!lease.isWaiting && !lease.isHeld);
    }
  });

  test("that was rejected or cut disposes silently", () => {
    const rejected = newLease();
    rejected.lease.reject(reason);
    const cut = newLease();
    cut.lease.grant({ address: "10.0.0.1" });
    cut.lease.cut(reason);
    for (const { lease, releases } of [rejected, cut]) {
      lease[Symbol.dispose]();
      assert.equal(releases(), 0);
    }
  });

  test("that is abandoned while it waits rejects with the reason, and tells so once", async () => {
    const { lease, releases } = newLease();
    lease.withdraw(reason);
    lease.withdraw(new Error("another"));
    await assert.rejects(lease.granted, reason);
    assert.equal(releases(), 1);
  });

  test("that is held cannot be abandoned any more", () => {
    const { lease, releases } = newLease();
    lease.grant({ address: "10.0.0.1" });
    lease.withdraw(reason);
    assert.ok(lease.isHeld);
    assert.equal(releases(), 0);
  });

  test("that is refused while nobody waits for it is no unhandled rejection", async () => {
    newLease().lease.reject(reason);
    await new Promise((resolve) => setImmediate(resolve));
  });

  test("that is cut aborts its signal with the reason", () => {
    const { lease } = newLease();
    lease.grant({ address: "10.0.0.1" });
    assert.equal(lease.signal.aborted, false);
    lease.cut(reason);
    assert.equal(lease.signal.reason, reason);
  });
});
