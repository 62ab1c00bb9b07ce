import assert from "node:assert/strict";
import { type ChildProcess, type ChildProcessByStdio, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, openSync } from "node:fs";
import { execPath } from "node:process";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { suite, test } from "node:test";
import pino from "pino";
import type { ActivationReport, SleepReport } from "../../src/activation/reports.ts";
import { TargetError } from "../../src/errors.ts";
import type { ConnectionReport } from "../../src/proxy/reports.ts";
import { UnroutedError } from "../../src/proxy/unrouted.ts";
import { isPretty } from "../../src/telemetry/log.ts";
import { logObserver } from "../../src/telemetry/log-messages.ts";
import type { Observer } from "../../src/telemetry/observer.ts";
import { temporaryFile } from "../support/temporary-file.ts";

type Line = Readonly<Record<string, unknown>>;

/** Returns the logged lines without their times. */
function logged(report: (observer: Observer) => void): Line[] {
  const lines: Line[] = [];
  const shape = { level: "trace", base: null, timestamp: false } as const;
  const formatters = { level: (level: string) => ({ level }) };
  const log = pino({ ...shape, formatters }, { write: (line) => void lines.push(JSON.parse(line)) });
  report(logObserver(log));
  return lines;
}

const subject = { target: "container db", services: ["db"] } as const;
const activation: ActivationReport = {
  ...subject,
  outcome: "ready",
  adopted: false,
  durationMs: 1_234.56,
  startMs: 200,
};
const sleep: SleepReport = { ...subject, reason: "idle", action: "stop", durationMs: 80 };
const connection: ConnectionReport = {
  service: "db",
  id: 7,
  client: "192.0.2.1:5000",
  listener: "*:5432",
  outcome: "relayed",
  start: "cold",
  waitMs: 1_300,
  durationMs: 2_500,
  bytesIn: 10,
  bytesOut: 20,
  end: "clean",
};

