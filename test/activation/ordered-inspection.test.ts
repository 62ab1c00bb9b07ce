import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { OrderedInspection } from "../../src/activation/ordered-inspection.ts";
import type { Target, TargetStatus } from "../../src/activation/target.ts";

const up: TargetStatus = { up: true, address: "10.0.0.1", incarnation: "1" };
const down: TargetStatus = { up: false };

function create() {
  const calls: PromiseWithResolvers<TargetStatus>[] = [];
  const inspect = (): Promise<TargetStatus> => {
    const call = Promise.withResolvers<TargetStatus>();
    calls.push(call);
    return call.promise;
  };
  return { calls, ordered: new OrderedInspection({ inspect } as Partial<Target> as Target) };
}

suite("OrderedInspection", () => {
  test("inspects again if a later inspection has ended before", async () => {
    const { calls, ordered } = create();
    const [first, second] = [
      ordered.inspect(new AbortController().signal),
      ordered.inspect(new AbortController().signal),
    ];
    calls[1]!.resolve(down);
    assert.equal(await second, down);
    calls[0]!.resolve(up);
    await new Promise(setImmediate);
    assert.equal(calls.length, 3);
    calls[2]!.resolve(down);
    assert.equal(await first, down);
  });

  test("returns results in the order of the calls as they are", async () => {
    const { calls, ordered } = create();
    const [first, second] = [
      ordered.inspect(new AbortController().signal),
      ordered.inspect(new AbortController().signal),
    ];
    calls[0]!.resolve(up);
    assert.equal(await first, up);
    calls[1]!.resolve(down);
    assert.equal(await second, down);
    assert.equal(calls.length, 2);
  });

  test("passes errors on", async () => {
    const { calls, ordered } = create();
    const result = ordered.inspect(new AbortController().signal);
    calls[0]!.reject(new Error("the engine does not answer"));
    await assert.rejects(result, /does not answer/);
  });
});
