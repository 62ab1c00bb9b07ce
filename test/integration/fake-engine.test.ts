/** Faults of the engine that a real engine cannot be made to show. These tests need no engine. */
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

/** A test of wakeport with an engine whose responses are scripted. */
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
      // The responses that a test replaces apply after the first inspection.
      const looks = (): number => engine.requests.filter((request) => request === "GET /containers/fake/json").length;
      // Once at the start, and once after it has subscribed to events.
      if (isThere) await eventually("the target was inspected", () => looks() >= 2);
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
  "a client wakes the target, is relayed, and the target sleeps",
  async (engine, wakeport) => {
    await wakeport.greeted("echo");
    await wakeport.until("echo", "asleep");
    assert.equal(engine.container.isRunning, false);
  },
  { idle_timeout: "50ms" },
);

fakeTest("the warm path makes no call to the engine", async (engine, wakeport) => {
  await wakeport.greeted("echo");
  await wakeport.settle();
  const before = engine.requests.length;
  for (let i = 0; i < 20; i += 1) await wakeport.greeted("echo");
  assert.deepEqual(engine.requests.slice(before), []);
});

fakeTest("a closed wakeport makes no call, and keeps no connection", async (engine, wakeport) => {
  await wakeport.settle();
  await eventually("wakeport has subscribed to events", () => engine.streams.size > 0);
  const looks = (): number => engine.requests.filter((request) => request.endsWith("/fake/json")).length;
  const before = looks();
  engine.once("GET json", () => {});
  engine.emit(eventLine(engine.container, "start"));
  await eventually("the target is inspected", () => looks() > before);
  // During the inspection an event requires another inspection.
  engine.emit(eventLine(engine.container, "die"));
  await setImmediate();
  await wakeport.close();
  await eventually("no connection is left", async () => (await engine.connections()) === 0);
  assert.equal(looks(), before + 1);
});