suite("logObserver()", () => {
  test("logs a connection in one line with all fields", () => {
    assert.deepEqual(
      logged((observer) => observer.connection(connection)),
      [
        {
          level: "info",
          event: "connection.closed",
          service: "db",
          conn: 7,
          client: "192.0.2.1:5000",
          listener: "*:5432",
          outcome: "relayed",
          start: "cold",
          duration_ms: 2500,
          wait_ms: 1300,
          bytes_in: 10,
          bytes_out: 20,
          end: "clean",
          msg: "db: 192.0.2.1:5000 relayed in 2.5 s, waited 1.3 s (cold), 10 bytes in, 20 out",
        },
      ],
    );
  });

  test("logs the exit of a process that served only one client", () => {
    const [line] = logged((observer) => observer.connection({ ...connection, pid: 7, exit: { code: 2 } }));
    assert.deepEqual([line?.["pid"], line?.["exit_code"]], [7, 2]);
  });

  test("logs the identity of a client, and on the level debug why it is unknown", () => {
    const lines = logged((observer) => {
      observer.userId({ ...connection, answer: "UNIX,US-ASCII : al:ice" });
      observer.userId({ ...connection, failure: "ECONNREFUSED" });
    });
    const facts = { event: "connection.user_id", service: "db", conn: 7, client: "192.0.2.1:5000", listener: "*:5432" };
    assert.deepEqual(lines, [
      {
        ...facts,
        level: "info",
        system: "UNIX,US-ASCII",
        user: "al:ice",
        msg: "db: identity of 192.0.2.1:5000: UNIX,US-ASCII : al:ice",
      },
      {
        ...facts,
        level: "debug",
        error: "ECONNREFUSED",
        msg: "db: no identity of 192.0.2.1:5000: ECONNREFUSED",
      },
    ]);
  });

  const { waitMs: _waitMs, end: _end, ...unserved } = connection;
  const cases: readonly (readonly [report: (observer: Observer) => void, level: string, event: string, msg: string])[] =
    [
      [
        (observer) => observer.connection({ ...connection, end: "upstream_reset", start: "warm", waitMs: 2 }),
        "info",
        "connection.closed",
        "db: 192.0.2.1:5000 relayed in 2.5 s, waited 2 ms (warm), 10 bytes in, 20 out, upstream_reset",
      ],
      [
        (observer) =>
          observer.connection({ ...unserved, outcome: "start_failed", error: new Error("no such container") }),
        "warn",
        "connection.closed",
        "db: 192.0.2.1:5000 start_failed in 2.5 s: no such container",
      ],
      [
        (observer) => observer.connection({ ...unserved, outcome: "client_gone", error: new Error("the client left") }),
        "info",
        "connection.closed",
        "db: 192.0.2.1:5000 client_gone in 2.5 s",
      ],
      [
        (observer) => observer.connection({ ...unserved, outcome: "served", end: "probe" }),
        "debug",
        "connection.closed",
        "db: 192.0.2.1:5000 served in 2.5 s",
      ],
      [(observer) => observer.activation(activation), "info", "target.ready", "db: container db is ready after 1.2 s"],
      [
        (observer) => observer.activation({ ...activation, adopted: true }),
        "info",
        "target.ready",
        "db: container db was already running and is ready after 1.2 s",
      ],
      [
        (observer) => observer.activation({ ...activation, outcome: "cancelled" }),
        "info",
        "target.cancelled",
        "db: container db: start cancelled",
      ],
      [
        (observer) =>
          observer.activation({
            ...activation,
            outcome: "exited",
            error: new Error("container db exited with code 3"),
            exit: { code: 3 },
            lastLines: ["no", "luck"],
            cooldownMs: 2_000,
          }),
        "error",
        "target.failed",
        "db: container db failed to start: exited with code 3; next attempt in 2.0 s at the earliest; last output: no ⏎ luck",
      ],
      [
        (observer) =>
          observer.activation({
            ...activation,
            outcome: "engine_error",
            error: new TargetError("missing", "there is no container db", { remedy: "create it" }),
          }),
        "error",
        "target.failed",
        "db: container db failed to start: there is no container db: create it",
      ],
      [
        (observer) => observer.keptAwake({ ...subject, uses: ["an exec session", "2 kB of direct traffic"] }),
        "info",
        "target.kept_awake",
        "db: container db is kept awake: an exec session; 2 kB of direct traffic",
      ],
      [(observer) => observer.sleep(sleep), "info", "target.asleep", "db: container db is asleep (idle)"],
      [
        (observer) => observer.sleep({ ...sleep, reason: "external", action: "none" }),
        "warn",
        "target.asleep",
        "db: container db was stopped by another process",
      ],
      [
        (observer) =>
          observer.sleep({ ...sleep, reason: "external", action: "none", exit: { code: 0, stopRequested: true } }),
        "warn",
        "target.asleep",
        "db: container db was stopped by another process",
      ],
      [
        (observer) => observer.sleep({ ...sleep, reason: "external", action: "none", exit: { code: 0 } }),
        "info",
        "target.asleep",
        "db: container db exited with code 0",
      ],
      [
        (observer) =>
          observer.sleep({
            ...sleep,
            reason: "crash",
            action: "none",
            exit: { code: 139 },
            lastLines: ["segmentation", "fault"],
          }),
        "error",
        "target.asleep",
        "db: container db crashed with code 139; last output: segmentation ⏎ fault",
      ],
      [
        (observer) => observer.stopFailed({ ...subject, error: new Error("timeout"), retryMs: 4_000 }),
        "error",
        "target.stop_failed",
        "db: container db could not be stopped: timeout; retrying in 4.0 s, repeated failures are not logged",
      ],
      [
        (observer) => observer.stopFailed({ ...subject, error: new Error("timeout"), retryMs: 0 }),
        "error",
        "target.stop_failed",
        "db: container db could not be stopped: timeout",
      ],
      [
        (observer) => observer.engineCall({ operation: "start", code: "204", durationMs: 1 }),
        "trace",
        "engine.call",
        "engine: start 204",
      ],
      [(observer) => observer.engineUp("docker 26.1"), "info", "engine.up", "engine connected: docker 26.1"],
      [
        (observer) => observer.engineDown(new TargetError("denied", "no access", { remedy: "join the group" })),
        "error",
        "engine.down",
        "no access: join the group",
      ],
      [
        (observer) => observer.eventsReconnected(),
        "debug",
        "engine.events_reconnected",
        "event stream of the engine reconnected",
      ],
      [(observer) => observer.output("web", "listening"), "info", "target.output", "web | listening"],
      [(observer) => observer.warning("limits.open_files", "too few"), "warn", "limits.open_files", "too few"],
    ];
  for (const [report, level, event, msg] of cases) {
    test(`logs: ${msg}`, () => {
      const lines = logged(report).map((line) => [line["level"], line["event"], line["msg"]]);
      assert.deepEqual(lines, [[level, event, msg]]);
    });
  }

  test("logs each change of state on the level debug, and starts and stops on the level info", () => {
    const lines = logged((observer) => {
      observer.state({ ...subject, from: "asleep", to: "starting", event: "acquire" });
      observer.state({ ...subject, from: "ready", to: "stopping", event: "idle" });
      observer.state({ ...subject, from: "starting", to: "stopping", event: "failed" });
    });
    assert.deepEqual(
      lines.map(({ level, event }) => `${level} ${event}`),
      [
        "debug target.state",
        "info target.starting",
        "debug target.state",
        "info target.stopping",
        "debug target.state",
      ],
    );
  });

  test("logs the client or the dependent that caused a start", () => {
    const client = { client: "192.0.2.1:5000", service: "sql" };
    const change = { ...subject, from: "asleep", to: "starting", event: "acquire" } as const;
    const lines = logged((observer) => {
      observer.state({ ...change, wokenBy: { holder: "a client", client } });
      observer.state({ ...change, wokenBy: { holder: "container api" } });
      observer.state({ ...change, event: "found" });
    }).filter(({ event }) => event === "target.starting");
    const facts = { level: "info", event: "target.starting", ...subject };
    assert.deepEqual(lines, [
      { ...facts, ...client, msg: "db: container db is starting for 192.0.2.1:5000 through sql" },
      { ...facts, dependent: "container api", msg: "db: container db is starting for container api" },
      { ...facts, msg: "db: container db is already running, waiting until it is ready" },
    ]);
  });

  test("logs the name or the first bytes of clients that are not routed", () => {
    const report = { listener: "*:443", client: "192.0.2.1:5000", durationMs: 3 };
    const named = new UnroutedError("unknown_name", "no service here has the name a.test");
    const facts = { event: "client.unrouted", listener: "*:443", client: "192.0.2.1:5000", duration_ms: 3 };
    assert.deepEqual(
      logged((observer) => {
        observer.unrouted({ ...report, error: named, name: "a.test" });
        observer.unrouted({ ...report, error: new UnroutedError("malformed", "no TLS"), received: "GET / \\x0d" });
        observer.unrouted({ ...report, error: new UnroutedError("client_gone", "the client left") });
        observer.moreUnrouted({ listener: "*:443", reason: "unknown_name", count: 95, overMs: 10_000 });
        observer.moreUnrouted({ listener: "*:443", reason: "client_gone", count: 2, overMs: 10_000 });
      }),
      [
        {
          level: "info",
          ...facts,
          reason: "unknown_name",
          name: "a.test",
          error: named.message,
          msg: "*:443: 192.0.2.1:5000 not routed (unknown_name): no service here has the name a.test",
        },
        {
          level: "info",
          ...facts,
          reason: "malformed",
          received: "GET / \\x0d",
          error: "no TLS",
          msg: '*:443: 192.0.2.1:5000 not routed (malformed): no TLS: "GET / \\x0d"',
        },
        {
          level: "debug",
          ...facts,
          reason: "client_gone",
          error: "the client left",
          msg: "*:443: 192.0.2.1:5000 not routed (client_gone): the client left",
        },
        {
          level: "info",
          event: "client.more_unrouted",
          listener: "*:443",
          reason: "unknown_name",
          count: 95,
          over_ms: 10_000,
          msg: "*:443: 95 more clients not routed within 10.0 s (unknown_name)",
        },
        {
          level: "debug",
          event: "client.more_unrouted",
          listener: "*:443",
          reason: "client_gone",
          count: 2,
          over_ms: 10_000,
          msg: "*:443: 2 more clients not routed within 10.0 s (client_gone)",
        },
      ],
    );
  });

  test("logs output of a target unchanged", () => {
    const nasty = "a\nb\u001b[31m\u0000";
    const lines = logged((observer) => observer.output("web", nasty));
    assert.equal(lines[0]?.["msg"], `web | ${nasty}`);
  });
});

