/** When a real container counts as ready. */
import assert from "node:assert/strict";
import { echo } from "../support/containers.ts";
import { checkLeaks } from "../support/leaks.ts";
import { engineTest } from "./lab.ts";
import { PORT } from "./wakeport.ts";

checkLeaks();

engineTest("banner: a server that accepts and greets with something else is not ready yet", async (lab) => {
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

engineTest("http: a server that answers 503 is not ready yet", async (lab) => {
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
  await peer.ends();
  assert.match(peer.text, /^HTTP\/1.1 204/);
});

engineTest("healthy: a container is ready when its own healthcheck says so", async (lab) => {
  const program = `${echo()} setTimeout(() => require("node:fs").writeFileSync("/tmp/ok", ""), 500);`;
  const target = await lab.container({ program, healthcheck: { command: "test -f /tmp/ok", retries: 100 } });
  const wakeport = await lab.wakeport({ echo: { to: target, ready: ["healthy", "tcp"] } });
  await wakeport.greeted("echo");
  const activation = await wakeport.activation();
  assert.equal(activation.outcome, "ready");
  assert.ok(activation.durationMs >= 500, "ready before the healthcheck could succeed");
});

engineTest("healthy: a container that turns unhealthy is given up and stopped", async (lab) => {
  const target = await lab.container({ program: echo(), healthcheck: { command: "false", retries: 2 } });
  const wakeport = await lab.wakeport({ echo: { to: target, ready: "healthy" } });
  using peer = await wakeport.connect("echo");
  assert.equal(await peer.ends(), "ECONNRESET");
  assert.equal((await wakeport.activation()).outcome, "unhealthy");
  await wakeport.until("echo", "asleep");
  assert.equal(await target.isAwake(), false);
});

engineTest("healthy: a container without a healthcheck is refused at once, with the way out", async (lab) => {
  const target = await lab.container({ program: echo() });
  const wakeport = await lab.wakeport({ echo: { to: target, ready: "healthy" } });
  using peer = await wakeport.connect("echo");
  assert.equal(await peer.ends(), "ECONNRESET");
  const { error } = await wakeport.activation();
  assert.match(error?.message ?? "", /has no HEALTHCHECK/);
  assert.ok(error !== undefined && "remedy" in error);
  assert.match(String(error.remedy), /ready: tcp/);
});

engineTest("several: all must hold", async (lab) => {
  const program = `${echo()} setTimeout(() => require("node:fs").writeFileSync("/tmp/ok", ""), 700);`;
  const target = await lab.container({ program, healthcheck: { command: "test -f /tmp/ok", retries: 100 } });
  const wakeport = await lab.wakeport({ echo: { to: target, ready: ["tcp", { banner: "220" }, "healthy"] } });
  await wakeport.greeted("echo");
  assert.ok((await wakeport.activation()).durationMs >= 700);
});
