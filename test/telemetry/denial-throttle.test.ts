import assert from "node:assert/strict";
import { suite, type TestContext, test } from "node:test";
import { UnroutedError, type UnroutedReason } from "../../src/proxy/unrouted.ts";
import { DenialThrottle, ThrottledDenials } from "../../src/telemetry/denial-throttle.ts";
import { type DenialSummary, observer } from "../../src/telemetry/observer.ts";

function stage(context: TestContext) {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  let now = 0;
  const summaries: DenialSummary[] = [];
  const digest = new DenialThrottle<DenialSummary["reason"]>({
    most: 3,
    windowMs: 10_000,
    now: () => now,
    onSummary: (service, reason, untold) => summaries.push({ service, reason, ...untold }),
  });
  const pass = (ms: number): void => {
    now += ms;
    context.mock.timers.tick(ms);
  };
  const told = (count: number, service = "ftp", reason: DenialSummary["reason"] = "rate"): number =>
    Array.from({ length: count }, () => digest.note(service, reason)).filter(Boolean).length;
  return { digest, summaries, pass, told };
}

suite("DenialDigest", () => {
  test("tells the first few, then how many more there were", (t) => {
    const { summaries, pass, told } = stage(t);
    assert.equal(told(1_000), 3);
    pass(9_999);
    assert.equal(told(1_000), 0);
    assert.deepEqual(summaries, []);
    pass(1);
    assert.deepEqual(summaries, [{ service: "ftp", reason: "rate", count: 1_997, overMs: 10_000 }]);
    assert.equal(told(5), 3);
  });

  test("each service and reason for itself", (t) => {
    const { told } = stage(t);
    assert.equal(told(5), 3);
    assert.equal(told(5, "ftp", "load"), 3);
    assert.equal(told(5, "web"), 3);
    assert.equal(told(5), 0);
  });

  test("says nothing more where nothing was left out", (t) => {
    const { summaries, pass, told } = stage(t);
    for (let round = 0; round < 10; round += 1) {
      assert.equal(told(3), 3);
      pass(10_000);
    }
    assert.deepEqual(summaries, []);
  });

  test("tells at its end what is left", (t) => {
    const { digest, summaries, pass, told } = stage(t);
    told(4);
    told(3, "web");
    pass(2_000);
    digest.close();
    assert.deepEqual(summaries, [{ service: "ftp", reason: "rate", count: 1, overMs: 2_000 }]);
    pass(60_000);
    assert.equal(summaries.length, 1);
  });
});

suite("QuietDenials", () => {
  test("tells of many clients that are led nowhere the first few of a front and reason, and how many more", () => {
    const told: string[] = [];
    {
      using quiet = new ThrottledDenials(
        observer({
          unrouted: ({ listener: listenPort, error }) => told.push(`${listenPort} ${error.reason}`),
          moreUnrouted: ({ listener: listenPort, reason, count }) =>
            told.push(`${listenPort} ${reason} and ${count} more`),
        }),
      );
      const tell = (listenPort: string, reason: UnroutedReason): void => {
        const error = new UnroutedError(reason, "why");
        quiet.observer.unrouted({ listener: listenPort, client: "192.0.2.1:5", error, durationMs: 1 });
      };
      for (let count = 0; count < 8; count += 1) tell("*:443", "unknown_name");
      tell("*:443", "no_name");
      tell("*:80", "unknown_name");
    }
    assert.deepEqual(told, [
      ...new Array<string>(5).fill("*:443 unknown_name"),
      "*:443 no_name",
      "*:80 unknown_name",
      "*:443 unknown_name and 3 more",
    ]);
  });
});
