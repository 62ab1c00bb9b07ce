/** The real program is killed and restarted: targets that it left awake are adopted, and sleep on time. */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { echo, type TestContainer } from "../support/engine/containers.ts";
import { engineEnv } from "../support/engine/engine.ts";
import { engineTest, startsOf } from "../support/engine/lab.ts";
import { PORT } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import { connect } from "../support/net/tcp.ts";
import { Program } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

checkLeaks();

const KILLS = 4;

/** A configuration with one service, and its port. */
async function settings(target: TestContainer, idleTimeout: string): Promise<Settings> {
  const listenPort = await freePort();
  const service = { ports: [`127.0.0.1:${listenPort}:${PORT}`], container: target.name, idle_timeout: idleTimeout };
  const admin = { listen: `127.0.0.1:${await freePort()}` };
  // JSON is YAML.
  const file = await temporaryFile("wakeport.yaml", JSON.stringify({ admin, services: { echo: service } }));
  return Object.assign(file, { listenPort });
}

type Settings = Awaited<ReturnType<typeof temporaryFile>> & { readonly listenPort: number };

async function run({ path }: Settings): Promise<Program> {
  const program = new Program(["run", "-c", path], engineEnv());
  await program.logged("started");
  return program;
}

async function kill(program: Program): Promise<void> {
  program.child.kill("SIGKILL");
  await program.finished();
}

engineTest("SIGKILL with an awake target: the next wakeport adopts it, and it sleeps on time", async (lab) => {
  const target = await lab.container({ program: echo() });
  await using file = await settings(target, "1s");
  await using first = await run(file);
  using client = await connect(file.listenPort);
  await eventually("a greeting", () => client.received > 0);
  await kill(first);
  assert.notEqual(await client.ended(), "open");
  assert.ok(await target.isAwake());

  await using second = await run(file);
  const { adopted } = await second.logged("target.ready");
  assert.equal(adopted, true);
  using next = await connect(file.listenPort);
  await eventually("a greeting", () => next.received > 0);
  assert.equal(next.text, client.text, "the target was started again");
  next.reset();
  const { reason } = await second.logged("target.asleep");
  assert.equal(reason, "idle");
  assert.equal(await target.isAwake(), false);
  assert.equal(await startsOf(lab, target), 1);
});

engineTest(
  "SIGKILL at random moments of a wake: the target is not started twice, and does not stay awake",
  async (lab) => {
    const target = await lab.container({ program: echo({ delayMs: 200 }) });
    await using file = await settings(target, "200ms");
    for (let killed = 1; killed <= KILLS; killed += 1) {
      await using first = await run(file);
      using _client = await connect(file.listenPort);
      await delay(Math.random() * 700);
      await kill(first);
      // The engine carries out the calls of the killed wakeport.
      const starts = await startsOf(lab, target);
      assert.ok(starts <= killed, `${starts} starts for ${killed} clients`);
      await using second = await run(file);
      if (await target.isAwake()) await second.logged("target.asleep");
      assert.equal(await target.isAwake(), false);
    }
  },
);
