import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import type net from "node:net";
import path from "node:path";
import { suite, test } from "node:test";
import { promisify } from "node:util";
import type { ServiceStatus } from "../../src/admin/api.ts";
import { format } from "../../src/commands/status.ts";
import { temporaryFile, wakeport } from "../support/program.ts";

const run = promisify(execFile);

const asleep: ServiceStatus = {
  name: "ftp",
  state: "asleep",
  target: "container vsftpd",
  ports: [{ front: "*:2121", target: 21 }],
  connections: 0,
  waiting: 0,
  idle_timeout_ms: 600_000,
  start_timeout_ms: 60_000,
  cause: "idle",
  dependents: [],
};

suite("format() of a status", () => {
  const now = Date.parse("2026-01-01T12:00:00Z");

  test("is a table, one line a service", () => {
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

  test("names what keeps an idle target awake", () => {
    const held: ServiceStatus = {
      ...asleep,
      state: "ready",
      held_by: ["1 exec session", "container worker depends on it"],
    };
    const lines = format({ version: "1", services: [held] }, now).split("\n");
    assert.deepEqual(lines.slice(2), [
      "container vsftpd: kept awake by 1 exec session; container worker depends on it",
    ]);
  });

  test("tells of an engine that is down, and of what went wrong", () => {
    const services = [{ ...asleep, last_error: "container vsftpd: no such container" }];
    const lines = format({ version: "1", engine: { url: "unix:///x", up: false }, services }, now).split("\n");
    assert.deepEqual(lines.slice(2), [
      "the engine at unix:///x does not answer",
      "ftp: container vsftpd: no such container",
    ]);
  });

  test("tells what a target that is starting still misses", () => {
    const services = [{ ...asleep, state: "starting" as const, pending: ["http /health on 80", "healthy"] }];
    const lines = format({ version: "1", services }, now).split("\n");
    assert.deepEqual(lines.slice(2), ["ftp: waiting for http /health on 80, healthy"]);
  });

  test("counts no time backwards", () => {
    const services = [{ ...asleep, idle_deadline: "2026-01-01T11:59:59Z", last_activity: "2026-01-01T12:00:05Z" }];
    assert.match(format({ version: "1", services }, now), / 0s +0s ago +idle$/);
  });
});

suite("wakeport status", () => {
  const answers = { "a page": "<html>hello</html>", "other JSON": '{"services": "none"}', "no object": "null" };
  for (const [what, answer] of Object.entries(answers)) {
    test(`does not take somebody else, who answers with ${what}, for wakeport`, async () => {
      await using stranger = await serving(answer);
      await using file = await temporaryFile(
        "w.yaml",
        `admin: { listen: "127.0.0.1:${stranger.port}" }\nservices: { a: { ports: [2121], container: c } }\n`,
      );
      const { code, stdout, stderr } = await wakeport(["status", "-c", file.path]);
      assert.deepEqual([code, stdout], [1, ""]);
      assert.equal(stderr, `wakeport: what answers at 127.0.0.1:${stranger.port} is not wakeport\n`);
    });
  }
});

suite("wakeport check", () => {
  test("does not mind a reader that has seen enough", async () => {
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

/** A web server that answers everything with 200 and the same. */
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
