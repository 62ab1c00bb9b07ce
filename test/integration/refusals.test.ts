/** A socket proxy that refuses one thing: what people are told, and what works all the same. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { format } from "../../src/cli/status.ts";
import { openSockets } from "../support/activation/invariants.ts";
import { echo, type TestContainer } from "../support/engine/containers.ts";
import { FakeEngine } from "../support/engine/fake-engine.ts";
import { Lab, skip } from "../support/engine/lab.ts";
import { cannotProxy, NarrowProxy, type Right } from "../support/engine/narrow-proxy.ts";
import { Made } from "../support/engine/on-demand.ts";
import { Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

/** Who is refused is refused at once, and not at the start timeout (a minute). */
const AT_ONCE_MS = 5_000;

interface Stage {
  readonly lab: Lab;
  readonly proxy: NarrowProxy;
  readonly target: TestContainer;
  readonly wakeport: Wakeport;
}

interface Spec {
  readonly without?: Right;
  readonly container?: { readonly labels: Readonly<Record<string, string>> };
  readonly [setting: string]: unknown;
}

/** A wakeport with one echo server, behind a proxy that lacks a right. */
function refusalTest(name: string, spec: Spec, body: (stage: Stage) => Promise<void>): void {
  const { without, container, ...settings } = spec;
  test(name, { skip: skip || cannotProxy }, async () => {
    const before = openSockets();
    {
      await using lab = await Lab.open();
      await using proxy = await NarrowProxy.open({ ...(without && { without }) });
      const target = await lab.container({ program: echo(), ...container });
      const named = container === undefined ? {} : { container: { service: "echo", project: target.name } };
      const docker = { host: proxy.host };
      const wakeport = await lab.wakeport({ echo: { to: target, ...named, ...settings } }, { docker });
      await body({ lab, proxy, target, wakeport });
      await wakeport.close();
    }
    await eventually("I5: no socket is left open", () => openSockets() <= before);
  });
}

/** The refusal in words, where somebody looks: status, as the API and the command tell it. */
async function told(wakeport: Wakeport, operation: string, remedy: RegExp): Promise<void> {
  const refusal = new RegExp(`the socket proxy at unix://\\S+ refuses "${operation}".*: .*${remedy.source}`);
  await eventually(`status tells of ${operation}`, () => {
    return wakeport.status.engine?.problems?.some((problem) => refusal.test(problem)) === true;
  });
  assert.match(format(wakeport.status, Date.now()), refusal);
  assert.doesNotMatch(format(wakeport.status, Date.now()), /</, "the proxy's page itself is shown");
}

/** A client is turned away; how long that took, in milliseconds, is far below the start timeout. */
async function turnedAway(wakeport: Wakeport): Promise<void> {
  const began = performance.now();
  using peer = await wakeport.connect("echo");
  assert.equal(await peer.ended(), "ECONNRESET");
  assert.ok(performance.now() - began < AT_ONCE_MS, `refused after ${Math.round(performance.now() - began)} ms`);
}

async function readiness(wakeport: Wakeport): Promise<string> {
  const { status, body } = await wakeport.ask("/readyz");
  return `${status} ${body}`;
}

async function warned(wakeport: Wakeport, operation: string, remedy: RegExp): Promise<void> {
  const warnings = (): string[] => wakeport.record.warnings.map(({ message }) => message);
  await eventually("a warning", () => warnings().length > 0);
  assert.equal(warnings().length, 1, "it warns more than once");
  assert.match(warnings()[0] ?? "", new RegExp(`refuses "${operation}".*${remedy.source}`));
}

refusalTest("all that is needed: nothing to complain about", {}, async ({ wakeport }) => {
  await eventually("the engine answers", () => wakeport.isEngineUp);
  await wakeport.greeted("echo");
  assert.equal(wakeport.status.engine?.problems, undefined);
  assert.match(await readiness(wakeport), /^200 ready/);
  assert.deepEqual(wakeport.record.warnings, []);
});

