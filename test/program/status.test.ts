import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import type net from "node:net";
import path from "node:path";
import { suite, test } from "node:test";
import { promisify } from "node:util";
import type { ServiceDetails, ServiceStatus } from "../../src/admin/api.ts";
import { format } from "../../src/cli/status.ts";
import { formatDetails } from "../../src/cli/status-details.ts";
import { freePort } from "../support/free-port.ts";
import { connect } from "../support/net/tcp.ts";
import { Program, wakeport } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const run = promisify(execFile);

const asleep: ServiceStatus = {
  name: "ftp",
  state: "asleep",
  target: "container vsftpd",
  ports: [{ listener: "*:2121", target: 21 }],
  connections: 0,
  waiting: 0,
  idle_timeout_ms: 600_000,
  start_timeout_ms: 60_000,
  cause: "idle",
  dependents: [],
};

suite("format() of a status", () => {
  const now = Date.parse("2026-01-01T12:00:00Z");

  test("is a table with one line per service", () => {
    const ready: ServiceStatus = {
      ...asleep,
      name: "api",
      state: "ready",
      target: "process node",
      connections: 2,
      waiting: 1,
      idle_deadline: "2026-01-01T12:04:30.400Z",
      last_activity: "2026-01-01T11:59:20Z",
      cause: "woken for a client",
      dependents: ["container web"],
    };
    assert.equal(
      format({ version: "1", services: [asleep, ready] }, now),
      `SERVICE   STATE    TARGET             CONNS   WAITING   IDLE IN   LAST ACTIVITY   CAUSE
ftp       asleep   container vsftpd   0       0         -         -               idle
api       ready    process node       2       1         4m30s     40s ago         woken for a client
process node: needed by container web`,
    );
  });

  test("names the label that makes services if there are none", () => {
    const engine = { url: "unix:///x", up: true };
    const last = (label_problems: { container: string; problem: string }[]): string | undefined =>
      format({ version: "1", engine, services: [], label_problems }, now).split("\n").at(-1);
    assert.equal(last([]), "no services: found no container with the label wakeport.enable=true");
    assert.equal(last([{ container: "a", problem: "unknown label" }]), "a: unknown label");
  });

  test("names what keeps an idle target awake", () => {
    const held: ServiceStatus = {
      ...asleep,
      state: "ready",
      kept_awake_by: ["1 exec session", "container worker depends on it"],
    };
    const lines = format({ version: "1", services: [held] }, now).split("\n");
    assert.deepEqual(lines.slice(2), [
      "container vsftpd is kept awake: 1 exec session; container worker depends on it",
    ]);
  });

  test("contains an engine that is down, and its error", () => {
    const services = [{ ...asleep, last_error: "container vsftpd: no such container" }];
    const lines = format({ version: "1", engine: { url: "unix:///x", up: false }, services }, now).split("\n");
    assert.deepEqual(lines.slice(2), [
      "the engine at unix:///x does not answer",
      "ftp: container vsftpd: no such container",
    ]);
  });

  test("contains the missing conditions of a starting target", () => {
    const services = [{ ...asleep, state: "starting" as const, pending: ["http /health on 80", "healthy"] }];
    const lines = format({ version: "1", services }, now).split("\n");
    assert.deepEqual(lines.slice(2), ["ftp: waiting for http /health on 80, healthy"]);
  });

  test("escapes control characters of targets and clients", () => {
    const evil = "\x1b[2J\x9b1m\u202e\u2028\r\nforged: line\u{e0001}";
    const shown = "\\x1b[2J\\x9b1m\\u202e\\u2028\\x0d\\x0aforged: line\\u{e0001}";
    const services = [
      { ...asleep, name: `a${evil}`, target: evil, cause: evil, last_error: evil, dependents: [evil], pending: [evil] },
    ];
    const label_problems = [{ container: evil, problem: evil }];
    const engine = { url: evil, up: true, problems: [evil] };
    const printed = format({ version: "1", services, label_problems, engine }, now);
    assert.doesNotMatch(printed, /[^\n\x20-\x7e]/);
    assert.equal(printed.split("\n").length, 7);
    assert.equal(printed.split("\n")[6], `${shown}: ${shown}`);
  });

  test("contains no negative time", () => {
    const services = [{ ...asleep, idle_deadline: "2026-01-01T11:59:59Z", last_activity: "2026-01-01T12:00:05Z" }];
    assert.match(format({ version: "1", services }, now), / 0s +0s ago +idle$/);
  });
});

