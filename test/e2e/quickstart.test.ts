/** Runs compose/quickstart, the example of README.md, on a real engine. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { BUILD_MS, COMMAND_MS, cannotCompose, run } from "../support/engine/compose.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";

const EXAMPLE = path.join(import.meta.dirname, "../../compose/quickstart/compose.yaml");
const project = `wakeport-test-quickstart-${process.pid}`;

const skip = await cannotCompose(["curl", "--version"]);

test("the quickstart example starts its app for a client and stops it when idle", { skip }, async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
  const override = path.join(folder, "override.yaml");
  const compose = (...args: string[]): Promise<string> =>
    run("docker", ["compose", "-p", project, "-f", EXAMPLE, "-f", override, ...args], BUILD_MS);
  const isAsleep = async (): Promise<boolean> =>
    (await run("docker", ["inspect", "-f", "{{.State.Status}}", `${project}-app-1`])).trim() === "exited";
  try {
    const port = await freePort();
    const labels = 'labels: { wakeport-test: "e2e" }';
    await writeFile(
      override,
      `
services:
  wakeport:
    ports: !override ["127.0.0.1:${port}:8080"]
    ${labels}
  app: { ${labels} }
networks:
  default: { ${labels} }
`,
    );
    await compose("up", "--build", "--detach");
    await eventually("the app is asleep", isAsleep, COMMAND_MS);
    assert.equal(await run("curl", ["--silent", "--max-time", "30", `http://127.0.0.1:${port}`]), "awake\n");
    assert.equal(await isAsleep(), false);
  } finally {
    await compose("down", "--volumes", "--rmi", "local", "--timeout", "5");
    await rm(folder, { recursive: true });
  }
});
