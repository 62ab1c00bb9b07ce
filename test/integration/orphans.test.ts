/** Containers that a killed wakeport created: the next wakeport adopts them, or removes them if they are not configured. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { echo } from "../support/engine/containers.ts";
import { engineEnv } from "../support/engine/engine.ts";
import { type Made, madeTest } from "../support/engine/on-demand.ts";
import { PORT } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import { connect } from "../support/net/tcp.ts";
import { Program } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

checkLeaks();

async function run(path: string): Promise<Program> {
  const program = new Program(["run", "-c", path], engineEnv());
  await program.logged("started");
  return program;
}

/** A configuration with one service: the created one, or another one. */
async function settings(made: Made | undefined): Promise<{ readonly text: string; readonly listenPort: number }> {
  const listenPort = await freePort();
  const ports = [`127.0.0.1:${listenPort}:${PORT}`];
  const container = { image: "node:24-bookworm-slim", command: ["node", "-e", echo()] };
  const services =
    made === undefined
      ? { other: { ports, container: "nobody" } }
      : { [made.name]: { ports, container: made.container(container), idle_timeout: "5s" } };
  // JSON is YAML.
  return { listenPort, text: JSON.stringify({ admin: { listen: `127.0.0.1:${await freePort()}` }, services }) };
}

madeTest(
  "SIGKILL: the next wakeport adopts its container, and removes it when it is not configured any more",
  async (lab, made) => {
    const owned = { "wakeport.created": "1", "wakeport.owner": "host:elsewhere:/wakeport.yaml" };
    const foreign = await lab.container({
      command: ["sleep", "3600"],
      labels: { ...owned, "wakeport.service": made.name },
    });
    await foreign.start();
    const { text, listenPort } = await settings(made);
    await using file = await temporaryFile("wakeport.yaml", text);

    await using first = await run(file.path);
    using client = await connect(listenPort);
    await eventually("a greeting", () => client.received > 0);
    first.child.kill("SIGKILL");
    await first.finished();
    const { Id: id } = await made.inspect();

    await using second = await run(file.path);
    const { adopted } = await second.logged("target.ready");
    assert.equal(adopted, true);
    using next = await connect(listenPort);
    await eventually("a greeting", () => next.received > 0);
    assert.equal(next.text, client.text, "the container was started again");
    assert.equal((await made.inspect()).Id, id);
    second.child.kill("SIGKILL");
    await second.finished();
    assert.ok(await made.isAwake());

    await writeFile(file.path, (await settings(undefined)).text);
    await using third = await run(file.path);
    const { service, container } = await third.logged("container.orphan_removed");
    assert.deepEqual([service, container], [made.name, `container wakeport-${made.name}`]);
    await eventually("the container is removed", async () => (await made.all()).length === 0);
    assert.ok(await foreign.isAwake(), "another wakeport's container was touched");
  },
);

madeTest("a container with copied labels is not served, stopped or removed", async (lab, made) => {
  const { text, listenPort } = await settings(made);
  await using file = await temporaryFile("wakeport.yaml", text);
  await using first = await run(file.path);
  using client = await connect(listenPort);
  await eventually("a greeting", () => client.received > 0);
  first.child.kill("SIGKILL");
  await first.finished();
  const { Config: config } = await made.inspect();
  // Like a container of an image that `docker commit` made.
  const labels = { ...config.Labels, ...lab.engine.label, "wakeport-test.made": "copied" };
  const copy = await lab.container({ program: "setInterval(() => {}, 1e6)", labels });
  await copy.start();
  await made[Symbol.asyncDispose]();

  await using second = await run(file.path);
  const { msg } = await second.logged("container.foreign");
  assert.match(String(msg), new RegExp(`^container ${copy.name} has the labels .* another name or image`));
  using next = await connect(listenPort);
  await eventually("a greeting", () => next.received > 0);
  assert.equal((await made.all()).length, 1, "the container was not created again");
  next.end();
  second.child.kill("SIGTERM");
  await second.finished();

  await writeFile(file.path, (await settings(undefined)).text);
  await using third = await run(file.path);
  await third.logged("container.orphan_removed");
  assert.ok(await copy.isAwake());
});