suite("isPretty()", () => {
  test("is true on a terminal, unless the configuration has another format", () => {
    const cases = [
      { format: "auto", isTerminal: true, pretty: true },
      { format: "auto", isTerminal: false, pretty: false },
      { format: "json", isTerminal: true, pretty: false },
      { format: "pretty", isTerminal: false, pretty: true },
    ] as const;
    for (const { pretty, ...options } of cases) assert.equal(isPretty(options), pretty, JSON.stringify(options));
  });
});

suite("openLog()", () => {
  test("writes a line although no other line follows and the log stays open", async () => {
    const child = program("json", 'log.info({ event: "x" }, "line"); await new Promise((r) => setTimeout(r, 20_000));');
    const [line] = await once(child.stdout, "data");
    assert.equal(JSON.parse(String(line)).msg, "line");
    child.kill();
    await once(child, "exit");
  });

  test("writeNow() writes the last lines before an exit, and does not wait for a reader", async () => {
    const child = program("json", 'log.info("one"); log.info("last"); writeNow(); process.exit(3);');
    assert.match(await text(child.stdout), /"one".*\n.*"last"/);
    const unread = program("json", 'for (let i = 0; i < 9_000; i += 1) log.info("x"); writeNow(); process.exit(3);');
    assert.equal((await once(unread, "exit"))[0], 3);
  });

  test("close() waits until all lines are written", async () => {
    const child = program("json", 'for (let i = 0; i < 5_000; i += 1) log.info({ event: "x", i }, "line");');
    const lines = (await text(child.stdout)).trimEnd().split("\n");
    assert.equal(lines.length, 5_000);
    const last = JSON.parse(lines.at(-1)!);
    assert.deepEqual([last.event, last.i, last.level, last.msg], ["x", 4_999, "info", "line"]);
    assert.match(last.time, /^\d{4}-\d\d-\d\dT/);
  });

  test("writes text for people in the format pretty", async () => {
    const child = program("pretty", 'log.info({ event: "x", secret: 1 }, "it is up");');
    assert.match(await text(child.stdout), /^\[?\d\d:\d\d:\d\d\.\d+\]? INFO: it is up\n$/);
  });

  test("writes connections and messages in the format xinetd", async () => {
    const child = program(
      "xinetd",
      `
      observer.connectionOpened(${JSON.stringify(connection)});
      log.warn({ event: "x" }, "what is\\nup\\u001b");
      observer.connection(${JSON.stringify(connection)});
      log.level = "warn";
      observer.connection(${JSON.stringify(connection)});`,
    );
    const at = "\\d\\d/\\d{1,2}/\\d{1,2}@\\d\\d:\\d\\d:\\d\\d";
    const lines = [
      `${at}: START: db pid=0 from=192\\.0\\.2\\.1`,
      `${at} wakeport\\[7847\\]: WARNING: what is`,
      `${at} wakeport\\[7847\\]: WARNING: up\\\\x1b`,
      `${at}: TRAFFIC: db in=10\\(bytes\\) out=20\\(bytes\\)`,
      `${at}: EXIT: db status=0 pid=0 duration=1\\(sec\\)`,
    ];
    assert.match(await text(child.stdout), new RegExp(`^${lines.join("\n")}\n$`));
  });

  for (const [format, work] of [
    ["json", `log.info({ event: "x", i }, "x".repeat(100))`],
    ["xinetd", `observer.connection(${JSON.stringify(connection)})`],
  ] as const) {
    test(`drops lines of the format ${format} if the reader is slow`, async () => {
      await using folder = await temporaryFile("unused", "");
      const fifo = `${folder.path}.fifo`;
      execFileSync("mkfifo", [fifo]);
      const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
      const writer = openSync(fifo, constants.O_WRONLY);
      const child = program(
        format,
        `for (let i = 0; i < 100_000; i += 1) ${work};
       process.stderr.write(String(process.memoryUsage.rss()));`,
        writer,
      );
      closeSync(writer);
      const [rss, [code]] = await Promise.all([text(child.stderr), once(child, "exit")]);
      closeSync(reader);
      assert.equal(code, 0);
      assert.ok(Number(rss) < 200 * 1024 * 1024, `${rss} bytes`);
    });
  }

  test("ignores a closed reader", async () => {
    const child = program("json", 'await new Promise((r) => setTimeout(r, 50)); log.info("x"); process.exitCode = 7;');
    child.stdout.destroy();
    assert.deepEqual(await once(child, "exit"), [7, null]);
  });
});

