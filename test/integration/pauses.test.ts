/** Targets that sleep by pause or kill, in one or two steps, and targets that another program pauses. */
import assert from "node:assert/strict";
import type { ServiceStatus } from "../../src/admin/api.ts";
import { echo } from "../support/engine/containers.ts";
import { engineTest, startsOf } from "../support/engine/lab.ts";
import { isProxied } from "../support/engine/narrow-proxy.ts";
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

async function expectEcho(peer: Peer, word: string): Promise<void> {
  await eventually(`an echo of ${word}`, () => peer.text.endsWith(word) || peer.fate !== "open");
  assert.ok(peer.text.endsWith(word), `instead of an echo: ${peer.fate}`);
}

function statusOf(wakeport: Wakeport): ServiceStatus {
  const [status] = wakeport.status.services;
  assert.ok(status);
  return status;
}

/** The sleep actions, in order. */
function actions(wakeport: Wakeport): string[] {
  return wakeport.record.sleeps.map(({ action }) => action);
}

engineTest(
  "another program pauses a target with ten connections: they stay open, and continue after its unpause",
  async (lab) => {
    const target = await lab.container({ program: echo() });
    const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "300ms" } });
    const clients = await Promise.all(Array.from({ length: 10 }, () => guest(wakeport)));
    await target.pause();
    await wakeport.until("echo", "paused");
    assert.equal(statusOf(wakeport).cause, "paused by another process");
    assert.equal(statusOf(wakeport).connections, 10);
    for (const client of clients) client.send("while it is frozen\n");
    assert.equal((await target.state())?.Paused, true, "unpaused without need");
    await target.unpause();
    for (const client of clients) await expectEcho(client, "while it is frozen\n");
    await wakeport.until("echo", "ready");
    for (const client of clients) {
      client.end();
      await client.closes();
    }
    await wakeport.until("echo", "asleep");
    assert.equal(await startsOf(lab, target), 1);
  },
);

engineTest("another program pauses a target with ten connections: a new client unpauses it for all", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target } });
  const clients = await Promise.all(Array.from({ length: 10 }, () => guest(wakeport)));
  await target.pause();
  await wakeport.until("echo", "paused");
  for (const client of clients) client.send("frozen\n");
  assert.equal(await wakeport.greeted("echo"), `${clients[0]?.text.split("\n")[0]}\n`);
  for (const client of clients) {
    await expectEcho(client, "frozen\n");
    client.end();
    await client.closes();
  }
  await wakeport.until("echo", "ready");
  assert.equal(await startsOf(lab, target), 1);
});

engineTest("sleep: pause, and the next client is served by the same process", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "100ms", sleep: "pause" } });
  const greeting = await wakeport.greeted("echo");
  await wakeport.until("echo", "paused");
  assert.equal((await target.state())?.Paused, true);
  assert.equal(statusOf(wakeport).cause, "idle");
  assert.equal(await wakeport.greeted("echo"), greeting);
  await wakeport.until("echo", "paused");
});

engineTest("a hundred clients of a paused target are served after one unpause", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "500ms", sleep: "pause" } });
  const greeting = await wakeport.greeted("echo");
  await wakeport.until("echo", "paused");
  const greetings = await Promise.all(Array.from({ length: 100 }, () => wakeport.greeted("echo")));
  assert.deepEqual([...new Set(greetings)], [greeting]);
  assert.equal(wakeport.record.calls.filter(({ operation }) => operation === "unpause").length, 1);
  await wakeport.until("echo", "paused");
});

engineTest("two sleep steps: paused first, stopped later, and woken from both", async (lab) => {
  const target = await lab.container({ program: echo() });
  const sleep = [
    { after: "300ms", do: "pause" },
    { after: "1s", do: "stop" },
  ];
  const wakeport = await lab.wakeport({ echo: { to: target, sleep } });
  const greeting = await wakeport.greeted("echo");
  await wakeport.until("echo", "paused");
  assert.equal(await wakeport.greeted("echo"), greeting);
  await wakeport.until("echo", "paused");
  await wakeport.until("echo", "asleep");
  assert.equal(await target.isAwake(), false);
  assert.deepEqual(actions(wakeport), ["pause", "pause", "stop"]);
  assert.notEqual(await wakeport.greeted("echo"), greeting);
  await wakeport.until("echo", "paused");
  await wakeport.until("echo", "asleep");
  assert.equal(await startsOf(lab, target), 2);
});

// Few socket proxies allow kill.
if (!isProxied) {
  engineTest("sleep: kill ends a slow target at once", async (lab) => {
    const target = await lab.container({ program: echo({ onTerm: "ignore" }) });
    const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "100ms", sleep: "kill" } });
    const greeting = await wakeport.greeted("echo");
    await wakeport.until("echo", "asleep");
    const [sleep] = wakeport.record.sleeps;
    assert.deepEqual([sleep?.action, sleep?.reason], ["kill", "idle"]);
    assert.ok(!wakeport.record.calls.some(({ operation }) => operation === "stop"), "the target was stopped");
    assert.equal((await target.state())?.ExitCode, 137);
    assert.notEqual(await wakeport.greeted("echo"), greeting);
    await wakeport.until("echo", "asleep");
  });
}