test("a daemon that dies during a response: the call ends at its own deadline", async () => {
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

test("a daemon that dies during a response: the call ends when its caller aborts", async () => {
  await using engine = await FakeEngine.open();
  using client = new DisposableEngine(engine);
  engine.once("GET json", dieMidAnswer);
  const reason = new Error("aborted by the test");
  const patience = new AbortController();
  const asked = client.inspect("fake", patience.signal);
  await eventually("the call is made", () => engine.requests.includes("GET /containers/fake/json"));
  patience.abort(reason);
  await assert.rejects(asked, reason);
});

fakeTest(
  "an inspection with a truncated response delays one client only",
  async (engine, wakeport) => {
    engine.once("GET json", dieMidAnswer);
    using unlucky = await wakeport.connect("echo");
    assert.equal(await unlucky.ended(), "ECONNRESET");
    assert.equal((await wakeport.activation()).outcome, "timeout");
    await eventually("a client is served again", async () => {
      using peer = await wakeport.connect("echo");
      await eventually("a reply", () => peer.received > 0 || peer.fate !== "open");
      return peer.received > 0;
    });
  },
  { start_timeout: "1s" },
);

fakeTest(
  "a socket proxy that responds 403 with a page: denied, with the setting to change",
  async (engine, wakeport) => {
    engine.once("POST start", (response) => {
      response.writeHead(403, { "content-type": "text/html" });
      response.end("<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>");
    });
    using peer = await wakeport.connect("echo");
    assert.equal(await peer.ended(), "ECONNRESET");
    const { error } = await wakeport.activation();
    assert.match(error?.message ?? "", /the socket proxy at .* refuses "start" of container fake/);
    assert.doesNotMatch(error?.message ?? "", /</, "the message contains the page");
    assert.ok(error instanceof TargetError);
    assert.match(error.remedy ?? "", /ALLOW_START=1/);
  },
);

fakeTest(
  "a socket proxy whose engine is down: a client waits, and is served when the engine is up",
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

fakeTest(
  "an authorization plugin of the engine: the error contains its message, not the hint for a proxy",
  async (engine, wakeport) => {
    engine.once("POST start", json(403, { message: "authorization denied by plugin gate: not at night" }));
    using peer = await wakeport.connect("echo");
    assert.equal(await peer.ended(), "ECONNRESET");
    const { error } = await wakeport.activation();
    assert.match(
      error?.message ?? "",
      /the engine at .* refuses "start" of container fake: .*plugin gate: not at night/,
    );
  },
);

test("an idle engine connection is closed by wakeport, before a proxy closes it during a call", async () => {
  await using engine = await FakeEngine.open();
  using client = new DisposableEngine(engine);
  await client.ping();
  await eventually("the connection is closed", async () => (await engine.connections()) === 0);
});

fakeTest("a socket proxy that denies logs: a crash is reported without them", async (engine, wakeport) => {
  engine.once("POST start", (response) => void response.writeHead(204).end());
  engine.once("GET logs", (response) => void response.writeHead(403).end("<html>no</html>"));
  using peer = await wakeport.connect("echo");
  assert.equal(await peer.ended(), "ECONNRESET");
  const { outcome, lastLines } = await wakeport.activation();
  assert.equal(outcome, "exited");
  assert.deepEqual(lastLines, []);
});

fakeTest(
  "a socket proxy that denies logs: a target with `ready: log` is rejected at once, with the remedy",
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
  "a log that breaks off, within a line and within a header, is read again",
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
    await eventually("the log is read a fourth time", () => reads() === 4);
    assert.equal(wakeport.state("echo"), "starting", "ready after half a line");
    fourth.resolve();
    await served;
    assert.equal(reads(), 5);
  },
  { ready: { log: "^ready$" } },
);

fakeTest(
  "a log without a response delays a client by at most its start timeout, and the request is cancelled",
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
  "no socket: the engine is reported down; a client waits, and is served when the socket exists",
  async (engine, wakeport) => {
    await eventually("the engine is reported down", () => wakeport.record.engine.length > 0);
    const [{ isUp, error } = { isUp: true }] = wakeport.record.engine;
    assert.equal(isUp, false);
    assert.match(error?.message ?? "", /no engine answers at unix:.*ENOENT/);
    assert.equal((await wakeport.ask("/readyz")).status, 503);
    assert.equal((await wakeport.metric("wakeport_engine_up")).get(""), 0);
    const served = wakeport.greeted("echo");
    await wakeport.until("echo", "starting");
    await engine.listen();
    await served;
    await eventually("the engine is reported up", () => wakeport.isEngineUp);
    assert.equal((await wakeport.ask("/readyz")).status, 200);
    assert.equal((await wakeport.metric("wakeport_engine_up")).get(""), 1);
  },
  { isThere: false },
);

test("events are requested from a past moment, without events of healthchecks", async () => {
  await using engine = await FakeEngine.open();
  const asked = Promise.withResolvers<URLSearchParams>();
  engine.once("GET events", (response, request) => {
    asked.resolve(new URL(request.url ?? "", "http://engine").searchParams);
    response.writeHead(200).flushHeaders();
  });
  const service: ServiceSpec = { to: engine.container, port: engine.container.port };
  await using _wakeport = await Wakeport.open({ echo: service }, { docker: { host: engine.host } });
  const query = await asked.promise;
  assert.ok(Number(query.get("since")) <= Date.now() / 1000 - 5, "events before the subscription are lost");
  const { type, event } = JSON.parse(query.get("filters") ?? "") as Record<string, string[]>;
  assert.deepEqual(type, ["container", "network"]);
  assert.deepEqual(
    event?.filter((action) => action.startsWith("exec")),
    [],
  );
  assert.ok(event?.includes("die"));
});

fakeTest("events in chunks of one byte, between garbage, are parsed", async (engine, wakeport) => {
  await eventually("wakeport has subscribed to events", () => engine.streams.size > 0);
  engine.container.isRunning = true;
  const garbage = 'no json\n{"Action":\n[]\nnull\n{"Action":"start"}\n{"Action":"start","Actor":null}\n\n';
  for (const byte of garbage + eventLine(engine.container, "start")) {
    engine.emit(byte);
    await setImmediate();
  }
  await wakeport.until("echo", "ready");
  assert.equal((await wakeport.activation()).adopted, true);
});

fakeTest("an endless line exhausts no memory, and the next event is parsed", async (engine, wakeport) => {
  await eventually("wakeport has subscribed to events", () => engine.streams.size > 0);
  for (let i = 0; i < 32; i += 1) engine.emit("x".repeat(1 << 20));
  engine.container.isRunning = true;
  engine.emit(`\n${eventLine(engine.container, "start")}`);
  await wakeport.until("echo", "ready");
});

fakeTest(
  "an event stream that ends silently is opened again, and missed events are noticed",
  async (engine, wakeport) => {
    await eventually("wakeport has subscribed to events", () => engine.streams.size > 0);
    const [stream] = engine.streams;
    engine.container.isRunning = true;
    stream?.end();
    await wakeport.until("echo", "ready");
    assert.ok(wakeport.isEngineUp, "an orderly end of the stream does not report the engine down");
    await eventually("the end is counted", async () => {
      return (await wakeport.metric("wakeport_engine_events_reconnects_total")).get("") === 1;
    });
  },
);

fakeTest("an event stream that breaks is opened again", async (engine, wakeport) => {
  await eventually("wakeport has subscribed to events", () => engine.streams.size > 0);
  const [stream] = engine.streams;
  engine.container.isRunning = true;
  stream?.destroy();
  await wakeport.until("echo", "ready");
});

fakeTest(
  "a stop that fails is retried; clients are served meanwhile",
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

fakeTest("start reports a running container, which dies: the next start counts", async (engine, wakeport) => {
  // Like an engine during the grace period of a container.
  engine.once("POST start", (response) => void response.writeHead(304).end());
  await wakeport.greeted("echo");
  assert.equal(engine.requests.filter((request) => request.endsWith("/start")).length, 2);
});

fakeTest(
  "an engine that reports an OOM kill late: the end is not an ordered stop, and there is no retry",
  async (engine, wakeport) => {
    const { container } = engine;
    const inspected = (oomKilled: boolean): Answer => {
      const { State: state, ...rest } = container.inspected as { readonly State: object };
      return json(200, { ...rest, State: { ...state, ExitCode: 137, OOMKilled: oomKilled } });
    };
    const before = engine.requests.length;
    engine.once("POST start", (response) => {
      engine.once("GET json", inspected(false));
      engine.once("GET json", inspected(true));
      response.writeHead(204).end();
    });
    using peer = await wakeport.connect("echo");
    assert.equal(await peer.ended(), "ECONNRESET");
    const { outcome, exit } = await wakeport.activation();
    assert.deepEqual([outcome, exit?.oomKilled], ["exited", true]);
    assert.equal(engine.requests.slice(before).filter((request) => request.endsWith("/start")).length, 1);
  },
);

fakeTest("a client is served while the engine has not answered the start", async (engine, wakeport) => {
  const { container } = engine;
  let finish: () => void = () => {};
  engine.once("POST start", (response) => {
    container.isRunning = true;
    finish = () => void response.writeHead(204).end();
    engine.emit(eventLine(container, "start"));
  });
  await wakeport.greeted("echo");
  finish();
});

fakeTest(
  "a target sleeps although the engine never answers its start",
  async (engine, wakeport) => {
    const { container } = engine;
    engine.once("POST start", () => {
      container.isRunning = true;
      engine.emit(eventLine(container, "start"));
    });
    await wakeport.greeted("echo");
    await wakeport.until("echo", "asleep");
    assert.equal(container.isRunning, false);
    await wakeport.greeted("echo");
  },
  { idle_timeout: "50ms" },
);

fakeTest("a container that was recreated without an event is looked up and started", async (engine, wakeport) => {
  const before = engine.requests.length;
  const isLookedUp = (): boolean => engine.requests.slice(before).includes("GET /containers/fake/json");
  // The engine does not know the former id any more.
  engine.once("POST start", json(404, { message: "No such container: former" }));
  engine.once("GET json", json(200, { ...engine.container.inspected, Id: "e".repeat(64) }));
  await wakeport.greeted("echo");
  assert.ok(isLookedUp());
});

fakeTest("an image that is gone is reported", async (engine, wakeport) => {
  engine.once("POST start", json(404, { message: "No such image: registry.example/app:1" }));
  using peer = await wakeport.connect("echo");
  assert.equal(await peer.ended(), "ECONNRESET");
  const { error } = await wakeport.activation();
  assert.match(error?.message ?? "", /the image of container fake is missing/);
});

test("a socket without permission: denied, with the hint about its group", async () => {
  await using engine = await FakeEngine.open();
  using client = new DisposableEngine(engine);
  // All code is loaded by now, and this connection is kept by its own client.
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

/** Drops the privileges of root, until the result is disposed. */
async function nobodyMayUse(path: string): Promise<Disposable> {
  await chmod(path, 0);
  const { geteuid, seteuid } = process;
  if (geteuid?.() !== 0) return { [Symbol.dispose]: () => {} };
  seteuid?.(NOBODY);
  return { [Symbol.dispose]: () => seteuid?.(0) };
}

/** An engine client without a wakeport. */
class DisposableEngine extends Engine implements Disposable {
  constructor({ host, socketPath }: FakeEngine) {
    super({ url: host, socketPath }, observer());
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
