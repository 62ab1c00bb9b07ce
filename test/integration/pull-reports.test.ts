/** Pulls whose progress stream breaks off, stalls or contains an error, which a real registry rarely does. */
import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { suite, test } from "node:test";
import { Pulls } from "../../src/docker/pulls.ts";
import type { PullReport } from "../../src/docker/reports.ts";
import { TargetError } from "../../src/errors.ts";
import { observer } from "../../src/telemetry/observer.ts";

const IMAGE = "web:1";

/** A pull whose progress stream the test writes. */
function stage(silenceMs = 60_000) {
  const report = new PassThrough();
  const reported: PullReport[] = [];
  const signals: AbortSignal[] = [];
  const engine = {
    pull: async (_image: string, signal: AbortSignal) => {
      signals.push(signal);
      return report;
    },
  };
  const pulls = new Pulls({ engine, observer: observer({ pull: (one) => reported.push(one) }), silenceMs });
  const write = (value: object): void => void report.write(`${JSON.stringify(value)}\r\n`);
  const pull = (signal = new AbortController().signal): Promise<void> => pulls.pull(IMAGE, signal);
  return { report, reported, signals, pulls, write, pull };
}

const fails = (fault: string, message: RegExp) => (error: unknown) =>
  error instanceof TargetError && error.fault === fault && message.test(`${error.message}: ${error.remedy}`);

suite("Pulls", () => {
  test("adds up the bytes of the layers, each once", async () => {
    const { pulls, write, pull, report } = stage();
    const done = pull();
    assert.equal(pulls.describe(IMAGE), "image web:1");
    write({ id: "1", status: "Pulling from library/web" });
    write({ id: "a", status: "Downloading", progressDetail: { current: 5e6, total: 20e6 } });
    write({ id: "b", status: "Downloading", progressDetail: { current: 1e6, total: 10e6 } });
    write({ id: "b", status: "Extracting", progressDetail: { current: 1, total: 10e6 } });
    write({ id: "c", status: "Already exists" });
    await new Promise(setImmediate);
    assert.equal(pulls.describe(IMAGE), "image web:1 (50 %, 15 of 30 MB)");
    report.end();
    await done;
    assert.equal(pulls.describe(IMAGE), undefined);
  });

  test("an error in the progress stream fails the pull", async () => {
    const { write, pull, report, reported } = stage();
    const done = pull();
    write({ status: "Pulling" });
    write({ errorDetail: { message: "x" }, error: "write /var/lib/docker/x: no space left on device" });
    report.end();
    await assert.rejects(done, fails("failed", /web:1 could not be pulled: .*no space left.*: free space/));
    assert.deepEqual(
      reported.map((one) => one.stage),
      ["begun", "failed"],
    );
  });

  test("a progress stream that breaks off fails the pull", async () => {
    const { pull, report } = stage();
    const done = pull();
    await new Promise(setImmediate);
    report.destroy();
    await assert.rejects(done, fails("unreachable", /pull of image web:1 was cut off/));
  });

  test("a stalled progress stream fails the pull, and cancels the request", async () => {
    const { pull, signals } = stage(20);
    await assert.rejects(pull(), fails("failed", /no progress for 0.02 s .*: check the registry/));
    assert.equal(signals[0]?.aborted, true);
  });

  test("two clients share one pull, which outlives the first client", async () => {
    const { pull, report, signals } = stage();
    const leaving = new AbortController();
    const first = pull(leaving.signal);
    const second = pull();
    leaving.abort(new Error("aborted"));
    await assert.rejects(first, /aborted/);
    report.end();
    report.resume();
    await second;
    assert.equal(signals.length, 1);
  });

  test("close() cancels a pull without reporting a failure", async () => {
    const { pull, pulls, reported } = stage();
    const done = pull();
    pulls.close();
    await assert.rejects(done, fails("failed", /pull cancelled/));
    assert.deepEqual(
      reported.map((one) => one.stage),
      ["begun"],
    );
  });

  const words: Readonly<Record<string, RegExp>> = {
    "manifest for x:1 not found: manifest unknown": /correct its name and tag/,
    "pull access denied for x, repository does not exist or may require 'docker login'": /if it is private/,
    "unauthorized: authentication required": /has no registry password/,
    "toomanyrequests: You have reached your pull rate limit": /wait, or log in/,
    'Get "https://r/v2/": dial tcp: lookup r: no such host': /check the registry/,
    "x509: certificate signed by unknown authority": /does not trust the registry/,
    "no matching manifest for linux/arm64/v8 in the manifest list entries": /machine's processor/,
  };
  for (const [error, remedy] of Object.entries(words)) {
    test(`returns a remedy for "${error}"`, async () => {
      const { write, pull, report } = stage();
      const done = pull();
      write({ error });
      report.end();
      await assert.rejects(done, (fault) => fault instanceof TargetError && remedy.test(fault.remedy ?? ""));
    });
  }
});
