/** A process target with a client that connects to it directly. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import { connect } from "../support/net/tcp.ts";
import { Program } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

checkLeaks();

/** Accepts on the port of its argument, and sends nothing. */
const server = `require("node:net").createServer({ allowHalfOpen: true }, (client) => {
  client.on("error", () => {});
  client.resume();
}).listen(Number(process.argv[1]), "127.0.0.1")`;

suite("wakeport with a direct client of a process", () => {
  test("keeps the process awake until the client closes, and reports the reason", async () => {
    const [port, own, admin] = [await freePort(), await freePort(), await freePort()];
    const command = JSON.stringify([process.execPath, "-e", server, String(own)]);
    const yaml = `admin: { listen: "127.0.0.1:${admin}" }
services:
  it: { ports: ["127.0.0.1:${port}"], idle_timeout: 200ms, process: { command: ${command}, listen: "127.0.0.1:${own}" } }\n`;
    await using file = await temporaryFile("wakeport.yaml", yaml);
    await using program = new Program(["run", "-c", file.path]);
    await program.logged("started");
    using client = await connect(port);
    await program.logged("target.ready");
    using direct = await connect(own);
    client.reset();
    const held = async (): Promise<string> => {
      const answer = await fetch(`http://127.0.0.1:${admin}/api/v1/services/it`);
      return String(((await answer.json()) as { kept_awake_by?: unknown }).kept_awake_by);
    };
    await eventually("the reason in the status", async () => (await held()) === `1 direct connection to port ${own}`);
    assert.equal(program.log.filter(({ event }) => event === "target.asleep").length, 0);
    direct.socket.destroy();
    await program.logged("target.asleep");
  });
});
