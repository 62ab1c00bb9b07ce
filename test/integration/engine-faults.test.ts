/** The engine stops, restarts and hangs. It is a private engine, because other tests use the common one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { openSockets, violations } from "../support/activation/invariants.ts";
import { isProxied, NarrowProxy } from "../support/engine/narrow-proxy.ts";
import { cannotHaveEngine, PrivateEngine } from "../support/engine/private-engine.ts";
import { type ServiceSpec, Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import type { Peer } from "../support/net/tcp.ts";

checkLeaks();

/** A ping at most 30 s after the start of the first target, 5 s for the response, and a margin for a busy machine. */
const SEEN_TO_HANG_MS = 45_000;

/** Containers outlive this engine because of `live-restore`. */
const LIVE_RESTORE = "--live-restore";

function faultTest(name: string, flags: readonly string[], body: (stage: Stage) => Promise<void>): void {
  test(name, { skip: cannotHaveEngine }, async () => {
    const before = openSockets();
    {
      await using stage = new Stage(await PrivateEngine.open(...flags));
      await body(stage);
      await stage.check();
    }
    await eventually("I5: no socket is left open", () => openSockets() <= before);
  });
}

class Stage implements AsyncDisposable {
  readonly engine: PrivateEngine;
  #wakeport: Wakeport | undefined;
  #proxy: NarrowProxy | undefined;

  constructor(engine: PrivateEngine) {
    this.engine = engine;
  }

  async wakeport(services: Readonly<Record<string, ServiceSpec>>): Promise<Wakeport> {
    const { host, socketPath } = this.engine;
    if (isProxied) this.#proxy = await NarrowProxy.open({ socketPath });
    this.#wakeport = await Wakeport.open(services, { docker: { host: this.#proxy?.host ?? host } });
    return this.#wakeport;
  }

  async check(): Promise<void> {
    await this.#wakeport?.settle();
    await this.#wakeport?.close();
    if (this.#wakeport !== undefined) assert.deepEqual(violations(this.#wakeport.evidence), []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#wakeport?.close();
    await this.#proxy?.[Symbol.asyncDispose]();
    await this.engine[Symbol.asyncDispose]();
  }
}

async function hearsItself(peer: Peer, word: string): Promise<void> {
  peer.send(word);
  await eventually(`an echo of "${word}"`, () => peer.text.endsWith(word) || peer.fate !== "open");
  assert.ok(peer.text.endsWith(word), `instead of an echo: ${peer.fate}`);
}

faultTest("an engine that is down at the start: clients wait for it, and are served", [], async (stage) => {
  const { engine } = stage;
  const target = await engine.echo();
  await engine.kill("SIGTERM");
  const wakeport = await stage.wakeport({ echo: { to: target } });
  await eventually("the engine is reported down", () => wakeport.record.engine.at(-1)?.isUp === false);
  using client = await wakeport.connect("echo");
  await wakeport.until("echo", "starting");
  await engine.start();
  await hearsItself(client, "patience");
  assert.ok(wakeport.isEngineUp);
});

faultTest("an engine that is killed and restarted: open connections continue", [LIVE_RESTORE], async (stage) => {
  const { engine } = stage;
  const target = await engine.echo();
  const wakeport = await stage.wakeport({ echo: { to: target, idle_timeout: "200ms" } });
  using client = await wakeport.connect("echo");
  await hearsItself(client, "before");
  await engine.kill();
  await eventually("the engine is reported down", () => !wakeport.isEngineUp);
  await hearsItself(client, "without an engine");
  using newcomer = await wakeport.connect("echo");
  await hearsItself(newcomer, "a warm target needs no engine");
  await engine.start();
  await eventually("the engine is reported up", () => wakeport.isEngineUp);
  await hearsItself(client, "after");
  for (const peer of [client, newcomer]) {
    peer.end();
    await peer.closes();
  }
  await wakeport.until("echo", "asleep");
  using next = await wakeport.connect("echo");
  await hearsItself(next, "the next wake");
});

faultTest(
  "a target that dies while the engine is down is noticed as soon as the engine is up",
  [LIVE_RESTORE],
  async (stage) => {
    const { engine } = stage;
    const target = await engine.echo();
    const wakeport = await stage.wakeport({ echo: { to: target } });
    using client = await wakeport.connect("echo");
    await hearsItself(client, "before");
    const state = await target.state();
    await engine.kill();
    process.kill(state?.Pid ?? 0, "SIGKILL");
    assert.notEqual(await client.ended(), "open");
    client.end();
    await engine.start();
    await wakeport.until("echo", "asleep");
    using next = await wakeport.connect("echo");
    await hearsItself(next, "the next wake");
  },
);

faultTest(
  "an engine that restarts with its containers: connections end, the next client waits and is served",
  [],
  async (stage) => {
    const { engine } = stage;
    const target = await engine.echo();
    const wakeport = await stage.wakeport({ echo: { to: target } });
    using client = await wakeport.connect("echo");
    await hearsItself(client, "before");
    await engine.kill("SIGTERM");
    assert.notEqual(await client.ended(), "open");
    client.end();
    await wakeport.until("echo", "asleep");
    using next = await wakeport.connect("echo");
    await engine.start();
    await hearsItself(next, "after");
  },
);

faultTest(
  "an engine that hangs: calls time out, the engine is reported down, and clients are served when it resumes",
  [],
  async (stage) => {
    const { engine } = stage;
    const [awake, asleep] = [await engine.echo(), await engine.echo()];
    const wakeport = await stage.wakeport({
      awake: { to: awake },
      asleep: { to: asleep, start_timeout: "2s", idle_timeout: "200ms" },
    });
    using client = await wakeport.connect("awake");
    await hearsItself(client, "before");
    engine.freeze();
    try {
      using unlucky = await wakeport.connect("asleep");
      using warm = await wakeport.connect("awake");
      await hearsItself(warm, "a warm target needs no engine");
      assert.equal(await unlucky.ended(), "ECONNRESET");
      const limit = performance.now() + SEEN_TO_HANG_MS;
      while (wakeport.isEngineUp && performance.now() < limit) await delay(50);
      assert.equal(wakeport.isEngineUp, false);
      assert.equal((await wakeport.metric("wakeport_engine_up")).get(""), 0);
      assert.match(wakeport.record.engine.at(-1)?.error?.message ?? "", /ping took longer than 5 s/);
      await hearsItself(client, "while it hangs");
    } finally {
      engine.thaw();
    }
    await eventually("the engine is reported up", () => wakeport.isEngineUp);
    // The engine has carried out the abandoned start.
    await wakeport.until("asleep", "asleep");
    using next = await wakeport.connect("asleep");
    await hearsItself(next, "after");
  },
);
