/**
 * Every possible response of an engine to every call of wakeport: its interpretation, and that the client of that call
 * and the next client are served or rejected in time. These tests need no engine.
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

const error = (status: number): Answer => json(status, { message: `as ${status} says` });

const answers: Readonly<Record<string, Answer>> = {
  "200": (response) => void response.writeHead(200).end("{}"),
  "204": (response) => void response.writeHead(204).end(),
  "304": (response) => void response.writeHead(304).end(),
  "400": error(400),
  "403": error(403),
  "404": json(404, { message: "No such container: fake" }),
  "409": error(409),
  "500": error(500),
  "502": (response) => void response.writeHead(502, { "content-type": "text/html" }).end("<html>Bad Gateway</html>"),
  hang: () => {},
  cut: (response) => void response.destroy(),
  garbage: (response) => void response.writeHead(200, { "content-type": "application/json" }).end('{"Id": "f'),
};

/** The errors of the engine's refusals and failures, for any call. */
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
/** Calls that change a container are judged by the status alone. */
const done = { "200": "done", "204": "done", garbage: "done" };
/** Queries need a response with data. */
const reported = { "200": "unreachable", "204": "failed", "304": "failed", garbage: "unreachable" };

/** The result or the error of each call for each response. */
const verdicts: Readonly<Record<Call, Readonly<Record<string, string>>>> = {
  start: { ...usual, "200": "started", "204": "started", garbage: "started", "304": "already" },
  // A stopped or missing container needs no stop.
  stop: { ...usual, ...done, "304": "done", "404": "done" },
  inspect: { ...usual, ...reported },
  list: { ...usual, ...reported },
  pause: { ...usual, ...done, "304": "failed" },
  unpause: { ...usual, ...done, "304": "failed" },
  // Without counters the traffic is unknown.
  stats: { ...usual, ...reported, "200": "done", garbage: "done" },
};

/** Longer than any response time of the scripted engine. */
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

suite("interpretation of a response", () => {
  for (const call of calls) {
    test(`${call}: all ${Object.keys(answers).length} responses`, async () => {
      await using fake = await FakeEngine.open();
      const engine = new Engine({ url: fake.host, socketPath: fake.socketPath }, observer());
      const found: Record<string, string> = {};
      for (const [name, answer] of Object.entries(answers)) {
        fake.once(routes[call], answer);
        found[name] = await verdict(engine, call);
        // The cooldown after a refusal must not affect the next response.
        engine.refusals.succeeded(call);
      }
      engine.close();
      assert.deepEqual(found, verdicts[call]);
    });
  }
});

/** A client that connects while the engine responds like this. */
interface Scene {
  readonly call: Call;
  readonly name: string;
  readonly answer: Answer;
}

const START_TIMEOUT_MS = 1_000;
/** Calls that stop a target have their own deadline, longer than a test can wait. */
const isTooLong = ({ call, name }: Scene): boolean => name === "hang" && (call === "stop" || call === "pause");

/** Each call is made for its own client, or for the sleep before the next client. */
const settings: Readonly<Record<Call, Readonly<Record<string, unknown>>>> = {
  start: {},
  stop: { idle_timeout: "20ms" },
  inspect: {},
  list: { container: { service: "service", project: "project" } },
  pause: { idle_timeout: "20ms", sleep: "pause" },
  unpause: { idle_timeout: "20ms", sleep: "pause" },
  stats: { idle_timeout: "20ms" },
};

/** @returns true if the client was served. @throws if it is neither served nor rejected in time */
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
  const target = { to: container, port: container.port, start_timeout: `${START_TIMEOUT_MS}ms` };
  // All scenes run at once. A data plane for each of them would take longer to start than a client waits.
  const service = { ...target, relay: "node", ...settings[call] };
  await using wakeport = await Wakeport.open({ echo: service }, { docker: { host } });
  // Wakeport inspects the target at the start, and again after it has subscribed to events.
  const route = call === "list" ? "/containers/json" : "/containers/fake/json";
  await eventually("the target was inspected", () => fake.requests.filter((one) => one === `GET ${route}`).length >= 2);
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
    await eventually(`${what}: the call is made`, () => asked() > before);
    await visit(wakeport, what);
  }
  // The cooldown after a failed start is one second.
  await eventually(`${what}: a client is served again`, () => visit(wakeport, what));
  await wakeport.settle();
  await wakeport.close();
  assert.deepEqual(violations(wakeport.evidence), [], what);
  assert.deepEqual(fake.forbidden, [], what);
}

suite("clients are served or rejected in time for any response, and served again afterwards", () => {
  for (const call of calls) {
    const scenes = Object.entries(answers).map(([name, answer]) => ({ call, name, answer }));
    test(`${call}: all responses`, async () => {
      const before = openSockets();
      await Promise.all(scenes.filter((scene) => !isTooLong(scene)).map(play));
      await eventually("I5: no socket is left open", () => openSockets() <= before);
    });
  }
});
