/** Waking, adopting, unpausing and stopping of real containers. */
import assert from "node:assert/strict";
import { echo } from "../support/engine/containers.ts";
import { engineTest, startsOf } from "../support/engine/lab.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

/** Timers use whole milliseconds, and may be late on a busy machine. */
const EARLY_MS = 2;
const LATE_MS = 500;

engineTest("a stopped container is woken for the first client", async (lab) => {
  const target = await lab.container({ program: echo({ delayMs: 300 }) });
  const wakeport = await lab.wakeport({ echo: { to: target } });
  assert.equal(wakeport.state("echo"), "asleep");
  await wakeport.greeted("echo");
  assert.ok(await target.isAwake());
  const activation = await wakeport.activation();
  assert.equal(activation.outcome, "ready");
  assert.equal(activation.adopted, false);
  assert.ok(activation.durationMs >= 300, "ready before it listened");
  await eventually("the connection is reported", () => wakeport.record.connections.length === 1);
  const [connection] = wakeport.record.connections;
  assert.equal(connection?.start, "cold");
  assert.equal(connection.outcome, "relayed");
  assert.equal(connection.bytesIn, "word\n".length);
  const { acceptMs = -1, dialMs = -1, firstByteMs = -1 } = connection.wake ?? {};
  assert.ok(acceptMs >= 0 && dialMs >= 0 && firstByteMs >= 0, "a phase is missing");
  const phasesMs = acceptMs + activation.durationMs + dialMs;
  assert.ok(phasesMs <= connection.durationMs, `${phasesMs} ms of phases in ${connection.durationMs} ms`);
});

engineTest("a hundred clients at once cause one start, and are all served", async (lab) => {
  const target = await lab.container({ program: echo({ delayMs: 200 }) });
  const wakeport = await lab.wakeport({ echo: { to: target } });
  const greetings = await Promise.all(Array.from({ length: 100 }, () => wakeport.greeted("echo")));
  assert.equal(new Set(greetings).size, 1);
  assert.equal(await startsOf(lab, target), 1);
});

engineTest("two services of one container share its state", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ one: { to: target }, two: { to: target } });
  const [one, two] = await Promise.all([wakeport.greeted("one"), wakeport.greeted("two")]);
  assert.equal(one, two);
  assert.equal(await startsOf(lab, target), 1);
});

engineTest("a running container is adopted, and sleeps on time", async (lab) => {
  const target = await lab.container({ program: echo() });
  await target.start();
  // The engine reads traffic counters once a second, which would delay the sleep.
  const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "700ms", direct_traffic: "ignore" } });
  // The target may be asleep before wakeport has subscribed to events.
  await wakeport.activation();
  await wakeport.until("echo", "asleep");
  const { record } = wakeport;
  assert.deepEqual(
    record.activations.map(({ adopted, outcome }) => ({ adopted, outcome })),
    [{ adopted: true, outcome: "ready" }],
  );
  const { idleMs } = wakeport;
  assert.ok(idleMs >= 700 - EARLY_MS && idleMs < 700 + LATE_MS, `asleep after ${idleMs} ms instead of 700`);
  assert.deepEqual(
    record.sleeps.map(({ reason, action }) => ({ reason, action })),
    [{ reason: "idle", action: "stop" }],
  );
  assert.equal(await target.isAwake(), false);
  assert.equal(await startsOf(lab, target), 1, "the test's own action");
});

engineTest("a container that was adopted serves at once", async (lab) => {
  const target = await lab.container({ program: echo() });
  await target.start();
  const wakeport = await lab.wakeport({ echo: { to: target } });
  await wakeport.until("echo", "ready");
  await wakeport.greeted("echo");
  await eventually("the connection is reported", () => wakeport.record.connections.length === 1);
  assert.equal(wakeport.record.connections[0]?.start, "warm");
  assert.equal(wakeport.record.connections[0]?.wake, undefined);
});

engineTest("a silent connection keeps its target awake; the idle timeout begins at its end", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "300ms" } });
  // The idle timeout is running when the silent client connects.
  await wakeport.greeted("echo");
  const peer = await wakeport.connect("echo");
  await eventually("a greeting", () => peer.received > 0);
  const began = performance.now();
  await eventually("four times the idle timeout is over", () => performance.now() - began > 1_200);
  assert.equal(wakeport.state("echo"), "ready");
  assert.ok(await target.isAwake());
  peer.end();
  await peer.closes();
  await wakeport.until("echo", "asleep");
});

engineTest("min_uptime keeps an unused target awake", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "0s", min_uptime: "900ms" } });
  await wakeport.greeted("echo");
  await wakeport.until("echo", "asleep");
  assert.ok(wakeport.idleMs >= 900 - EARLY_MS, `asleep after ${wakeport.idleMs} ms instead of 900`);
});

engineTest("a paused container is unpaused for the next client, without a start", async (lab) => {
  const target = await lab.container({ program: echo() });
  await target.start();
  const wakeport = await lab.wakeport({ echo: { to: target } });
  await wakeport.until("echo", "ready");
  const before = await wakeport.greeted("echo");
  await target.pause();
  await wakeport.until("echo", "paused");
  assert.equal(await wakeport.greeted("echo"), before);
  assert.equal(await startsOf(lab, target), 1, "the test's own action");
});

engineTest("a compose service is found by its labels, the lowest container number first", async (lab) => {
  const project = `wakeport-test-${process.pid}`;
  const labelled = (number: number, oneoff = "False"): Record<string, string> => ({
    "com.docker.compose.project": project,
    "com.docker.compose.service": "echo",
    "com.docker.compose.container-number": String(number),
    "com.docker.compose.oneoff": oneoff,
  });
  await lab.container({ program: echo(), labels: labelled(0, "True") });
  await lab.container({ program: echo(), labels: labelled(10) });
  const target = await lab.container({ program: echo(), labels: labelled(2) });
  const wakeport = await lab.wakeport({ echo: { to: target, container: { service: "echo", project } } });
  await wakeport.greeted("echo");
  assert.ok(await target.isAwake());
});

engineTest("wakeport stops its targets at shutdown with targets: stop", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target } }, { shutdown: { targets: "stop" } });
  await wakeport.greeted("echo");
  await wakeport.settle();
  await wakeport.close();
  assert.equal(await target.isAwake(), false);
  assert.deepEqual(
    wakeport.record.sleeps.map(({ reason }) => reason),
    ["shutdown"],
  );
});

engineTest("wakeport leaves its targets at shutdown with targets: leave", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target } }, { shutdown: { targets: "leave" } });
  await wakeport.greeted("echo");
  await wakeport.settle();
  await wakeport.close();
  assert.ok(await target.isAwake());
});
