/** Readiness of real containers. */
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import type { ServiceStatus } from "../../src/admin/api.ts";
import { echo } from "../support/engine/containers.ts";
import { engineTest } from "../support/engine/lab.ts";
import { PORT, type Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

engineTest("banner: a server that accepts and sends another greeting is not ready yet", async (lab) => {
  const program = `
    const began = Date.now();
    require("node:net").createServer((socket) => {
      socket.on("error", () => {});
      if (Date.now() - began < 500) return socket.end("421 wait\\n");
      socket.write("220 1\\n");
      socket.pipe(socket);
    }).listen(${PORT});
    process.on("SIGTERM", () => process.exit(0));
  `;
  const target = await lab.container({ program });
  const wakeport = await lab.wakeport({ ftp: { to: target, ready: { banner: "220" } } });
  assert.equal(await wakeport.greeted("ftp"), "220 1\n");
});

engineTest("http: a server that responds 503 is not ready yet", async (lab) => {
  const program = `
    const began = Date.now();
    require("node:http").createServer((request, response) => {
      response.statusCode = Date.now() - began < 500 ? 503 : 204;
      response.end();
    }).listen(${PORT});
    process.on("SIGTERM", () => process.exit(0));
  `;
  const target = await lab.container({ program });
  const wakeport = await lab.wakeport({ web: { to: target, ready: { http: "/health" } } });
  using peer = await wakeport.connect("web");
  peer.send("GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
  await peer.ended();
  assert.match(peer.text, /^HTTP\/1.1 204/);
});

engineTest("healthy: a container is ready when its healthcheck succeeds", async (lab) => {
  const program = `${echo()} setTimeout(() => require("node:fs").writeFileSync("/tmp/ok", ""), 500);`;
  const target = await lab.container({ program, healthcheck: { command: "test -f /tmp/ok", retries: 100 } });
  const wakeport = await lab.wakeport({ echo: { to: target, ready: ["healthy", "tcp"] } });
  await wakeport.greeted("echo");
  const activation = await wakeport.activation();
  assert.equal(activation.outcome, "ready");
  assert.ok(activation.durationMs >= 500, "ready before the healthcheck could succeed");
});

engineTest("healthy: a container that becomes unhealthy fails to start and is stopped", async (lab) => {
  const target = await lab.container({ program: echo(), healthcheck: { command: "false", retries: 2 } });
  const wakeport = await lab.wakeport({ echo: { to: target, ready: "healthy" } });
  using peer = await wakeport.connect("echo");
  assert.equal(await peer.ended(), "ECONNRESET");
  assert.equal((await wakeport.activation()).outcome, "unhealthy");
  await wakeport.until("echo", "asleep");
  assert.equal(await target.isAwake(), false);
});

engineTest("healthy: a container without a healthcheck is rejected at once with the remedy", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target, ready: "healthy" } });
  using peer = await wakeport.connect("echo");
  assert.equal(await peer.ended(), "ECONNRESET");
  const { error } = await wakeport.activation();
  assert.match(error?.message ?? "", /has no HEALTHCHECK/);
  assert.ok(error !== undefined && "remedy" in error);
  assert.match(String(error.remedy), /ready: tcp/);
});

engineTest("several conditions must all hold", async (lab) => {
  const program = `${echo()} setTimeout(() => require("node:fs").writeFileSync("/tmp/ok", ""), 700);`;
  const target = await lab.container({ program, healthcheck: { command: "test -f /tmp/ok", retries: 100 } });
  const wakeport = await lab.wakeport({ echo: { to: target, ready: ["tcp", { banner: "220" }, "healthy"] } });
  await wakeport.greeted("echo");
  assert.ok((await wakeport.activation()).durationMs >= 700);
});

/** The service in the output of `wakeport status`. */
async function statusOf(wakeport: Wakeport, service: string): Promise<ServiceStatus> {
  return JSON.parse((await wakeport.ask(`/api/v1/services/${service}`)).body);
}

