/** Responses of Podman that differ from Docker's and are rare on a real Podman. These tests need no engine. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { violations } from "../support/activation/invariants.ts";
import { type Answer, eventLine, FakeEngine, json } from "../support/engine/fake-engine.ts";
import { Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const HEADERS = { "api-version": "1.41", "libpod-api-version": "4.3.1" };
const improper = json(500, { cause: "container state improper", message: "…: container state improper" });

/** A wakeport with a scripted engine that identifies itself as Podman. */
function podmanTest(name: string, body: (engine: FakeEngine, wakeport: Wakeport) => Promise<void>): void {
  test(name, async () => {
    await using engine = await FakeEngine.open();
    engine.once("GET _ping", (response) => void response.writeHead(200, HEADERS).end("OK"));
    // Podman sends no header before the first event.
    engine.once("GET events", (response) => void engine.streams.add(response));
    const { container, host } = engine;
    const service = { to: container, port: container.port, idle_timeout: "100ms" };
    await using wakeport = await Wakeport.open({ echo: service }, { docker: { host } });
    await eventually("the engine responds", () => wakeport.isEngineUp);
    await body(engine, wakeport);
    await wakeport.settle();
    await wakeport.close();
    assert.deepEqual(violations(wakeport.evidence), []);
    assert.deepEqual(engine.forbidden, []);
  });
}

podmanTest("an event stream without a response header is followed from its first event", async (engine, wakeport) => {
  await eventually("wakeport has subscribed to events", () => engine.streams.size > 0);
  engine.container.isRunning = true;
  engine.emit(eventLine(engine.container, "start"));
  await wakeport.until("echo", "ready");
  await wakeport.until("echo", "asleep");
});

podmanTest(
  "a container that was stopping at its start, and is down at the inspection, is started again",
  async (engine, wakeport) => {
    engine.once("POST start", improper);
    await wakeport.greeted("echo");
    assert.equal(engine.requests.filter((request) => request.endsWith("/start")).length, 2);
  },
);

podmanTest("Podman's event names are known", async (engine, wakeport) => {
  await wakeport.greeted("echo");
  for (const name of ["died", "remove"]) {
    const looks = (): number => engine.requests.filter((request) => request.endsWith("/json")).length;
    const before = looks();
    engine.emit(eventLine(engine.container, name));
    await eventually(`"${name}" causes an inspection`, () => looks() > before);
  }
});

podmanTest("a start that Podman always rejects fails with the reason", async (engine, wakeport) => {
  const refuse: Answer = improper;
  for (let starts = 1; starts <= 3; starts += 1) engine.once("POST start", refuse);
  using client = await wakeport.connect("echo");
  assert.equal(await client.ended(), "ECONNRESET");
  const { error } = await wakeport.activation();
  assert.match(error?.message ?? "", /cannot start container fake now/);
});
