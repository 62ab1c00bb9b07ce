/** Which targets are in use while clients connect and leave, and leases form chains and cycles. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { Usage } from "../../src/activation/usage.ts";
import { randomRuns } from "../support/activation/random.ts";
import { VirtualClock } from "../support/activation/virtual-clock.ts";

suite("Usage", () => {
  test("follows a chain, and contains the time of the last use", async () => {
    using clock = new VirtualClock();
    const [web, api, db] = [new Usage(), new Usage(), new Usage()];
    api.addUser(web);
    db.addUser(api);
    const client = web.addClient();
    assert.deepEqual(
      [web, api, db].map(({ isUsed }) => isUsed),
      [true, true, true],
    );
    await clock.advance(5_000);
    client[Symbol.dispose]();
    await clock.advance(5_000);
    assert.deepEqual(
      [web, api, db].map(({ isUsed }) => isUsed),
      [false, false, false],
    );
    assert.deepEqual(
      [web, api, db].map(({ lastUsed }) => lastUsed),
      [5_000, 5_000, 5_000],
    );
  });

  test("does not count a cycle without a client", () => {
    const [a, b, c] = [new Usage(), new Usage(), new Usage()];
    b.addUser(a);
    c.addUser(b);
    a.addUser(c);
    const [first, second] = [a.addClient(), b.addClient()];
    first[Symbol.dispose]();
    assert.deepEqual(
      [a, b, c].map(({ isUsed }) => isUsed),
      [true, true, true],
    );
    second[Symbol.dispose]();
    assert.deepEqual(
      [a, b, c].map(({ isUsed }) => isUsed),
      [false, false, false],
    );
  });

  test("counts a client or a lease once that is disposed twice", () => {
    const [web, db] = [new Usage(), new Usage()];
    const [first, second] = [web.addClient(), web.addClient()];
    const [client, again] = [db.addUser(web), db.addUser(web)];
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    assert.equal(web.isUsed, true);
    client[Symbol.dispose]();
    client[Symbol.dispose]();
    assert.equal(db.isUsed, true);
    again[Symbol.dispose]();
    assert.equal(db.isUsed, false);
    second[Symbol.dispose]();
  });

  test("is the targets that clients use directly or through others, in any order of leases and clients", (t) => {
    const node = fc.nat(5);
    const step = fc.oneof(
      fc.record({ act: fc.constant("client" as const), node }),
      fc.record({ act: fc.constant("lease" as const), node, user: node }),
      fc.record({ act: fc.constant("end" as const), pick: fc.nat(20) }),
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => {
        const reported = Array.from({ length: 6 }, () => false);
        const usages = reported.map((_, index) => new Usage((isUsed) => (reported[index] = isUsed)));
        const at = (index: number): Usage => usages[index] ?? assert.fail();
        const leases: { readonly node: number; readonly user?: number; readonly end: Disposable }[] = [];
        for (const one of steps) {
          if (one.act === "client") leases.push({ node: one.node, end: at(one.node).addClient() });
          else if (one.act === "lease")
            leases.push({ node: one.node, user: one.user, end: at(one.node).addUser(at(one.user)) });
          else leases.splice(one.pick % (leases.length || 1), 1)[0]?.end[Symbol.dispose]();
          const expected = reachable(leases);
          assert.deepEqual(
            usages.map(({ isUsed }) => isUsed),
            expected,
          );
          assert.deepEqual(reported, expected);
        }
      }),
      randomRuns(t, 2_000),
    );
  });
});

/** Follows all leases from the clients. */
function reachable(leases: readonly { readonly node: number; readonly user?: number }[]): boolean[] {
  const found = new Set(leases.filter(({ user }) => user === undefined).map(({ node }) => node));
  for (const one of found) for (const { node, user } of leases) if (user === one) found.add(node);
  return Array.from({ length: 6 }, (_, index) => found.has(index));
}
