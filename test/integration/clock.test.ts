/** The machine's clock is set forward and back. The timers of wakeport use the monotonic clock. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeEngine, json } from "../support/engine/fake-engine.ts";
import { Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const HOUR_MS = 3_600_000;
const IDLE_MS = 500;
/** More than timers are late on a busy machine. */
const FAR_MS = 5_000;

for (const [what, stepMs] of Object.entries({ forth: HOUR_MS, back: -HOUR_MS })) {
  test(`an hour ${what}: sleep and cooldown are on time`, async (t) => {
    await using engine = await FakeEngine.open();
    const { container, host } = engine;
    const service = { to: container, port: container.port, idle_timeout: `${IDLE_MS}ms` };
    await using wakeport = await Wakeport.open({ echo: service }, { docker: { host } });
    await eventually("the engine responds", () => wakeport.isEngineUp);
    t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
    const step = (): void => t.mock.timers.setTime(Date.now() + stepMs);

    const client = await wakeport.connect("echo");
    await eventually("a greeting", () => client.received > 0);
    step();
    client.end();
    await client.closes();
    await eventually("the idle timeout runs", () => wakeport.status.services[0]?.idle_deadline !== undefined);
    const idleSince = performance.now();
    step();
    await wakeport.until("echo", "asleep");
    const idleMs = performance.now() - idleSince;
    assert.ok(idleMs > IDLE_MS / 2 && idleMs < FAR_MS, `asleep after ${idleMs} ms instead of ${IDLE_MS}`);

    engine.once("POST start", json(500, { message: "no" }));
    using unlucky = await wakeport.connect("echo");
    assert.equal(await unlucky.ended(), "ECONNRESET");
    await wakeport.until("echo", "asleep");
    step();
    using hasty = await wakeport.connect("echo");
    assert.equal(await hasty.ended(), "ECONNRESET", "a start in the cooldown");
    await eventually("a client is served again", async () => {
      using peer = await wakeport.connect("echo");
      await eventually("a reply", () => peer.received > 0 || peer.fate !== "open");
      return peer.received > 0;
    });
  });
}
