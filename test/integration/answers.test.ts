/**
 * Every answer that an engine may give to every call that wakeport makes: what it is taken for, and that a client which
 * comes at that moment, and the next one, are served or refused in time. These tests need no engine.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { scheduler } from "node:timers/promises";
import { Engine } from "../../src/docker/engine.ts";
import { TargetError } from "../../src/errors.ts";
import { observer } from "../../src/telemetry/observer.ts";
import { openSockets, violations } from "../support/activation/invariants.ts";
import { type Answer, FakeEngine, json } from "../support/engine/fake-engine.ts";
import { Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const calls = ["start", "stop", "inspect", "list", "pause", "unpause", "stats"] as const;
type Call = (typeof calls)[number];

const routes: Readonly<Record<Call, string>> = {
  start: "POST start",
  stop: "POST stop",
  inspect: "GET json",
  list: "GET list",
  pause: "POST pause",
  unpause: "POST unpause",
  stats: "GET stats",
};

const said = (status: number): Answer => json(status, { message: `as ${status} says` });

const answers: Readonly<Record<string, Answer>> = {
  "200": (response) => void response.writeHead(200).end("{}"),
  "204": (response) => void response.writeHead(204).end(),
  "304": (response) => void response.writeHead(304).end(),
  "400": said(400),
  "403": said(403),
  "404": json(404, { message: "No such container: fake" }),
  "409": said(409),
  "500": said(500),
  "502": (response) => void response.writeHead(502, { "content-type": "text/html" }).end("<html>Bad Gateway</html>"),
  hang: () => {},
  cut: (response) => void response.destroy(),
  garbage: (response) => void response.writeHead(200, { "content-type": "application/json" }).end('{"Id": "f'),
};

/** What the engine's refusals and failures are called, whatever was asked. */
const usual = {
  "400": "failed",
  "403": "denied",
  "404": "missing",
  "409": "conflict",
  "500": "failed",
  "502": "unreachable",
  hang: "gave up",
  cut: "unreachable",
};
/** Acts tell by their status alone. */
const done = { "200": "done", "204": "done", garbage: "done" };
/** What asks for facts needs an answer that has some. */
const told = { "200": "unreachable", "204": "failed", "304": "failed", garbage: "unreachable" };

/** What each call makes of each answer: what it resolves with, or its fault. */
const verdicts: Readonly<Record<Call, Readonly<Record<string, string>>>> = {
  start: { ...usual, "200": "started", "204": "started", garbage: "started", "304": "already" },
  // What is down, or gone, needs no stop.
  stop: { ...usual, ...done, "304": "done", "404": "done" },
  inspect: { ...usual, ...told },
  list: { ...usual, ...told },
  pause: { ...usual, ...done, "304": "failed" },
  unpause: { ...usual, ...done, "304": "failed" },
  // Without any counters nothing is known about traffic.
  stats: { ...usual, ...told, "200": "done", garbage: "done" },
};

/** Longer than any answer of the scripted engine takes. */
const PATIENCE_MS = 300;

async function verdict(engine: Engine, call: Call): Promise<string> {
  const fake = { id: "fake", name: "fake" };
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const made: Readonly<Record<Call, () => Promise<unknown>>> = {
    start: () => engine.start(fake, signal),
    stop: () => engine.stop(fake, 0, true, signal),
    inspect: () => engine.inspect("fake", signal),
    list: () => engine.findComposeService("project", "service", signal),
    pause: () => engine.pause(fake, signal),
    unpause: () => engine.unpause(fake, signal),
    stats: () => engine.traffic(fake, signal),
  };
  return made[call]().then(
    (result) => (typeof result === "string" ? result : "done"),
    (error) => (error instanceof TargetError ? error.fault : signal.aborted ? "gave up" : String(error)),
  );
}