suite("formatDetails()", () => {
  const now = Date.parse("2026-01-01T12:00:00Z");

  test("has one fact per line, and omits missing facts", () => {
    const details: ServiceDetails = { ...asleep, since: "2026-01-01T11:58:00Z", outcomes: {}, denials: {}, open: [] };
    assert.equal(
      formatDetails(details, now),
      `ftp
  state           asleep, idle, for 2m
  target          container vsftpd
  ports           *:2121 → 21
  connections     0 served, 0 waiting
  idle timeout    10m
  start timeout   1m`,
    );
  });

  test("contains the reasons that keep a target awake, the error of its start, and its clients", () => {
    const details: ServiceDetails = {
      ...asleep,
      state: "ready",
      cause: "woken by 10.0.0.7:5512 through ftp",
      since: "2026-01-01T11:59:30Z",
      connections: 30,
      dependents: ["container web"],
      kept_awake_by: ["an exec session"],
      pending: ["tcp 21"],
      idle_deadline: "2026-01-01T12:05:00Z",
      last_activity: "2026-01-01T11:59:59Z",
      cooldown_until: "2026-01-01T12:00:04Z",
      last_error: "container vsftpd exited with code 3",
      last_lines: ["reading the settings", "no database"],
      outcomes: { relayed: 12, client_gone: 1 },
      denials: { address: 2 },
      open: [{ conn: 1, client: "10.0.0.7:5512", since: "2026-01-01T11:59:30Z", state: "served", pid: 7 }],
    };
    assert.deepEqual(
      formatDetails(details, now)
        .split("\n")
        .map((line) => line.trim().replace(/ {3,}/, ": ")),
      [
        "ftp",
        "state: ready, woken by 10.0.0.7:5512 through ftp, for 30s",
        "target: container vsftpd",
        "ports: *:2121 → 21",
        "connections: 30 served, 0 waiting",
        "waiting for: tcp 21",
        "kept awake by: an exec session",
        "needed by: container web",
        "sleeps in: 5m",
        "idle timeout: 10m",
        "start timeout: 1m",
        "last activity: 1s ago",
        "next start in: 4s",
        "last error: container vsftpd exited with code 3",
        "last output: reading the settings",
        "no database",
        "ended so far: 12 relayed, 1 client_gone",
        "denied so far: 2 address",
        "clients: 10.0.0.7:5512 served for 30s (pid 7)",
        "and 29 more",
      ],
    );
  });
});

suite("wakeport status SERVICE", () => {
  test("shows one service of a running wakeport, with the last output of a target that crashed", async () => {
    const [port, up, admin] = [await freePort(), await freePort(), await freePort()];
    const script = `require("node:net").createServer((client) => client.on("data", () => { console.log("disk full"); process.exit(3); })).listen(${up}, "127.0.0.1")`;
    const service = {
      ports: [`127.0.0.1:${port}`],
      process: { command: [process.execPath, "-e", script], listen: `127.0.0.1:${up}` },
    };
    const config = { admin: { listen: `127.0.0.1:${admin}` }, services: { shop: service } };
    await using file = await temporaryFile("w.yaml", JSON.stringify(config));
    await using program = new Program(["run", "-c", file.path]);
    await program.logged("started");
    using client = await connect(port);
    client.send("crash");
    const asleepLine = await program.logged("target.asleep");
    assert.deepEqual(asleepLine["last_lines"], ["disk full"]);
    assert.match(String(asleepLine["msg"]), /^shop: process node .* crashed with code 3; last output: disk full$/);
    client.end();
    await program.logged("connection.closed");
    const { code, stdout } = await wakeport(["status", "-c", file.path, "shop"]);
    assert.equal(code, 0);
    assert.match(stdout, /^shop\n {2}state +asleep, crashed with code 3, for \d+s\n/);
    assert.match(stdout, /^ {2}last output +disk full$/m);
    assert.match(stdout, /^ {2}ended so far +1 relayed$/m);
    const json = await wakeport(["status", "--json", "-c", file.path, "shop"]);
    assert.deepEqual(JSON.parse(json.stdout).outcomes, { relayed: 1 });
    const unknown = await wakeport(["status", "-c", file.path, "shopp"]);
    assert.deepEqual([unknown.code, unknown.stderr], [2, 'wakeport: unknown service "shopp": did you mean "shop"?\n']);
  });
});

suite("wakeport status", () => {
  const answers = { "a page": "<html>hello</html>", "other JSON": '{"services": "none"}', "no object": "null" };
  for (const [what, answer] of Object.entries(answers)) {
    test(`does not accept another server that responds with ${what} as wakeport`, async () => {
      await using stranger = await serving(answer);
      await using file = await temporaryFile(
        "w.yaml",
        `admin: { listen: "127.0.0.1:${stranger.port}" }\nservices: { a: { ports: [2121], container: c } }\n`,
      );
      const { code, stdout, stderr } = await wakeport(["status", "-c", file.path]);
      assert.deepEqual([code, stdout], [1, ""]);
      assert.equal(stderr, `wakeport: the server at 127.0.0.1:${stranger.port} is not wakeport\n`);
    });
  }
});

suite("wakeport check", () => {
  test("exits without an error if the reader closes the pipe", async () => {
    const services = Array.from(
      { length: 2_000 },
      (_, index) => `  s${index}: { ports: [${index + 10_000}], container: c }`,
    );
    await using file = await temporaryFile("w.yaml", `services:\n${services.join("\n")}\n`);
    const program = path.join(import.meta.dirname, "../../bin/wakeport");
    const script = `set -o pipefail; "${program}" check -c "${file.path}" | head -n 1`;
    const { stdout, stderr } = await run("bash", ["-c", script], { timeout: 30_000 });
    assert.deepEqual([stdout, stderr], [`${file.path} is valid\n`, ""]);
  });
});

/** A web server that responds to every request with 200 and the same body. */
async function serving(answer: string): Promise<{ readonly port: number } & AsyncDisposable> {
  const server = http.createServer((_request, response) => response.end(answer));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as net.AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, "close");
    },
  };
}
