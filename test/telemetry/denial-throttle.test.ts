import assert from "node:assert/strict";
import { suite, type TestContext, test } from "node:test";
import { UnroutedError, type UnroutedReason } from "../../src/proxy/unrouted.ts";
import { DenialThrottle, ThrottledDenials } from "../../src/telemetry/denial-throttle.ts";
import { type DenialSummary, observer } from "../../src/telemetry/observer.ts";

function stage(context: TestContext) {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  let now = 0;
  const summaries: DenialSummary[] = [];
  const throttle = new DenialThrottle<DenialSummary["reason"]>({
    limit: 3,
    windowMs: 10_000,
    now: () => now,
    onSummary: (service, reason, unreported) => summaries.push({ service, reason, ...unreported }),
  });
  const pass = (ms: number): void => {
    now += ms;
    context.mock.timers.tick(ms);
  };
  const reported = (count: number, service = "ftp", reason: DenialSummary["reason"] = "rate"): number =>
    Array.from({ length: count }, () => throttle.count(service, reason)).filter(Boolean).length;
  return { throttle, summaries, pass, reported };
}

suite("DenialThrottle", () => {
  test("reports the first denials one by one and counts the rest", (t) => {
    const { summaries, pass, reported } = stage(t);
    assert.equal(reported(1_000), 3);
    pass(9_999);
    assert.equal(reported(1_000), 0);
    assert.deepEqual(summaries, []);
    pass(1);
    assert.deepEqual(summaries, [{ service: "ftp", reason: "rate", count: 1_997, overMs: 10_000 }]);
    assert.equal(reported(5), 3);
  });

  test("counts each service and reason separately", (t) => {
    const { reported } = stage(t);
    assert.equal(reported(5), 3);
    assert.equal(reported(5, "ftp", "load"), 3);
    assert.equal(reported(5, "web"), 3);
    assert.equal(reported(5), 0);
  });

  test("reports no summary if every denial was reported", (t) => {
    const { summaries, pass, reported } = stage(t);
    for (let round = 0; round < 10; round += 1) {
      assert.equal(reported(3), 3);
      pass(10_000);
    }
    assert.deepEqual(summaries, []);
  });

  test("close() reports the remaining summaries", (t) => {
    const { throttle, summaries, pass, reported } = stage(t);
    reported(4);
    reported(3, "web");
    pass(2_000);
    throttle.close();
    assert.deepEqual(summaries, [{ service: "ftp", reason: "rate", count: 1, overMs: 2_000 }]);
    pass(60_000);
    assert.equal(summaries.length, 1);
  });
});

suite("ThrottledDenials", () => {
  test("reports the first unrouted clients of a listener and reason, and counts the rest", () => {
    const reported: string[] = [];
    {
      using throttled = new ThrottledDenials(
        observer({
          unrouted: ({ listener, error }) => reported.push(`${listener} ${error.reason}`),
          moreUnrouted: ({ listener, reason, count }) => reported.push(`${listener} ${reason} and ${count} more`),
        }),
      );
      const report = (listener: string, reason: UnroutedReason): void => {
        const error = new UnroutedError(reason, "why");
        throttled.observer.unrouted({ listener, client: "192.0.2.1:5", error, durationMs: 1 });
      };
      for (let count = 0; count < 8; count += 1) report("*:443", "unknown_name");
      report("*:443", "no_name");
      report("*:80", "unknown_name");
    }
    assert.deepEqual(reported, [
      ...new Array<string>(5).fill("*:443 unknown_name"),
      "*:443 no_name",
      "*:80 unknown_name",
      "*:443 unknown_name and 3 more",
    ]);
  });
});