suite("what an answer is taken for", () => {
  for (const call of calls) {
    test(`${call}: all ${Object.keys(answers).length} answers`, async () => {
      await using fake = await FakeEngine.open();
      const engine = new Engine({ url: fake.host, socketPath: fake.socketPath }, observer());
      const found: Record<string, string> = {};
      for (const [name, answer] of Object.entries(answers)) {
        fake.once(routes[call], answer);
        found[name] = await verdict(engine, call);
        // What a refusal leads to is no part of the next answer.
        engine.refusals.succeeded(call);
      }
      engine.close();
      assert.deepEqual(found, verdicts[call]);
    });
  }
});

/** One who comes while it is answered like this. */
interface Scene {
  readonly call: Call;
  readonly name: string;
  readonly answer: Answer;
}

const START_TIMEOUT_MS = 1_000;
/** Calls that put a target away have a deadline of their own, far beyond what a test can wait for. */
const isTooLong = ({ call, name }: Scene): boolean => name === "hang" && (call === "stop" || call === "pause");

/** Each call is made for a client of its own, or for the sleep before the next one. */
const settings: Readonly<Record<Call, Readonly<Record<string, unknown>>>> = {
  start: {},
  stop: { idle_timeout: "20ms" },
  inspect: {},
  list: { container: { service: "service", project: "project" } },
  pause: { idle_timeout: "20ms", sleep: "pause" },
  unpause: { idle_timeout: "20ms", sleep: "pause" },
  stats: { idle_timeout: "20ms" },
};

/** @returns whether it was served; fails when it is neither that nor refused in time */
async function visit(wakeport: Wakeport, what: string): Promise<boolean> {
  using peer = await wakeport.connect("echo");
  const limit = performance.now() + START_TIMEOUT_MS + 2_000;
  while (peer.fate === "open" && peer.received === 0) {
    assert.ok(performance.now() < limit, `${what}: a client hangs, ${JSON.stringify(wakeport.status.services)}`);
    await scheduler.wait(5);
  }
  return peer.received > 0;
}

async function play({ call, name, answer }: Scene): Promise<void> {
  const what = `${name} to ${call}`;
  await using fake = await FakeEngine.open();
  const { container, host } = fake;
  const service = { to: container, port: container.port, start_timeout: `${START_TIMEOUT_MS}ms`, ...settings[call] };
  await using wakeport = await Wakeport.open({ echo: service }, { docker: { host } });
  // It looks once at the beginning, and once when it follows the engine.
  const route = call === "list" ? "/containers/json" : "/containers/fake/json";
  await eventually("it looked", () => fake.requests.filter((one) => one === `GET ${route}`).length >= 2);
  if (call === "unpause") {
    assert.ok(await visit(wakeport, what));
    await wakeport.until("echo", "paused");
  }
  const [method = ""] = routes[call].split(" ");
  const asked = (): number => fake.requests.filter((one) => one.startsWith(method) && one.endsWith(`/${call}`)).length;
  const before = asked();
  fake.once(routes[call], answer);
  await visit(wakeport, what);
  if (call === "stop" || call === "pause" || call === "stats") {
    await eventually(`${what}: it is asked`, () => asked() > before);
    await visit(wakeport, what);
  }
  // After a failed start nobody may ask for a second.
  await eventually(`${what}: it is served again`, () => visit(wakeport, what));
  await wakeport.settle();
  await wakeport.close();
  assert.deepEqual(violations(wakeport.evidence), [], what);
  assert.deepEqual(fake.forbidden, [], what);
}

suite("whatever the answer, clients are served or refused in time, and served again", () => {
  for (const call of calls) {
    const scenes = Object.entries(answers).map(([name, answer]) => ({ call, name, answer }));
    test(`${call}: all answers`, async () => {
      const before = openSockets();
      await Promise.all(scenes.filter((scene) => !isTooLong(scene)).map(play));
      await eventually("I5: no socket is left open", () => openSockets() <= before);
    });
  }
});
