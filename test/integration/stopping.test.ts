/** The containers that wakeport stops, and those it leaves running. */
import assert from "node:assert/strict";
import { type ContainerSpec, echo, type TestContainer } from "../support/engine/containers.ts";
import { engineTest, startsOf } from "../support/engine/lab.ts";
import { Project } from "../support/engine/project.ts";
import type { Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const SHORT = { idle_timeout: "300ms" };
const sleeper: ContainerSpec = { command: ["sh", "-c", 'trap "exit 0" TERM; sleep 600 & wait'] };

/** Waits until an idle check finds a target in use. @returns the reason */
async function keptAwakeBy(wakeport: Wakeport, name = "it"): Promise<readonly string[]> {
  let held: readonly string[] = [];
  await eventually("the target is kept awake", () => {
    const { services, unnamed = [] } = wakeport.status;
    held =
      [...services, ...unnamed].find((one) => ("name" in one ? one.name : one.target) === name)?.kept_awake_by ?? [];
    return held.length > 0;
  });
  return held;
}

async function asleep(container: TestContainer): Promise<void> {
  await eventually(`${container.name} is down`, async () => !(await container.isAwake()));
}

/** The ways in which a container can need another one. The dependent is not a target of wakeport. */
const links: readonly {
  readonly title: string;
  readonly how: string;
  readonly dependent: (target: TestContainer) => ContainerSpec;
}[] = [
  {
    title: "shares its network",
    how: "uses its network",
    dependent: ({ id }) => ({ ...sleeper, network: `container:${id}` }),
  },
  {
    title: "shares its IPC namespace",
    how: "uses its IPC namespace",
    dependent: ({ id }) => ({ ...sleeper, host: { IpcMode: `container:${id}` } }),
  },
  {
    title: "shares its PID namespace",
    how: "uses its PID namespace",
    dependent: ({ id }) => ({ ...sleeper, host: { PidMode: `container:${id}` } }),
  },
  {
    title: "uses its volumes",
    how: "uses its volumes",
    dependent: ({ name }) => ({ ...sleeper, host: { VolumesFrom: [`${name}:ro`] } }),
  },
];

for (const { title, how, dependent } of links) {
  engineTest(`a running container that ${title} keeps a target awake until it ends`, async (lab) => {
    const target = await lab.container({ program: echo(), host: { IpcMode: "shareable" } });
    const wakeport = await lab.wakeport({ it: { to: target, ...SHORT } });
    const client = await wakeport.connect("it");
    await eventually("a greeting", () => client.text.endsWith("\n"));
    const other = await lab.container(dependent(target));
    await other.start();
    client.end();
    assert.deepEqual(await keptAwakeBy(wakeport), [`container ${other.name} ${how}`]);
    assert.ok(await target.isAwake());
    await other.remove();
    await asleep(target);
  });
}

engineTest("a running or paused container that compose starts after the target keeps it awake", async (lab) => {
  const project = new Project(lab);
  const db = await project.make("db", { program: echo() });
  const worker = await project.make("worker", sleeper, "db:service_started:false");
  await worker.start();
  const wakeport = await lab.wakeport({ it: { to: db, ...SHORT } });
  await wakeport.greeted("it");
  assert.deepEqual(await keptAwakeBy(wakeport), [`container ${worker.name} depends on it`]);
  await worker.pause();
  assert.deepEqual(await keptAwakeBy(wakeport), [`container ${worker.name} depends on it`]);
  assert.ok(await db.isAwake());
  await worker.kill();
  await asleep(db);
});

engineTest("a container that waits for the target's completion does not keep it awake", async (lab) => {
  const project = new Project(lab);
  const seed = await project.make("seed", { program: echo() });
  const worker = await project.make("worker", sleeper, "seed:service_completed_successfully:false");
  await worker.start();
  const wakeport = await lab.wakeport({ it: { to: seed, ...SHORT } });
  await wakeport.greeted("it");
  await asleep(seed);
});

engineTest("an unnamed dependency that was running stays up when idle and at shutdown", async (lab) => {
  const project = new Project(lab);
  const db = await project.make("db", sleeper);
  const app = await project.make("app", { program: echo() }, "db:service_started:false");
  await db.start();
  const wakeport = await lab.wakeport(
    { it: { to: app, ...SHORT } },
    { defaults: SHORT, shutdown: { targets: "stop" } },
  );
  await wakeport.greeted("it");
  await asleep(app);
  const [reason] = await keptAwakeBy(wakeport, project.nameOf("db"));
  assert.equal(reason, "another program started it, and no service names it");
  await wakeport.settle();
  await wakeport.close();
  assert.ok(await db.isAwake());
});

engineTest("an unnamed dependency that wakeport started is stopped again", async (lab) => {
  const project = new Project(lab);
  const db = await project.make("db", sleeper);
  const app = await project.make("app", { program: echo() }, "db:service_started:false");
  const wakeport = await lab.wakeport({ it: { to: app, ...SHORT } }, { defaults: SHORT });
  wakeport.mayWake(db, project.nameOf("db"));
  await wakeport.greeted("it");
  assert.ok(await db.isAwake());
  await asleep(app);
  await asleep(db);
});

engineTest("an unnamed dependency that another program restarted is not stopped", async (lab) => {
  const project = new Project(lab);
  const db = await project.make("db", sleeper);
  const app = await project.make("app", { program: echo() }, "db:service_started:false");
  const wakeport = await lab.wakeport({ it: { to: app, ...SHORT } }, { defaults: SHORT });
  wakeport.mayWake(db, project.nameOf("db"));
  await wakeport.greeted("it");
  await db.restart(1);
  await asleep(app);
  await keptAwakeBy(wakeport, project.nameOf("db"));
  assert.ok(await db.isAwake());
});

engineTest("SIGTERM does not stop a target that a running container depends on", async (lab) => {
  const project = new Project(lab);
  const db = await project.make("db", { program: echo() });
  const worker = await project.make("worker", sleeper, "db:service_started:false");
  await worker.start();
  const wakeport = await lab.wakeport({ it: { to: db } }, { shutdown: { targets: "stop" } });
  await wakeport.greeted("it");
  await wakeport.settle();
  await wakeport.close();
  assert.ok(await db.isAwake());
  assert.match(wakeport.record.keptAwake.at(-1)?.uses.join() ?? "", /worker|depends on it/);
});

engineTest("a container created with --rm is rejected with the remedy", async (lab) => {
  const target = await lab.container({ program: echo(), autoRemove: true });
  await target.start();
  const wakeport = await lab.wakeport({ it: { to: target, ...SHORT } });
  const peer = await wakeport.connect("it");
  assert.notEqual(await peer.ended(), "open");
  wakeport.mayNotUse("it");
  const { error } = await wakeport.activation();
  assert.match(error?.message ?? "", /was created with --rm: a stop would remove it with its data/);
  assert.ok(await target.isAwake());
});

engineTest("an unknown name does not select a container whose id begins with the name", async (lab) => {
  const outsider = await lab.container({ program: echo() });
  await outsider.start();
  const name = outsider.id.slice(0, 12);
  const wakeport = await lab.wakeport({ it: { to: { ...outsider, name, isAwake: async () => false }, ...SHORT } });
  wakeport.mayNotUse("it");
  const peer = await wakeport.connect("it");
  assert.notEqual(await peer.ended(), "open");
  assert.equal(wakeport.state("it"), "missing");
  assert.ok(await outsider.isAwake());
  assert.equal(await startsOf(lab, outsider), 1);
});
