/** Missing images are pulled from a real registry when a container is created. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { format } from "../../src/cli/status.ts";
import { sentenceOf } from "../../src/errors.ts";
import type { Lab } from "../support/engine/lab.ts";
import { type Made, madeTest } from "../support/engine/on-demand.ts";
import { noRegistry, Registry } from "../support/engine/registry.ts";
import { PORT, type Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import type { Peer } from "../support/net/tcp.ts";

checkLeaks();

const MEGABYTES = 8;
const HALF = 4_000_000;
const command = ["httpd", "-f", "-p", String(PORT), "-h", "/etc"];

function pullTest(name: string, body: (lab: Lab, made: Made, registry: Registry) => Promise<void>): void {
  if (noRegistry) return void test(name, { skip: noRegistry }, () => {});
  madeTest(name, async (lab, made) => {
    await using registry = await Registry.open(lab.engine.docker);
    await body(lab, made, registry);
    // The container must be removed before its image.
    await made[Symbol.asyncDispose]();
  });
}

/** Waits until the server replies. */
async function answered(peer: Peer): Promise<void> {
  peer.send("GET /passwd HTTP/1.0\r\n\r\n");
  await eventually("a reply", () => peer.text.startsWith("HTTP/1.") || peer.fate === "ECONNRESET");
  assert.match(peer.text, /^HTTP\/1\.. 200 OK/);
}

function stages(wakeport: Wakeport, stage: string): number {
  return wakeport.record.pulls.filter((report) => report.stage === stage).length;
}

pullTest("all waiting clients share one pull, whose progress is reported", async (lab, made, registry) => {
  const image = await registry.publish("web:1", MEGABYTES);
  registry.hold(HALF);
  const settings = { command, remove: true };
  const wakeport = await lab.wakeport({ [made.name]: made.spec({ image, ...settings }, { sleep: "kill" }) });
  using first = await wakeport.connect(made.name);
  using second = await wakeport.connect(made.name);
  const progress = new RegExp(`image ${image} \\(\\d+ %, \\d\\.\\d of 8\\.0 MB\\)`);
  await eventually("progress in status", () => progress.test(wakeport.status.services[0]?.pending?.join() ?? ""));
  assert.match(format(wakeport.status, Date.now()), new RegExp(`^${made.name}: waiting for ${progress.source}$`, "m"));
  using third = await wakeport.connect(made.name);
  registry.release();
  await Promise.all([first, second, third].map(answered));
  assert.deepEqual([stages(wakeport, "begun"), stages(wakeport, "done")], [1, 1]);
  assert.equal((await made.inspect()).Config.Image, image);
});

pullTest(
  "a pull that takes longer than the start timeout continues for the next client",
  async (lab, made, registry) => {
    const image = await registry.publish("web:2", MEGABYTES);
    registry.hold(HALF);
    const rest = { start_timeout: "500ms", sleep: "kill" };
    const wakeport = await lab.wakeport({ [made.name]: made.spec({ image, command }, rest) });
    using early = await wakeport.connect(made.name);
    assert.equal(await early.ended(), "ECONNRESET");
    const { error, outcome } = await wakeport.activation();
    assert.equal(outcome, "timeout");
    assert.match(error?.message ?? "", /not ready within 0.5 s, waiting for image \S+:2/);
    registry.release();
    await eventually("the pull is done", () => stages(wakeport, "done") === 1);
    await eventually("a client is served", async () => {
      using peer = await wakeport.connect(made.name);
      peer.send("GET /passwd HTTP/1.0\r\n\r\n");
      await eventually("a reply", () => peer.received > 0 || peer.fate !== "open");
      return peer.received > 0;
    });
    assert.equal(stages(wakeport, "begun"), 1);
  },
);

/** The reason and the remedy of a rejected client. */
async function refusal(wakeport: Wakeport, made: Made): Promise<string> {
  using peer = await wakeport.connect(made.name);
  assert.equal(await peer.ended(), "ECONNRESET");
  await wakeport.activation();
  assert.equal(stages(wakeport, "failed"), 1);
  const error = wakeport.record.pulls.at(-1)?.error;
  assert.match(wakeport.status.services[0]?.last_error ?? "", /could not be pulled/);
  return error === undefined ? "" : sentenceOf(error);
}

pullTest("a tag that the registry does not have is reported with the remedy", async (lab, made, registry) => {
  const image = registry.name("web:none");
  const wakeport = await lab.wakeport({ [made.name]: made.spec({ image }) });
  assert.match(
    await refusal(wakeport, made),
    /^the image \S+web:none could not be pulled: .*: correct its name and tag/,
  );
});

madeTest("a registry that is down is reported", async (lab, made) => {
  const image = `127.0.0.1:${await freePort()}/web:1`;
  const wakeport = await lab.wakeport({ [made.name]: made.spec({ image }) });
  assert.match(await refusal(wakeport, made), /could not be pulled: .*refused: check the registry/);
});
