/** Other programs start, stop, kill, pause, rename and remove targets: wakeport follows, and serves the next client. */
import assert from "node:assert/strict";
import type { ServiceStatus } from "../../src/admin/api.ts";
import { echo } from "../support/engine/containers.ts";
import { engineTest, startsOf } from "../support/engine/lab.ts";
import type { Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import type { Peer } from "../support/net/tcp.ts";

checkLeaks();

/** A client that has received the greeting and stays connected. */
async function guest(wakeport: Wakeport): Promise<Peer> {
  const peer = await wakeport.connect("echo");
  await eventually("a greeting", () => peer.text.endsWith("\n"));
  return peer;
}

/** The service in the status. */
function statusOf(wakeport: Wakeport): ServiceStatus {
  const [status] = wakeport.status.services;
  assert.ok(status);
  return status;
}

engineTest("docker stop: clients end, the target is asleep, the next connection wakes it", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target } });
  const clients = await Promise.all([1, 2, 3].map(() => guest(wakeport)));
  await target.stop();
  for (const client of clients) {
    assert.notEqual(await client.ended(), "open");
    client.end();
  }
  await wakeport.until("echo", "asleep");
  assert.deepEqual(
    wakeport.record.sleeps.map(({ reason, action }) => ({ reason, action })),
    [{ reason: "external", action: "none" }],
  );
  assert.notEqual(await wakeport.greeted("echo"), clients[0]?.text);
});

engineTest("docker start: the target is adopted, and sleeps on time", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "300ms" } });
  await target.start();
  await wakeport.until("echo", "ready");
  assert.equal((await wakeport.activation()).adopted, true);
  await wakeport.until("echo", "asleep");
  assert.equal(await target.isAwake(), false);
});

engineTest("docker start during a wake: the target is started once", async (lab) => {
  const target = await lab.container({ program: echo({ delayMs: 200 }) });
  const wakeport = await lab.wakeport({ echo: { to: target } });
  await Promise.all([wakeport.greeted("echo"), target.start().catch(() => {}), wakeport.greeted("echo")]);
  assert.equal(await startsOf(lab, target), 1);
});

engineTest("docker kill: sent bytes arrive, the connection ends, the next client wakes the target", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target } });
  using client = await guest(wakeport);
  client.send("last words\n");
  await eventually("an echo", () => client.text.endsWith("last words\n"));
  await target.kill();
  assert.notEqual(await client.ended(), "open");
  client.end();
  await wakeport.until("echo", "asleep");
  assert.equal(wakeport.record.sleeps[0]?.exit?.code, 137);
  await wakeport.greeted("echo");
});

engineTest("docker restart: the old connections end, the restarted target is adopted", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target } });
  using client = await guest(wakeport);
  await target.restart();
  assert.notEqual(await client.ended(), "open");
  client.end();
  await wakeport.until("echo", "ready");
  assert.notEqual(await wakeport.greeted("echo"), client.text);
});

engineTest("docker pause and unpause: the target is paused, then adopted", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target } });
  const greeting = await wakeport.greeted("echo");
  await target.pause();
  await wakeport.until("echo", "paused");
  await target.unpause();
  await wakeport.until("echo", "ready");
  assert.equal(await wakeport.greeted("echo"), greeting);
});

engineTest("a container that is recreated with the same name is the same target", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target } });
  await wakeport.greeted("echo");
  await target.remove();
  await wakeport.until("echo", "missing");
  const next = await lab.container({ program: echo(), name: target.name });
  wakeport.mayUse("echo", next);
  await wakeport.greeted("echo");
  assert.ok(await next.isAwake());
});

engineTest(
  "compose recreates a container: the new container serves, the old container is not started again",
  async (lab) => {
    const target = await lab.container({ program: echo() });
    const wakeport = await lab.wakeport({ echo: { to: target } });
    using client = await guest(wakeport);
    // The steps of compose: create beside, stop, remove, rename, start.
    const next = await lab.container({ program: echo(), name: `${target.id.slice(0, 12)}_${target.name}` });
    await target.stop();
    await client.ended();
    client.end();
    await target.remove();
    await next.rename(target.name);
    wakeport.mayUse("echo", next);
    await wakeport.until("echo", "asleep");
    assert.notEqual(await wakeport.greeted("echo"), client.text);
    assert.equal(await startsOf(lab, target), 1);
  },
);

engineTest("a renamed container is not a target any more, and is not touched", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "500ms" } });
  await wakeport.greeted("echo");
  await target.rename(`${target.name}-renamed`);
  await wakeport.until("echo", "asleep");
  using client = await wakeport.connect("echo");
  assert.equal(await client.ended(), "ECONNRESET");
  assert.ok(await target.isAwake(), "a container that the configuration does not name was stopped");
  wakeport.mayNotUse("echo");
});

engineTest(
  "docker rename during a connection: the connection continues; later clients are served by the container with the name",
  async (lab) => {
    const target = await lab.container({ program: echo() });
    const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "300ms" } });
    using client = await guest(wakeport);
    await target.rename(`${target.name}-renamed`);
    const next = await lab.container({ program: echo(), name: target.name });
    wakeport.mayUse("echo", next);
    await eventually("another container serves", async () => (await wakeport.greeted("echo")) !== client.text);
    client.send("still here\n");
    await eventually("an echo", () => client.text.endsWith("still here\n") || client.fate !== "open");
    assert.match(client.text, /still here\n$/, `instead of an echo: ${client.fate}`);
    client.end();
    await client.closes();
    await wakeport.until("echo", "asleep");
    assert.ok(await target.isAwake(), "a container that the configuration does not name was stopped");
  },
);

engineTest("docker rm -f of a renamed container: its connections end", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target } });
  using client = await guest(wakeport);
  await target.rename(`${target.name}-renamed`);
  const next = await lab.container({ program: echo(), name: target.name });
  wakeport.mayUse("echo", next);
  await eventually("another container serves", async () => (await wakeport.greeted("echo")) !== client.text);
  assert.equal(client.fate, "open");
  await target.remove();
  assert.notEqual(await client.ended(), "open");
  client.end();
});

engineTest(
  "docker rm -f during connections: they end, the target is missing, and serves again when it exists",
  async (lab) => {
    const target = await lab.container({ program: echo() });
    const wakeport = await lab.wakeport({ echo: { to: target } });
    const clients = await Promise.all([1, 2, 3].map(() => guest(wakeport)));
    await target.remove();
    for (const client of clients) {
      assert.notEqual(await client.ended(), "open");
      client.end();
    }
    await wakeport.until("echo", "missing");
    assert.match(statusOf(wakeport).cause ?? "", new RegExp(`${target.name} does not exist: create it`));
    // A removed container may be about to be replaced: the first client waits for that.
    using early = await wakeport.connect("echo");
    assert.equal(await early.ended(), "ECONNRESET");
    using hasty = await wakeport.connect("echo");
    assert.equal(await hasty.ended(), "ECONNRESET");
    assert.ok(statusOf(wakeport).cooldown_until !== undefined, "there is no cooldown to end");
    const next = await lab.container({ program: echo(), name: target.name });
    wakeport.mayUse("echo", next);
    await wakeport.until("echo", "asleep");
    assert.equal(statusOf(wakeport).cause, "created by another process");
    await wakeport.greeted("echo");
  },
);