refusalTest("no ping: not ready, and why; targets are woken all the same", { without: "PING" }, async (stage) => {
  const { wakeport, proxy } = stage;
  await told(wakeport, "ping", /set PING=1/);
  assert.match(await readiness(wakeport), /^503 the socket proxy at .* refuses "ping": .*PING=1/);
  assert.match(wakeport.record.engine[0]?.error?.message ?? "", /refuses "ping"/);
  assert.equal(wakeport.record.engine.length, 1, "it is told again and again");
  await wakeport.greeted("echo");
  await proxy.allowAll();
  await eventually("the engine answers", () => wakeport.isEngineUp);
  assert.equal(wakeport.status.engine?.problems, undefined);
});

refusalTest("no version: only its name is missing", { without: "VERSION" }, async ({ wakeport }) => {
  await eventually("the engine answers", () => wakeport.isEngineUp);
  await told(wakeport, "version", /set VERSION=1/);
  await warned(wakeport, "version", /VERSION=1/);
  assert.match(await readiness(wakeport), /^200/);
  await wakeport.greeted("echo");
});

refusalTest(
  "no events: not ready, and why; it wakes, relays and sleeps all the same",
  { without: "EVENTS", idle_timeout: "100ms" },
  async ({ wakeport, target }) => {
    await told(wakeport, "events", /set EVENTS=1/);
    assert.match(await readiness(wakeport), /^503 the socket proxy at .* refuses "events"/);
    await wakeport.greeted("echo");
    await wakeport.until("echo", "asleep");
    assert.equal(await target.isAwake(), false);
  },
);

/** A compose service, so that it has to be found in the list. */
function composeLabels(project: string): Readonly<Record<string, string>> {
  return {
    "com.docker.compose.project": project,
    "com.docker.compose.service": "echo",
    "com.docker.compose.oneoff": "False",
  };
}

refusalTest(
  "no list: a compose service cannot be found; its clients are told at once",
  { without: "LIST", container: { labels: composeLabels("any") } },
  async ({ wakeport }) => {
    await told(wakeport, "list", /set CONTAINERS=1/);
    await warned(wakeport, "list", /CONTAINERS=1/);
    await turnedAway(wakeport);
    assert.match((await wakeport.activation()).error?.message ?? "", /refuses "list"/);
  },
);

refusalTest("no inspect: nothing is started that could not be seen", { without: "INSPECT" }, async (stage) => {
  const { wakeport, target, proxy } = stage;
  await told(wakeport, "inspect", /set CONTAINERS=1/);
  await warned(wakeport, "inspect", /CONTAINERS=1/);
  await turnedAway(wakeport);
  assert.equal(await target.isAwake(), false, "it was started");
  assert.match((await wakeport.activation()).error?.message ?? "", /refuses "inspect"/);
  await proxy.allowAll();
  await eventually("it is served", async () => {
    using peer = await wakeport.connect("echo");
    await eventually("an answer", () => peer.received > 0 || peer.fate !== "open");
    return peer.received > 0;
  });
});

refusalTest(
  "no start: its clients are told at once, and there is a pause",
  { without: "ALLOW_START" },
  async (stage) => {
    const { wakeport } = stage;
    await turnedAway(wakeport);
    await told(wakeport, "start", /set ALLOW_START=1/);
    const { error, outcome, cooldownMs } = await wakeport.activation();
    assert.equal(outcome, "engine_error");
    assert.equal(cooldownMs, 1_000);
    assert.match(error?.message ?? "", /refuses "start" of container/);
    await turnedAway(wakeport);
  },
);

