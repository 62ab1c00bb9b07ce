/** `wakeport run` with a process without ports that wakes with another service. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { suite, test } from "node:test";
import type { ServiceStatus } from "../../src/admin/api.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect } from "../support/net/tcp.ts";
import { Program, wakeport } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const server = `require("net").createServer((client) => client.on("error", () => {}).write("hello")).listen(process.argv[1], "127.0.0.1");`;
const worker = `console.log("working"); setInterval(() => {}, 1000);`;

suite("a process without ports", () => {
  test("wakes and sleeps with its service, and plan, status and metrics show it", async () => {
    const [listenPort, upstream, admin] = [await freePort(), await freePort(), await freePort()];
    const node = (program: string, ...args: string[]): string =>
      JSON.stringify([process.execPath, "-e", program, ...args]);
    const yaml = `admin: { listen: "127.0.0.1:${admin}" }
defaults: { idle_timeout: 300ms }
services:
  web: { ports: ["127.0.0.1:${listenPort}:${upstream}"], process: { command: ${node(server, String(upstream))} } }
  worker: { process: { command: ${node(worker)} }, with: [web], ready: { log: working } }
`;
    await using file = await temporaryFile("wakeport.yaml", yaml);
    const checked = await wakeport(["check", "-c", file.path]);
    assert.match(checked.stdout, /worker +with web → process .* idle 300ms/);

    await using program = new Program(["run", "-c", file.path]);
    await program.logged("started");
    const ask = async (path: string): Promise<Response> =>
      fetch(`http://127.0.0.1:${admin}${path}`, { signal: AbortSignal.timeout(5_000) });
    const statusOf = async (): Promise<ServiceStatus> => (await (await ask("/api/v1/services/worker")).json()) as never;
    const { state, ports, with: leaders } = await statusOf();
    assert.deepEqual([state, ports, leaders], ["asleep", [], ["web"]]);
    {
      using _client = await connect(listenPort);
      await eventually("the worker is ready", async () => (await statusOf()).state === "ready");
      const reported = await wakeport(["status", "-c", file.path]);
      assert.match(reported.stdout, /^worker +ready +process .*woken for process/m);
      const metrics = await (await ask("/metrics")).text();
      assert.ok(metrics.includes('wakeport_service_state{service="worker",state="ready"} 1\n'));
    }
    await eventually("the worker sleeps", async () => (await statusOf()).state === "asleep");
    await program.logged("target.asleep", 2);
    const slept = program.log.filter(({ event }) => event === "target.asleep").map(({ services }) => services);
    assert.deepEqual(slept, [["web"], ["worker"]]);

    // A reload adds a port, and another removes it.
    const own = await freePort();
    const withPort = yaml
      .replace("worker: {", `worker: { ports: ["127.0.0.1:${own}:${await freePort()}"],`)
      .replace("{ log: working }", "tcp");
    for (const [count, [text, listeners]] of [
      [withPort, [`127.0.0.1:${own}`]] as const,
      [yaml, []] as const,
    ].entries()) {
      await writeFile(file.path, text);
      program.child.kill("SIGHUP");
      await program.logged("config.reloaded", count + 1);
      const reported = await statusOf();
      assert.deepEqual(
        reported.ports.map(({ listener: listenPort }) => listenPort),
        listeners,
      );
    }
    await assert.rejects(connect(own), { code: "ECONNREFUSED" });
    program.child.kill("SIGTERM");
    assert.equal((await program.finished()).code, 0);
  });
});
