import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { StatusReport } from "../../src/admin/api.ts";
import { AdminServer, MAX_ADMIN_CLIENTS } from "../../src/admin/server.ts";
import { BindError } from "../../src/errors.ts";
import { eventually } from "../support/eventually.ts";
import { connecting } from "../support/net/tcp.ts";

const report: StatusReport = {
  version: "1",
  services: [
    {
      name: "ftp",
      state: "asleep",
      target: "container vsftpd",
      ports: [{ listener: "*:2121", target: 21 }],
      connections: 0,
      waiting: 0,
      dependents: [],
      idle_timeout_ms: 1,
      start_timeout_ms: 1,
    },
  ],
};

const open = [
  { conn: 1, client: "192.0.2.1:5000", since: "2026-11-22T07:00:00.000Z", state: "served", pid: 7 },
] as const;

const counts = { outcomes: { relayed: 3 }, denials: { address: 1 } } as const;

interface Running extends AsyncDisposable {
  readonly port: number;
  missing: string | undefined;
  /** Delays the metrics. */
  slow: () => Promise<void>;
  ask(path: string, init?: RequestInit): Promise<{ status: number; type: string | null; body: string }>;
}

async function running(): Promise<Running> {
  const state: Pick<Running, "missing" | "slow"> = { missing: undefined, slow: async () => {} };
  const server = new AdminServer({
    host: "127.0.0.1",
    port: 0,
    metrics: {
      contentType: "text/plain; version=0.0.4; charset=utf-8",
      outcomesOf: async () => counts,
      text: () => state.slow().then(() => "some_metric 1\n"),
    },
    status: () => report,
    open: () => open,
    allowedHosts: () => [],
    notReady: () => state.missing,
  });
  await server.open();
  return Object.assign(state, {
    port: server.port,
    ask: async (path: string, init?: RequestInit) => {
      const response = await fetch(`http://127.0.0.1:${server.port}${path}`, init ?? {});
      return { status: response.status, type: response.headers.get("content-type"), body: await response.text() };
    },
    [Symbol.asyncDispose]: () => server.close(),
  });
}

suite("AdminServer", () => {
  test("serves metrics with the content type that Prometheus needs", async () => {
    await using admin = await running();
    const { status, type, body } = await admin.ask("/metrics?x=1");
    assert.deepEqual([status, type, body], [200, "text/plain; version=0.0.4; charset=utf-8", "some_metric 1\n"]);
  });

  test("is always healthy, and ready unless a condition is missing", async () => {
    await using admin = await running();
    assert.equal((await admin.ask("/healthz")).status, 200);
    assert.equal((await admin.ask("/readyz")).status, 200);
    admin.missing = "the engine at X does not answer";
    assert.deepEqual(await admin.ask("/readyz"), {
      status: 503,
      type: "text/plain; charset=utf-8",
      body: "the engine at X does not answer\n",
    });
    assert.equal((await admin.ask("/healthz")).status, 200);
  });

  test("returns all services, the details of one service, and 404 for an unknown service", async () => {
    await using admin = await running();
    assert.deepEqual(JSON.parse((await admin.ask("/api/v1/services")).body), report);
    assert.deepEqual(JSON.parse((await admin.ask("/api/v1/services/ftp")).body), {
      ...report.services[0],
      ...counts,
      open,
    });
    assert.equal((await admin.ask("/api/v1/services/nope")).status, 404);
  });

  test("returns 404 with the valid paths, 405 for other methods, and HEAD without a body", async () => {
    await using admin = await running();
    const unknown = await admin.ask("/");
    assert.equal(unknown.status, 404);
    assert.match(unknown.body, /\/metrics/);
    assert.equal((await admin.ask("/metrics", { method: "POST" })).status, 405);
    assert.deepEqual((await admin.ask("/healthz", { method: "HEAD" })).body, "");
  });

  test("evicts the oldest connection without a request", async (t) => {
    await using admin = await running();
    const silent = Array.from({ length: 200 }, () => connecting(admin.port));
    t.after(() => silent.forEach((client) => client.reset()));
    const closed = (): number => silent.filter(({ fate }) => fate !== "open").length;
    await eventually("the oldest are closed", () => closed() === 200 - MAX_ADMIN_CLIENTS);
    assert.equal(silent.at(-1)?.fate, "open");
    for (const path of ["/healthz", "/metrics"]) assert.equal((await admin.ask(path)).status, 200);
    const started = Promise.withResolvers<void>();
    const finish = Promise.withResolvers<void>();
    admin.slow = () => {
      started.resolve();
      return finish.promise;
    };
    const slow = admin.ask("/metrics");
    await started.promise;
    silent.push(...Array.from({ length: 200 }, () => connecting(admin.port)));
    await eventually("the oldest are closed", () => closed() === 400 - (MAX_ADMIN_CLIENTS - 1));
    finish.resolve();
    assert.equal((await slow).status, 200);
  });

  test("closes a connection whose request does not arrive, or whose body arrives slowly", async (t) => {
    await using admin = await running();
    const slow = ["", "GET /healthz HTTP/1.1\r\n", "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n1"];
    for (const start of slow) {
      const client = connecting(admin.port);
      t.after(() => client.reset());
      client.socket.write(start);
      await eventually("it is closed", () => client.fate !== "open");
    }
  });

  test("open() rejects with the address that is in use", async () => {
    await using admin = await running();
    const second = new AdminServer({
      host: "127.0.0.1",
      port: admin.port,
      metrics: { contentType: "", text: async () => "", outcomesOf: async () => counts },
      status: () => report,
      open: () => [],
      allowedHosts: () => [],
      notReady: () => undefined,
    });
    await assert.rejects(second.open(), (error: unknown) => {
      assert.ok(error instanceof BindError);
      assert.match(
        error.message,
        new RegExp(`admin server cannot listen on 127\\.0\\.0\\.1:${admin.port}: .*ss -ltnp.*set "admin\\.listen"`),
      );
      return true;
    });
  });
});