/** Starts a program that opens a log, runs `work` and closes the log. */
function program(format: string, work: string): ChildProcessByStdio<null, Readable, Readable>;
function program(format: string, work: string, stdout: number): ChildProcessByStdio<null, null, Readable>;
function program(format: string, work: string, stdout: number | "pipe" = "pipe"): ChildProcess {
  const source = `
    import { openLog } from ${JSON.stringify(import.meta.resolve("../../src/telemetry/log.ts"))};
    import { logObserver } from ${JSON.stringify(import.meta.resolve("../../src/telemetry/log-messages.ts"))};
    import { xinetdObserver } from ${JSON.stringify(import.meta.resolve("../../src/telemetry/xinetd-log.ts"))};
    const { log, writeNow, close } = await openLog({ level: "info", format: "${format}", isTerminal: false, pid: 7847 });
    const observer = xinetdObserver(log, () => ({ kind: "container" }), logObserver(log));
    ${work}
    await close();
    process.exit();`;
  return spawn(execPath, ["--input-type=module", "--eval", source], {
    stdio: ["ignore", stdout, "pipe"],
    timeout: 20_000,
  });
}

suite("logObserver() on images", () => {
  const pull = { image: "web:1", durationMs: 2_000, doneBytes: 15e6, totalBytes: 30e6 } as const;

  test("logs the progress of a pull", () => {
    const lines = logged((observer) => {
      observer.pull({ ...pull, stage: "begun", doneBytes: 0, totalBytes: 0 });
      observer.pull({ ...pull, stage: "under way" });
      observer.pull({ ...pull, stage: "done" });
    });
    assert.deepEqual(
      lines.map(({ level, event, msg }) => [level, event, msg]),
      [
        ["info", "image.pulling", "pulling image web:1"],
        ["info", "image.pulling", "pulling image web:1: 50 %, 15 of 30 MB"],
        ["info", "image.pulled", "image web:1 pulled in 2.0 s"],
      ],
    );
  });

  test("logs the reason and the remedy of a failed pull", () => {
    const error = new TargetError("missing", "the image web:1 could not be pulled", { remedy: "push it" });
    const [line] = logged((observer) => observer.pull({ ...pull, stage: "failed", error }));
    assert.equal(line?.["event"], "image.pull_failed");
    assert.equal(line?.["remedy"], "push it");
    assert.equal(line?.["msg"], "the image web:1 could not be pulled: push it");
  });
});