engineTest("http: only the configured status counts", async (lab) => {
  const program = `
    const began = Date.now();
    require("node:http").createServer((request, response) => {
      response.statusCode = Date.now() - began < 500 ? 200 : 204;
      response.end();
    }).listen(${PORT});
    process.on("SIGTERM", () => process.exit(0));
  `;
  const target = await lab.container({ program });
  const wakeport = await lab.wakeport({ web: { to: target, ready: { http: "/health", status: 204 } } });
  using peer = await wakeport.connect("web");
  peer.send("GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
  await peer.ended();
  assert.match(peer.text, /^HTTP\/1.1 204/);
});

for (const tty of [false, true]) {
  engineTest(
    `log: ready after a line of this run, not of the previous run, ${tty ? "with" : "without"} a terminal`,
    async (lab) => {
      const program = `${echo()}
      console.log("booting");
      setTimeout(() => process.${tty ? "stdout" : "stderr"}.write("server is re"), 300);
      setTimeout(() => process.${tty ? "stdout" : "stderr"}.write("ady\\n"), 600);
    `;
      const target = await lab.container({ program, tty });
      const ready = [{ log: "^server is ready$" }, "tcp"];
      const wakeport = await lab.wakeport({ echo: { to: target, ready, idle_timeout: "50ms" } });
      for (const incarnation of [1, 2]) {
        await wakeport.greeted("echo");
        assert.equal(wakeport.record.activations.length, incarnation);
        assert.ok((wakeport.record.activations.at(-1)?.durationMs ?? 0) >= 600, "ready before the line was printed");
        await wakeport.until("echo", "asleep");
      }
    },
  );
}

engineTest("log: a line printed before the log is read is found, even the first line", async (lab) => {
  const target = await lab.container({
    command: ["sh", "-c", `echo ready; trap "exit 0" TERM; nc -ll -p ${PORT} -e cat & wait`],
  });
  const wakeport = await lab.wakeport({
    echo: { to: target, ready: [{ log: "^ready$" }, "tcp"], idle_timeout: "50ms" },
  });
  for (const _life of [1, 2, 3, 4, 5]) {
    using peer = await wakeport.connect("echo");
    peer.end("hello");
    await peer.ended();
    assert.equal(peer.text, "hello");
    await wakeport.until("echo", "asleep");
  }
});

engineTest("log: a match after 40,000 characters of a line counts", async (lab) => {
  const target = await lab.container({ program: `${echo()} console.log("x".repeat(40_000) + " ready");` });
  const wakeport = await lab.wakeport({
    echo: { to: target, ready: [{ log: "x ready$" }, "tcp"], start_timeout: "15s" },
  });
  await wakeport.greeted("echo");
  assert.equal((await wakeport.activation()).outcome, "ready");
});

engineTest(
  "log: a container that another program started long ago is adopted after the line in its log",
  async (lab) => {
    const target = await lab.container({ program: `${echo()} console.log("ready");` });
    await target.start();
    await eventually("the target is ready", async () => (await target.output()).includes("ready"));
    const wakeport = await lab.wakeport({ echo: { to: target, ready: { log: "^ready$" } } });
    await wakeport.until("echo", "ready");
    await wakeport.greeted("echo");
  },
);

engineTest("log: a logging driver without reading is rejected at once with the remedy", async (lab) => {
  const target = await lab.container({ program: echo(), logDriver: "none" });
  const wakeport = await lab.wakeport({ echo: { to: target, ready: { log: "ready" } } });
  using peer = await wakeport.connect("echo");
  assert.equal(await peer.ended(), "ECONNRESET");
  const { error } = await wakeport.activation();
  assert.match(error?.message ?? "", /^the log of container \S+ cannot be read: configured logging driver/);
  assert.ok(error !== undefined && "remedy" in error);
  assert.match(String(error.remedy), /json-file/);
});

const silent = "setInterval(() => {}, 1000);";
const lists = { http: { http: "/health" }, log: { log: "ready" }, banner: { banner: "220" }, tcp: "tcp" };
for (const [kind, part] of Object.entries(lists)) {
  engineTest(`${kind}: a container that exits during the probe fails at once`, async (lab) => {
    const target = await lab.container({ program: `${silent} setTimeout(() => process.exit(3), 500);` });
    const wakeport = await lab.wakeport({ web: { to: target, ready: ["tcp", part] } });
    using peer = await wakeport.connect("web");
    assert.equal(await peer.ended(), "ECONNRESET");
    const { outcome, exit } = await wakeport.activation();
    assert.deepEqual([outcome, exit?.code], ["exited", 3]);
  });

  engineTest(`${kind}: an unhealthy container fails at once if "healthy" is in the list`, async (lab) => {
    const target = await lab.container({ program: silent, healthcheck: { command: "false", retries: 2 } });
    const wakeport = await lab.wakeport({ web: { to: target, ready: [part, "healthy"] } });
    using peer = await wakeport.connect("web");
    assert.equal(await peer.ended(), "ECONNRESET");
    assert.equal((await wakeport.activation()).outcome, "unhealthy");
  });
}

engineTest(`unhealthy is ignored if "healthy" is not in the list`, async (lab) => {
  const target = await lab.container({
    program: echo({ delayMs: 1_000 }),
    healthcheck: { command: "false", retries: 1 },
  });
  const wakeport = await lab.wakeport({ echo: { to: target } });
  await wakeport.greeted("echo");
  await eventually("the container is unhealthy", async () => (await target.state())?.Health?.Status === "unhealthy");
  await wakeport.greeted("echo");
});

engineTest("status and the error of a start timeout contain the missing conditions", async (lab) => {
  const target = await lab.container({ program: echo() });
  const ready = ["tcp", { http: "/health" }, { log: "ready" }];
  const wakeport = await lab.wakeport({ web: { to: target, ready, start_timeout: "2s" } });
  using peer = await wakeport.connect("web");
  const pending = ["http /health on 7000", "log /ready/"];
  await eventually("status contains the missing condition", async () =>
    isDeepStrictEqual((await statusOf(wakeport, "web")).pending, pending),
  );
  assert.equal(await peer.ended(), "ECONNRESET");
  await wakeport.until("web", "asleep");
  const { pending: left, last_error } = await statusOf(wakeport, "web");
  assert.equal(left, undefined);
  const reported = `${target.name} was not ready within 2 s, waiting for http /health on 7000, log /ready/`;
  assert.ok(last_error?.startsWith(`container ${reported}: `), last_error);
  assert.equal(wakeport.record.connections[0]?.outcome, "start_timeout");
});
