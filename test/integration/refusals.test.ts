/** A socket proxy that denies one request: the messages, and the functions that still work. */
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

/** Clients are rejected at once, not at the start timeout of a minute. */
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

/** A wakeport with one echo server, behind a proxy that denies one request. */
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

/** Checks the denied operation in the status of the API and of the command. */
async function assertDenied(wakeport: Wakeport, operation: string, remedy: RegExp): Promise<void> {
  const refusal = new RegExp(`the socket proxy at unix://\\S+ refuses "${operation}".*: .*${remedy.source}`);
  await eventually(`status contains ${operation}`, () => {
    return wakeport.status.engine?.problems?.some((problem) => refusal.test(problem)) === true;
  });
  assert.match(format(wakeport.status, Date.now()), refusal);
  assert.doesNotMatch(format(wakeport.status, Date.now()), /</, "the proxy's page is shown");
}

/** Asserts that a client is rejected far before the start timeout. */
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
  assert.equal(warnings().length, 1, "there is more than one warning");
  assert.match(warnings()[0] ?? "", new RegExp(`refuses "${operation}".*${remedy.source}`));
}

refusalTest("a proxy that allows every needed request causes no warning", {}, async ({ wakeport }) => {
  await eventually("the engine responds", () => wakeport.isEngineUp);
  await wakeport.greeted("echo");
  assert.equal(wakeport.status.engine?.problems, undefined);
  assert.match(await readiness(wakeport), /^200 ready/);
  assert.deepEqual(wakeport.record.warnings, []);
});

refusalTest(
  "no ping: not ready, with the reason; targets are woken nevertheless",
  { without: "PING" },
  async (stage) => {
    const { wakeport, proxy } = stage;
    await assertDenied(wakeport, "ping", /set PING=1/);
    assert.match(await readiness(wakeport), /^503 the socket proxy at .* refuses "ping": .*PING=1/);
    assert.match(wakeport.record.engine[0]?.error?.message ?? "", /refuses "ping"/);
    assert.equal(wakeport.record.engine.length, 1, "the engine is reported more than once");
    await wakeport.greeted("echo");
    await proxy.allowAll();
    await eventually("the engine responds", () => wakeport.isEngineUp);
    assert.equal(wakeport.status.engine?.problems, undefined);
  },
);

refusalTest("no version: only the engine's version is missing", { without: "VERSION" }, async ({ wakeport }) => {
  await eventually("the engine responds", () => wakeport.isEngineUp);
  await assertDenied(wakeport, "version", /set VERSION=1/);
  await warned(wakeport, "version", /VERSION=1/);
  assert.match(await readiness(wakeport), /^200/);
  await wakeport.greeted("echo");
});

refusalTest(
  "no events: not ready, with the reason; targets wake, serve and sleep nevertheless",
  { without: "EVENTS", idle_timeout: "100ms" },
  async ({ wakeport, target }) => {
    await assertDenied(wakeport, "events", /set EVENTS=1/);
    assert.match(await readiness(wakeport), /^503 the socket proxy at .* refuses "events"/);
    await wakeport.greeted("echo");
    await wakeport.until("echo", "asleep");
    assert.equal(await target.isAwake(), false);
  },
);

/** A compose service, which wakeport must find in the list. */
function composeLabels(project: string): Readonly<Record<string, string>> {
  return {
    "com.docker.compose.project": project,
    "com.docker.compose.service": "echo",
    "com.docker.compose.oneoff": "False",
  };
}

refusalTest(
  "no list: a compose service cannot be found; its clients are rejected at once",
  { without: "LIST", container: { labels: composeLabels("any") } },
  async ({ wakeport }) => {
    await assertDenied(wakeport, "list", /set CONTAINERS=1/);
    await warned(wakeport, "list", /CONTAINERS=1/);
    await turnedAway(wakeport);
    assert.match((await wakeport.activation()).error?.message ?? "", /refuses "list"/);
  },
);

refusalTest("no inspect: a target that cannot be inspected is not started", { without: "INSPECT" }, async (stage) => {
  const { wakeport, target, proxy } = stage;
  await assertDenied(wakeport, "inspect", /set CONTAINERS=1/);
  await warned(wakeport, "inspect", /CONTAINERS=1/);
  await turnedAway(wakeport);
  assert.equal(await target.isAwake(), false, "the target was started");
  assert.match((await wakeport.activation()).error?.message ?? "", /refuses "inspect"/);
  await proxy.allowAll();
  await eventually("the client is served", async () => {
    using peer = await wakeport.connect("echo");
    await eventually("a reply", () => peer.received > 0 || peer.fate !== "open");
    return peer.received > 0;
  });
});

