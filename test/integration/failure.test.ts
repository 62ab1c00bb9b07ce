/** Targets that fail to start, or crash later. */
import assert from "node:assert/strict";
import { type EngineEvent, echo, now, type TestContainer } from "../support/engine/containers.ts";
import { engineTest, type Lab, startsOf } from "../support/engine/lab.ts";
import { isProxied } from "../support/engine/narrow-proxy.ts";
import type { Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import type { Peer } from "../support/net/tcp.ts";

checkLeaks();

/** Far below the start timeout; test/bench/crash.ts measures the real time. */
const REFUSED_MS = 5_000;

/** The end of a connection, and its time in Unix milliseconds. */
async function endOf(peer: Peer): Promise<{ readonly fate: string; readonly at: number }> {
  const closed = new Promise<number>((resolve) => peer.socket.once("close", () => resolve(now())));
  return { at: await closed, fate: peer.fate };
}

/** The time of the engine's die event; the engine reports it late. */
async function knownDeadAt({ engine }: Lab, { id }: TestContainer): Promise<number> {
  const death = (): EngineEvent | undefined => engine.events.find((event) => event.id === id && event.action === "die");
  await eventually("the container died", () => death() !== undefined);
  return death()!.heardAt;
}

/** The error of the only activation, with its message. */
async function failure(wakeport: Wakeport): Promise<{ readonly outcome: string; readonly reported: string }> {
  const { outcome, error } = await wakeport.activation();
  const remedy = error !== undefined && "remedy" in error ? `: ${error.remedy}` : "";
  return { outcome, reported: `${error?.message}${remedy}` };
}

engineTest(
  "a target that crashes while it starts resets clients at once, and the report contains the reason",
  async (lab) => {
    const script = 'echo "reading the settings"; echo "no database"; sleep 0.5; exit 3';
    const target = await lab.container({ command: ["sh", "-c", script] });
    const wakeport = await lab.wakeport({ crash: { to: target } });
    using first = await wakeport.connect("crash");
    using second = await wakeport.connect("crash");
    const [one, two] = await Promise.all([endOf(first), endOf(second)]);
    assert.deepEqual([one.fate, two.fate], ["ECONNRESET", "ECONNRESET"]);
    const delay = Math.max(one.at, two.at) - (await knownDeadAt(lab, target));
    assert.ok(delay <= REFUSED_MS, `refused ${Math.round(delay)} ms after it was known to be dead`);
    const { outcome, exit, lastLines, error } = await wakeport.activation();
    assert.equal(outcome, "exited");
    assert.deepEqual(exit, { code: 3, oomKilled: false });
    assert.deepEqual(lastLines, isProxied ? [] : ["reading the settings", "no database"]);
    assert.match(error?.message ?? "", /exited with code 3/);
  },
);

engineTest("after a crash there is a cooldown; the next client after it is the next attempt", async (lab) => {
  const target = await lab.container({ command: ["sh", "-c", "exit 3"] });
  const wakeport = await lab.wakeport({ crash: { to: target } });
  using first = await wakeport.connect("crash");
  assert.equal(await first.ended(), "ECONNRESET");
  await wakeport.until("crash", "asleep");
  using hasty = await wakeport.connect("crash");
  assert.equal(await hasty.ended(), "ECONNRESET");
  assert.equal(await startsOf(lab, target), 1, "a start in the cooldown");
  await eventually("the next attempt", async () => {
    using peer = await wakeport.connect("crash");
    await peer.ended();
    return (await startsOf(lab, target)) === 2;
  });
  await eventually("the attempt is reported", () => wakeport.record.activations.length === 2);
  const [one, two] = wakeport.record.activations;
  assert.equal(one?.cooldownMs, 1_000);
  assert.equal(two?.cooldownMs, 2_000);
});

engineTest("a target that never listens resets clients at the timeout, and is stopped", async (lab) => {
  const target = await lab.container({
    program: "process.on('SIGTERM', () => process.exit(0)); setInterval(() => {}, 1e6)",
  });
  const wakeport = await lab.wakeport({ deaf: { to: target, start_timeout: "1s" } });
  const began = now();
  using peer = await wakeport.connect("deaf");
  const { fate, at } = await endOf(peer);
  assert.equal(fate, "ECONNRESET");
  assert.ok(at - began >= 998 && at - began < 2_500, `refused after ${at - began} ms instead of 1000`);
  assert.equal((await wakeport.activation()).outcome, "timeout");
  await wakeport.until("deaf", "asleep");
  assert.equal(await target.isAwake(), false);
  await eventually("the connection is reported", () => wakeport.record.connections.length === 1);
  assert.equal(wakeport.record.connections[0]?.outcome, "start_timeout");
});

engineTest(
  "a missing container: the message contains the remedy, and clients are served once it exists",
  async (lab) => {
    const name = `wakeport-test-late-${process.pid}`;
    // The removal frees the name.
    const placeholder = await lab.container({ program: echo(), name });
    await placeholder.remove();
    const wakeport = await lab.wakeport({ echo: { to: placeholder } });
    using early = await wakeport.connect("echo");
    assert.equal(await early.ended(), "ECONNRESET");
    const { outcome, reported } = await failure(wakeport);
    assert.equal(outcome, "engine_error");
    assert.match(reported, new RegExp(`container ${name} does not exist: create it`));

    const late = await lab.container({ program: echo(), name });
    wakeport.mayUse("echo", late);
    await eventually("the client is served", async () => {
      using peer = await wakeport.connect("echo");
      await eventually("a reply", () => peer.received > 0 || peer.fate !== "open");
      return peer.received > 0;
    });
    assert.ok(await late.isAwake());
  },
);

engineTest("a compose service without a container is reported", async (lab) => {
  const target = await lab.container({ program: echo() });
  const container = { service: "ghost", project: "wakeport-test-none" };
  const wakeport = await lab.wakeport({ ghost: { to: target, container } });
  using peer = await wakeport.connect("ghost");
  assert.equal(await peer.ended(), "ECONNRESET");
  const { reported } = await failure(wakeport);
  assert.match(reported, /compose project "wakeport-test-none" has no container of service "ghost": create it/);
});

engineTest("a command that does not exist: the error contains the engine's message", async (lab) => {
  const target = await lab.container({ command: ["/no/such/program"] });
  const wakeport = await lab.wakeport({ wrong: { to: target } });
  using peer = await wakeport.connect("wrong");
  assert.equal(await peer.ended(), "ECONNRESET");
  const { outcome, reported } = await failure(wakeport);
  assert.equal(outcome, "engine_error");
  assert.match(reported, /could not start container .*\/no\/such\/program/s);
});

engineTest("a target that runs out of memory while it starts is distinguished from a crash", async (lab) => {
  const target = await lab.container({ command: ["sh", "-c", "tail /dev/zero"], memoryBytes: 8 << 20 });
  const wakeport = await lab.wakeport({ hungry: { to: target } });
  using peer = await wakeport.connect("hungry");
  assert.equal(await peer.ended(), "ECONNRESET");
  const { outcome, exit, error } = await wakeport.activation();
  assert.equal(outcome, "exited");
  assert.equal(exit?.oomKilled, true);
  assert.match(error?.message ?? "", /out of memory/);
});

engineTest("a target that crashes in use resets its clients, and the next client wakes it again", async (lab) => {
  const program = `${echo()} process.on("SIGUSR2", () => { console.error("disk full"); process.exit(5); });`;
  const target = await lab.container({ program });
  const wakeport = await lab.wakeport({ echo: { to: target } });
  using peer = await wakeport.connect("echo");
  await eventually("a greeting", () => peer.received > 0);
  await target.kill("SIGUSR2");
  assert.notEqual(await peer.ended(), "open");
  await wakeport.until("echo", "asleep");
  const { sleeps } = wakeport.record;
  await eventually("the crash is reported with the last output", () => sleeps.length === 1);
  assert.equal(sleeps[0]?.reason, "crash");
  assert.equal(sleeps[0].exit?.code, 5);
  assert.deepEqual(sleeps[0].lastLines?.slice(-1), isProxied ? [] : ["disk full"]);
  peer.end();
  assert.notEqual(await wakeport.greeted("echo"), peer.text);
});

engineTest("a target that crashes before it sent a byte: its clients are served by the next start", async (lab) => {
  // The first connection is the readiness probe; the second connection of the first run is a client.
  const program = `
    const fs = require("node:fs");
    const isFirstLife = !fs.existsSync("/tmp/lived");
    fs.writeFileSync("/tmp/lived", "");
    let connections = 0;
    require("node:net").createServer((socket) => {
      connections += 1;
      if (isFirstLife && connections === 2) process.exit(3);
      socket.on("error", () => {});
      if (!isFirstLife) socket.write("220 hello\\n");
      socket.pipe(socket);
    }).listen(7000);
    process.on("SIGTERM", () => process.exit(0));`;
  const target = await lab.container({ program });
  const wakeport = await lab.wakeport({ crash: { to: target } });
  const peers = await Promise.all([0, 1, 2].map(() => wakeport.connect("crash")));
  using _peers = new DisposableStack();
  for (const peer of peers) _peers.use(peer);
  await eventually("all clients are served", () => peers.every(({ text, fate }) => text !== "" || fate !== "open"));
  assert.deepEqual(
    peers.map(({ text }) => text),
    peers.map(() => "220 hello\n"),
  );
  assert.equal(await startsOf(lab, target), 2);
});

engineTest("clients can disconnect during a start, which continues for the other clients", async (lab) => {
  const target = await lab.container({ program: echo({ delayMs: 600 }) });
  const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "100ms" } });
  const leaving = await Promise.all(Array.from({ length: 20 }, () => wakeport.connect("echo")));
  const staying = wakeport.greeted("echo");
  await wakeport.until("echo", "starting");
  for (const peer of leaving) peer.reset();
  await eventually("the closed connections are reported", () => wakeport.record.connections.length === 20);
  assert.ok(wakeport.record.connections.every(({ outcome }) => outcome === "client_gone"));
  await staying;
  await wakeport.until("echo", "asleep");
});

engineTest("a start without waiting clients ends in sleep", async (lab) => {
  const target = await lab.container({ program: echo({ delayMs: 300 }) });
  const wakeport = await lab.wakeport({ echo: { to: target, idle_timeout: "100ms" } });
  const peer = await wakeport.connect("echo");
  await wakeport.until("echo", "starting");
  peer.reset();
  await wakeport.until("echo", "ready");
  await wakeport.until("echo", "asleep");
  assert.equal(await target.isAwake(), false);
});
