/** Secrets of a configuration in all output of wakeport. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect } from "../support/net/tcp.ts";
import { Program, wakeport } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

test("log, API, status, metrics and check contain no secret of a command or a probe", async () => {
  const [listenPort, admin, upstream] = [await freePort(), await freePort(), await freePort()];
  const command = ["sh", "-c", "exec sleep 60", "--password=hunter2", "redis://:hunter2@db:1"];
  await using file = await temporaryFile(
    "wakeport.yaml",
    `admin: { listen: "127.0.0.1:${admin}" }
log: { level: trace }
shutdown: { drain: 0s }
services:
  slow:
    ports: ["127.0.0.1:${listenPort}:${upstream}"]
    process: { command: ${JSON.stringify(command)} }
    ready: { http: "/health?token=hunter2", headers: { Authorization: Bearer hunter2 } }
    start_timeout: 1s\n`,
  );
  await using program = new Program(["run", "-c", file.path]);
  await eventually("wakeport has started", () => program.stdout.includes("serves"));
  using client = await connect(listenPort);
  const ask = async (path: string): Promise<string> => (await fetch(`http://127.0.0.1:${admin}${path}`)).text();
  await eventually("the target starts", () => program.stdout.includes("target.starting"));
  const starting = [await ask("/api/v1/services"), (await wakeport(["status", "-c", file.path])).stdout];
  assert.equal(await client.ended(), "ECONNRESET");
  program.child.kill("SIGUSR2");
  await eventually("the state is logged", () => program.stdout.includes('"event":"state"'));
  const shown = {
    starting: starting.join("\n"),
    services: await ask("/api/v1/services"),
    service: await ask("/api/v1/services/slow"),
    metrics: await ask("/metrics"),
    status: (await wakeport(["status", "-c", file.path])).stdout,
    check: (await wakeport(["check", "-c", file.path])).stdout,
    log: program.stdout + program.stderr,
  };
  for (const [place, text] of Object.entries(shown)) assert.doesNotMatch(text, /hunter/, place);
  assert.match(shown.check, /--password=\*\*\* :\*\*\*@db:1/);
  assert.match(shown.check, /GET \/health\?token=\*\*\* returns/);
  assert.match(shown.log, /target\.failed/);
});