refusalTest(
  "no start: clients are rejected at once, and there is a cooldown",
  { without: "ALLOW_START" },
  async (stage) => {
    const { wakeport } = stage;
    await turnedAway(wakeport);
    await assertDenied(wakeport, "start", /set ALLOW_START=1/);
    const { error, outcome, cooldownMs } = await wakeport.activation();
    assert.equal(outcome, "engine_error");
    assert.equal(cooldownMs, 1_000);
    assert.match(error?.message ?? "", /refuses "start" of container/);
    await turnedAway(wakeport);
  },
);

refusalTest(
  "no stop: the target cannot sleep, and serves; it sleeps once stop is allowed",
  { without: "ALLOW_STOP", idle_timeout: "50ms" },
  async ({ wakeport, target, proxy }) => {
    await wakeport.greeted("echo");
    await assertDenied(wakeport, "stop", /set ALLOW_STOP=1/);
    await eventually("the failure is reported", () => wakeport.record.stopFailures.length > 0);
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
  await eventually("the engine responds", () => wakeport.isEngineUp);
  // wakeport may inspect the target before the pause and adopt it. Then the state is "paused".
  await eventually("echo is asleep or paused", () => ["asleep", "paused"].includes(wakeport.state("echo")));
  await turnedAway(wakeport);
  await assertDenied(wakeport, "unpause", /set ALLOW_UNPAUSE=1/);
});

refusalTest(
  "no logs: reported once, when they are needed for the first time",
  { start_timeout: "200ms" },
  async (stage) => {
    const { wakeport, lab } = stage;
    const deaf = await lab.container({ command: ["sh", "-c", "echo last words; exit 3"] });
    await using other = await lab.wakeport({ deaf: { to: deaf } }, { docker: { host: stage.proxy.host } });
    for (const attempt of [1, 2]) {
      await eventually("a failure is reported", async () => {
        using peer = await other.connect("deaf");
        await peer.ended();
        return other.record.activations.length >= attempt;
      });
    }
    assert.deepEqual(other.record.activations[0]?.lastLines, []);
    await warned(other, "logs", /ALLOW_LOGS=1/);
    await assertDenied(other, "logs", /ALLOW_LOGS=1/);
    assert.deepEqual(wakeport.record.warnings, []);
  },
);

refusalTest(
  "no create: the additional permissions of on-demand containers are reported",
  {},
  async ({ lab, proxy }) => {
    await using made = new Made(lab.engine);
    const spec = made.spec({ image: "wakeport-test/busybox", command: ["sleep", "3600"] });
    await using other = await lab.wakeport({ [made.name]: spec }, { docker: { host: proxy.host } });
    using peer = await other.connect(made.name);
    assert.equal(await peer.ended(), "ECONNRESET");
    await assertDenied(other, "create", /set CONTAINERS=1 and POST=1/);
    assert.match((await other.activation()).error?.message ?? "", /refuses "create" of container wakeport-made-/);
  },
);

// A scripted engine, because a real one has events of other tests all the time.
test("a proxy that closes silent connections: no event is missed, and no warning logged", {
  skip: cannotProxy,
}, async () => {
  await using engine = await FakeEngine.open();
  const { container, socketPath } = engine;
  await using proxy = await NarrowProxy.open({ socketPath, idle: "1200ms" });
  const services = { echo: { to: container, port: container.port } };
  await using wakeport = await Wakeport.open(services, { docker: { host: proxy.host } });
  await eventually("the engine responds", () => wakeport.isEngineUp);
  const reconnects = async (): Promise<number> =>
    (await wakeport.metric("wakeport_engine_events_reconnects_total")).get("") ?? 0;
  for (const isRunning of [true, false, true, false]) {
    const before = await reconnects();
    await eventually("a closed connection", () => engine.streams.size === 0);
    // During the gap, so that there is no event.
    container.isRunning = isRunning;
    await wakeport.until("echo", isRunning ? "ready" : "asleep");
    await eventually(
      "wakeport is connected again",
      async () => engine.streams.size > 0 && (await reconnects()) > before,
    );
  }
  await wakeport.greeted("echo");
  assert.ok(
    wakeport.record.engine.every(({ isUp }) => isUp),
    "the engine is reported down",
  );
  assert.equal(wakeport.record.engine.length, 1);
  assert.deepEqual(wakeport.record.warnings, []);
  assert.equal(wakeport.status.engine?.problems, undefined);
  await wakeport.settle();
});