refusalTest(
  "no stop: it cannot sleep, and serves; once it may, it sleeps",
  { without: "ALLOW_STOP", idle_timeout: "50ms" },
  async ({ wakeport, target, proxy }) => {
    await wakeport.greeted("echo");
    await told(wakeport, "stop", /set ALLOW_STOP=1/);
    await eventually("it is reported", () => wakeport.record.stopFailures.length > 0);
    assert.match(wakeport.record.stopFailures[0]?.error.message ?? "", /refuses "stop" of container \S+$/);
    assert.ok(await target.isAwake());
    await wakeport.greeted("echo");
    await proxy.allowAll();
    await wakeport.until("echo", "asleep");
    assert.equal(await target.isAwake(), false);
    assert.equal(wakeport.status.engine?.problems, undefined);
  },
);

refusalTest("no unpause: a paused target cannot be woken", { without: "ALLOW_UNPAUSE" }, async (stage) => {
  const { wakeport, target } = stage;
  await target.start();
  await target.pause();
  await eventually("the engine answers", () => wakeport.isEngineUp);
  await wakeport.until("echo", "asleep");
  await turnedAway(wakeport);
  await told(wakeport, "unpause", /set ALLOW_UNPAUSE=1/);
});

refusalTest(
  "no logs: told once, when they are missed for the first time",
  { start_timeout: "200ms" },
  async (stage) => {
    const { wakeport, lab } = stage;
    const deaf = await lab.container({ command: ["sh", "-c", "echo last words; exit 3"] });
    await using other = await lab.wakeport({ deaf: { to: deaf } }, { docker: { host: stage.proxy.host } });
    for (const attempt of [1, 2]) {
      await eventually("a failure", async () => {
        using peer = await other.connect("deaf");
        await peer.ended();
        return other.record.activations.length >= attempt;
      });
    }
    assert.deepEqual(other.record.activations[0]?.lastLines, []);
    await warned(other, "logs", /ALLOW_LOGS=1/);
    await told(other, "logs", /ALLOW_LOGS=1/);
    assert.deepEqual(wakeport.record.warnings, []);
  },
);

refusalTest("no create: what an image on demand needs more is named", {}, async ({ lab, proxy }) => {
  await using made = new Made(lab.engine);
  const spec = made.spec({ image: "wakeport-test/busybox", command: ["sleep", "3600"] });
  await using other = await lab.wakeport({ [made.name]: spec }, { docker: { host: proxy.host } });
  using peer = await other.connect(made.name);
  assert.equal(await peer.ended(), "ECONNRESET");
  await told(other, "create", /set CONTAINERS=1 and POST=1/);
  assert.match((await other.activation()).error?.message ?? "", /refuses "create" of container wakeport-made-/);
});

// With an engine of its own: on a real one something happens all the time while other tests run.
test("a proxy that cuts silent connections: nothing is missed, and nobody is bothered", {
  skip: cannotProxy,
}, async () => {
  await using engine = await FakeEngine.open();
  const { container, socketPath } = engine;
  await using proxy = await NarrowProxy.open({ socketPath, idle: "1200ms" });
  const services = { echo: { to: container, port: container.port } };
  await using wakeport = await Wakeport.open(services, { docker: { host: proxy.host } });
  await eventually("the engine answers", () => wakeport.isEngineUp);
  const reconnects = async (): Promise<number> =>
    (await wakeport.metric("wakeport_engine_events_reconnects_total")).get("") ?? 0;
  for (const isRunning of [true, false, true, false]) {
    const before = await reconnects();
    await eventually("a cut", () => engine.streams.size === 0);
    // In the gap, so that no event tells of it.
    container.isRunning = isRunning;
    await wakeport.until("echo", isRunning ? "ready" : "asleep");
    await eventually("it is back", async () => engine.streams.size > 0 && (await reconnects()) > before);
  }
  await wakeport.greeted("echo");
  assert.ok(
    wakeport.record.engine.every(({ isUp }) => isUp),
    "it is told that the engine is down",
  );
  assert.equal(wakeport.record.engine.length, 1);
  assert.deepEqual(wakeport.record.warnings, []);
  assert.equal(wakeport.status.engine?.problems, undefined);
  await wakeport.settle();
});
