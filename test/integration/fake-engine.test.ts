/** Faults of the engine that a real one cannot be made to show. These tests need no engine. */
import assert from "node:assert/strict";
import { chmod } from "node:fs/promises";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { Engine } from "../../src/docker/engine.ts";
import { DeadlineError, TargetError } from "../../src/errors.ts";
import { observer } from "../../src/telemetry/observer.ts";
import { openSockets, violations } from "../support/activation/invariants.ts";
import { type Answer, dieMidAnswer, eventLine, FakeEngine, json } from "../support/engine/fake-engine.ts";
import { type ServiceSpec, Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const NOBODY = 65_534;

/** A test of wakeport with an engine whose answers are written down. */
function fakeTest(
  name: string,
  body: (engine: FakeEngine, wakeport: Wakeport) => Promise<void>,
  spec: Spec = {},
): void {
  test(name, async () => {
    const before = openSockets();
    {
      const { isThere = true, ...settings } = spec;
      await using engine = await FakeEngine.create();
      if (isThere) await engine.listen();
      const { container, host } = engine;
      const service: ServiceSpec = { to: container, port: container.port, ...settings };
      await using wakeport = await Wakeport.open({ echo: service }, { docker: { host } });
      // What a test replaces is for what comes after the first look.
      const looks = (): number => engine.requests.filter((request) => request === "GET /containers/fake/json").length;
      // Once at the beginning, and once when it follows the engine.
      if (isThere) await eventually("it looked", () => looks() >= 2);
      await body(engine, wakeport);
      await wakeport.settle();
      await wakeport.close();
      assert.deepEqual(violations(wakeport.evidence), []);
      assert.deepEqual(engine.forbidden, []);
    }
    await eventually("I5: no socket is left open", () => openSockets() <= before);
  });
}

interface Spec {
  readonly isThere?: boolean;
  readonly [setting: string]: unknown;
}

fakeTest(
  "the usual: wake, relay, sleep",
  async (engine, wakeport) => {
    await wakeport.greeted("echo");
    await wakeport.until("echo", "asleep");
    assert.equal(engine.container.isRunning, false);
  },
  { idle_timeout: "50ms" },
);

fakeTest("the warm path asks the engine nothing", async (engine, wakeport) => {
  await wakeport.greeted("echo");
  await wakeport.settle();
  const before = engine.requests.length;
  for (let i = 0; i < 20; i += 1) await wakeport.greeted("echo");
  assert.deepEqual(engine.requests.slice(before), []);
});

fakeTest("a wakeport that is closed asks nothing more, and keeps no connection", async (engine, wakeport) => {
  await wakeport.settle();
  await eventually("it listens to events", () => engine.streams.size > 0);
  const looks = (): number => engine.requests.filter((request) => request.endsWith("/fake/json")).length;
  const before = looks();
  engine.once("GET json", () => {});
  engine.emit(eventLine(engine.container, "start"));
  await eventually("it looks", () => looks() > before);
  // While it looks it learns that it will have to look again.
  engine.emit(eventLine(engine.container, "die"));
  await setImmediate();
  await wakeport.close();
  await eventually("no connection is left", async () => (await engine.connections()) === 0);
  assert.equal(looks(), before + 1);
});

test("a daemon that dies in the middle of an answer: the call ends at its own deadline", async () => {
  await using engine = await FakeEngine.open();
  using client = new DisposableEngine(engine);
  engine.once("GET _ping", dieMidAnswer);
  const began = performance.now();
  await assert.rejects(client.ping(), (error) => {
    assert.ok(error instanceof TargetError);
    assert.equal(error.fault, "unreachable");
    assert.ok(error.cause instanceof DeadlineError, `not our deadline: ${error.message}`);
    return true;
  });
  assert.ok(performance.now() - began >= 4_990);
});

test("a daemon that dies in the middle of an answer: the call ends when its caller gives up", async () => {
  await using engine = await FakeEngine.open();
  using client = new DisposableEngine(engine);
  engine.once("GET json", dieMidAnswer);
  const reason = new Error("no patience");
  const patience = new AbortController();
  const asked = client.inspect("fake", patience.signal);
  await eventually("it is asked", () => engine.requests.includes("GET /containers/fake/json"));
  patience.abort(reason);
  await assert.rejects(asked, reason);
});

fakeTest(
  "a look that gets half an answer costs one client its patience, not wakeport its life",
  async (engine, wakeport) => {
    engine.once("GET json", dieMidAnswer);
    using unlucky = await wakeport.connect("echo");
    assert.equal(await unlucky.ended(), "ECONNRESET");
    assert.equal((await wakeport.activation()).outcome, "timeout");
    await eventually("it is served again", async () => {
      using peer = await wakeport.connect("echo");
      await eventually("an answer", () => peer.received > 0 || peer.fate !== "open");
      return peer.received > 0;
    });
  },
  { start_timeout: "1s" },
);

fakeTest("a socket proxy that answers 403 with a page: denied, with the switch to set", async (engine, wakeport) => {
  engine.once("POST start", (response) => {
    response.writeHead(403, { "content-type": "text/html" });
    response.end("<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>");
  });
  using peer = await wakeport.connect("echo");
  assert.equal(await peer.ended(), "ECONNRESET");
  const { error } = await wakeport.activation();
  assert.match(error?.message ?? "", /the socket proxy at .* refuses "start" of container fake/);
  assert.doesNotMatch(error?.message ?? "", /</, "the page itself is in the message");
  assert.ok(error instanceof TargetError);
  assert.match(error.remedy ?? "", /ALLOW_START=1/);
});

fakeTest(
  "a socket proxy whose engine is away: a client waits, and is served when it is back",
  async (engine, wakeport) => {
    const away: Answer = (response) => {
      response.writeHead(503, { "content-type": "text/html" });
      response.end("<html><body><h1>503 Service Unavailable</h1></body></html>");
    };
    for (let i = 0; i < 3; i += 1) engine.once("POST start", away);
    await wakeport.greeted("echo");
    assert.equal((await wakeport.activation()).outcome, "ready");
  },
);

fakeTest("an authorization plugin of the engine: its own words, not those for a proxy", async (engine, wakeport) => {
  engine.once("POST start", json(403, { message: "authorization denied by plugin gate: not at night" }));
  using peer = await wakeport.connect("echo");
  assert.equal(await peer.ended(), "ECONNRESET");
  const { error } = await wakeport.activation();
  assert.match(error?.message ?? "", /the engine at .* refuses "start" of container fake: .*plugin gate: not at night/);
});

test("a connection that idles is closed by us, before a proxy does that while something is being asked", async () => {
  await using engine = await FakeEngine.open();
  using client = new DisposableEngine(engine);
  await client.ping();
  await eventually("it is closed", async () => (await engine.connections()) === 0);
});

fakeTest("a socket proxy without the right to read logs: a crash is told without them", async (engine, wakeport) => {
  engine.once("POST start", (response) => void response.writeHead(204).end());
  engine.once("GET logs", (response) => void response.writeHead(403).end("<html>no</html>"));
  using peer = await wakeport.connect("echo");
  assert.equal(await peer.ended(), "ECONNRESET");
  const { outcome, lastLines } = await wakeport.activation();
  assert.equal(outcome, "exited");
  assert.deepEqual(lastLines, []);
});

fakeTest(
  "a socket proxy without the right to read logs: a target that is ready by its log is refused at once, with the way out",
  async (engine, wakeport) => {
    engine.once("GET logs", (response) => void response.writeHead(403).end("<html>no</html>"));
    using peer = await wakeport.connect("echo");
    assert.equal(await peer.ended(), "ECONNRESET");
    const { error } = await wakeport.activation();
    assert.match(error?.message ?? "", /^the socket proxy at .* refuses "logs" of container fake$/);
    assert.ok(error instanceof TargetError);
    assert.match(error.remedy ?? "", /ALLOW_LOGS=1.*\bLOGS=1/);
  },
  { ready: { log: "ready" } },
);

fakeTest(
  "a log that breaks off, in the middle of a line and of a header, is read anew",
  async (engine, wakeport) => {
    const [header, line] = [Buffer.from([1, 0, 0, 0, 0, 0, 0, 10]), "not ready\n"];
    const breakAfter = (...parts: (Buffer | string)[]): Answer => {
      return (response) => {
        response.writeHead(200);
        for (const part of parts) response.write(part);
        setTimeout(() => response.destroy(), 20);
      };
    };
    engine.once("GET logs", breakAfter(header.subarray(0, 5)));
    engine.once("GET logs", breakAfter(header, line, header, "ready"));
    engine.once("GET logs", (response) => void response.writeHead(500).end());
    const fourth = Promise.withResolvers<void>();
    engine.once("GET logs", (response) => {
      response.writeHead(200).write(header);
      void fourth.promise.then(() => response.destroy());
    });
    engine.once("GET logs", breakAfter(Buffer.from([2, 0, 0, 0, 0, 0, 0, 6]), "ready\n"));
    const served = wakeport.greeted("echo");
    const reads = (): number => engine.requests.filter((one) => one.endsWith("/logs")).length;
    await eventually("it reads a fourth time", () => reads() === 4);
    assert.equal(wakeport.state("echo"), "starting", "ready by half a line");
    fourth.resolve();
    await served;
    assert.equal(reads(), 5);
  },
  { ready: { log: "^ready$" } },
);

fakeTest(
  "a log that never answers costs a client no more than its start timeout, and the request is taken back",
  async (engine, wakeport) => {
    const closed = Promise.withResolvers<void>();
    engine.once("GET logs", (response) => response.once("close", () => closed.resolve()));
    using peer = await wakeport.connect("echo");
    assert.equal(await peer.ended(), "ECONNRESET");
    await closed.promise;
    const { error } = await wakeport.activation();
    assert.equal(error?.message, "container fake was not ready within 0.5 s, waiting for log /ready/");
  },
  { ready: { log: "ready" }, start_timeout: "500ms" },
);

fakeTest(
  "no socket: the engine is down, in words; a client waits and is served when it is there",
  async (engine, wakeport) => {
    await eventually("it is reported down", () => wakeport.record.engine.length > 0);
    const [{ isUp, error } = { isUp: true }] = wakeport.record.engine;
    assert.equal(isUp, false);
    assert.match(error?.message ?? "", /no engine answers at unix:.*ENOENT/);
    assert.equal((await wakeport.ask("/readyz")).status, 503);
    assert.equal((await wakeport.metric("wakeport_engine_up")).get(""), 0);
    const served = wakeport.greeted("echo");
    await wakeport.until("echo", "starting");
    await engine.listen();
    await served;
    await eventually("it is reported up", () => wakeport.isEngineUp);
    assert.equal((await wakeport.ask("/readyz")).status, 200);
    assert.equal((await wakeport.metric("wakeport_engine_up")).get(""), 1);
  },
  { isThere: false },
);

test("events are asked for from before the moment, and without the noise of healthchecks", async () => {
  await using engine = await FakeEngine.open();
  const asked = Promise.withResolvers<URLSearchParams>();
  engine.once("GET events", (response, request) => {
    asked.resolve(new URL(request.url ?? "", "http://engine").searchParams);
    response.writeHead(200).flushHeaders();
  });
  const service: ServiceSpec = { to: engine.container, port: engine.container.port };
  await using _wakeport = await Wakeport.open({ echo: service }, { docker: { host: engine.host } });
  const query = await asked.promise;
  assert.ok(Number(query.get("since")) <= Date.now() / 1000 - 5, "what happens before it is subscribed is lost");
  const { type, event } = JSON.parse(query.get("filters") ?? "") as Record<string, string[]>;
  assert.deepEqual(type, ["container", "network"]);
  assert.deepEqual(
    event?.filter((action) => action.startsWith("exec")),
    [],
  );
  assert.ok(event?.includes("die"));
});

fakeTest("events in pieces of one byte, between garbage, are understood", async (engine, wakeport) => {
  await eventually("it listens to events", () => engine.streams.size > 0);
  engine.container.isRunning = true;
  const garbage = 'no json\n{"Action":\n[]\nnull\n{"Action":"start"}\n{"Action":"start","Actor":null}\n\n';
  for (const byte of garbage + eventLine(engine.container, "start")) {
    engine.emit(byte);
    await setImmediate();
  }
  await wakeport.until("echo", "ready");
  assert.equal((await wakeport.activation()).adopted, true);
});

fakeTest(
  "a line without end is no reason to run out of memory, nor to miss the next event",
  async (engine, wakeport) => {
    await eventually("it listens to events", () => engine.streams.size > 0);
    for (let i = 0; i < 32; i += 1) engine.emit("x".repeat(1 << 20));
    engine.container.isRunning = true;
    engine.emit(`\n${eventLine(engine.container, "start")}`);
    await wakeport.until("echo", "ready");
  },
);

fakeTest(
  "an event stream that ends without a word is opened again, and what was missed is seen",
  async (engine, wakeport) => {
    await eventually("it listens to events", () => engine.streams.size > 0);
    const [stream] = engine.streams;
    engine.container.isRunning = true;
    stream?.end();
    await wakeport.until("echo", "ready");
    assert.ok(wakeport.isEngineUp, "a stream that ended in good order says nothing against the engine");
    await eventually("it is counted", async () => {
      return (await wakeport.metric("wakeport_engine_events_reconnects_total")).get("") === 1;
    });
  },
);

fakeTest("an event stream that breaks is opened again", async (engine, wakeport) => {
  await eventually("it listens to events", () => engine.streams.size > 0);
  const [stream] = engine.streams;
  engine.container.isRunning = true;
  stream?.destroy();
  await wakeport.until("echo", "ready");
});

fakeTest(
  "a stop that fails is tried again; who comes meanwhile is served",
  async (engine, wakeport) => {
    engine.once("POST stop", json(500, { message: "cannot stop container: tried to kill container" }));
    await wakeport.greeted("echo");
    await eventually("the failure is reported", () => wakeport.record.stopFailures.length === 1);
    assert.match(
      wakeport.record.stopFailures[0]?.error.message ?? "",
      /could not stop container .*: cannot stop container/,
    );
    await wakeport.greeted("echo");
  },
  { idle_timeout: "50ms" },
);

fakeTest("start says that it runs already, and it dies: the next start counts", async (engine, wakeport) => {
  // As an engine does while a container is within its grace.
  engine.once("POST start", (response) => void response.writeHead(304).end());
  await wakeport.greeted("echo");
  assert.equal(engine.requests.filter((request) => request.endsWith("/start")).length, 2);
});

fakeTest(
  "an engine that notes a moment late that memory ran out: it is no stop, and not tried again",
  async (engine, wakeport) => {
    const { container } = engine;
    const inspected = (oomKilled: boolean): Answer => {
      const { State: state, ...rest } = container.inspected as { readonly State: object };
      return json(200, { ...rest, State: { ...state, ExitCode: 137, OOMKilled: oomKilled } });
    };
    const before = engine.requests.length;
    engine.once("GET json", inspected(false));
    engine.once("POST start", (response) => void response.writeHead(204).end());
    engine.once("GET json", inspected(false));
    engine.once("GET json", inspected(true));
    using peer = await wakeport.connect("echo");
    assert.equal(await peer.ended(), "ECONNRESET");
    const { outcome, exit } = await wakeport.activation();
    assert.deepEqual([outcome, exit?.oomKilled], ["exited", true]);
    assert.equal(engine.requests.slice(before).filter((request) => request.endsWith("/start")).length, 1);
  },
);

fakeTest("an image that is gone: the message says so", async (engine, wakeport) => {
  engine.once("POST start", json(404, { message: "No such image: registry.example/app:1" }));
  using peer = await wakeport.connect("echo");
  assert.equal(await peer.ended(), "ECONNRESET");
  const { error } = await wakeport.activation();
  assert.match(error?.message ?? "", /the image of container fake is missing/);
});

test("a socket that may not be used: denied, with the way to its group", async () => {
  await using engine = await FakeEngine.open();
  using client = new DisposableEngine(engine);
  // All code is loaded now, and this connection stays with its own client.
  using early = new DisposableEngine(engine);
  await early.ping();
  using _stranger = await nobodyMayUse(engine.socketPath);
  await assert.rejects(client.ping(), (error) => {
    assert.ok(error instanceof TargetError);
    assert.equal(error.fault, "denied");
    assert.match(error.message, /no permission to use the engine's socket/);
    assert.match(error.remedy ?? "", /stat -c %g .*user: "65532:NUMBER"; with systemd, SupplementaryGroups=docker/);
    return true;
  });
});

/** Until the answer is disposed. Root may use everything, so it becomes somebody else meanwhile. */
async function nobodyMayUse(path: string): Promise<Disposable> {
  await chmod(path, 0);
  const { geteuid, seteuid } = process;
  if (geteuid?.() !== 0) return { [Symbol.dispose]: () => {} };
  seteuid?.(NOBODY);
  return { [Symbol.dispose]: () => seteuid?.(0) };
}

/** A client of the engine with nothing around it. */
class DisposableEngine extends Engine implements Disposable {
  constructor({ host, socketPath }: FakeEngine) {
    super({ url: host, socketPath }, observer());
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
