/** Containers with dependencies, declared by compose labels and in wakeport.yaml. */
import assert from "node:assert/strict";
import { type ContainerSpec, echo, now, type TestContainer } from "../support/engine/containers.ts";
import { engineTest, type Lab, startsOf } from "../support/engine/lab.ts";
import { Project } from "../support/engine/project.ts";
import type { Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const SHORT = { idle_timeout: "200ms" };

/** The names of containers in the order of an engine event. */
async function orderOf(
  lab: Lab,
  action: string,
  containers: Readonly<Record<string, TestContainer>>,
): Promise<string[]> {
  await lab.engine.catchUp();
  const names = new Map(Object.entries(containers).map(([name, { id }]) => [id, name]));
  return lab.engine.events.flatMap((event) => (event.action === action ? (names.get(event.id) ?? []) : []));
}

async function allAsleep(...containers: readonly TestContainer[]): Promise<void> {
  for (const container of containers)
    await eventually(`${container.name} sleeps`, async () => !(await container.isAwake()));
}

const sleeper: ContainerSpec = { command: ["sh", "-c", 'trap "exit 0" TERM; sleep 600 & wait'] };

engineTest("a chain starts with the last dependency, and sleeps in reverse order", async (lab) => {
  const project = new Project(lab);
  const healthcheck = { command: "test -f /tmp/ok", retries: 100 };
  const program = `${echo()} setTimeout(() => require("node:fs").writeFileSync("/tmp/ok", ""), 400);`;
  const db = await project.make("db", { program, healthcheck });
  const api = await project.make("api", sleeper, "db:service_healthy:false");
  const web = await project.make("web", { program: echo() }, "api:service_started:false");
  const wakeport = await lab.wakeport({ web: { to: web, ...SHORT }, db: { to: db, ...SHORT } }, { defaults: SHORT });
  wakeport.mayWake(api, project.nameOf("api"));
  await wakeport.greeted("web");
  assert.deepEqual(await orderOf(lab, "start", { web, api, db }), ["db", "api", "web"]);
  const health = await orderOf(lab, "health_status: healthy", { db });
  assert.deepEqual(health, ["db"], "api did not wait for db to be healthy");
  await allAsleep(web, api, db);
  assert.deepEqual(await orderOf(lab, "die", { web, api, db }), ["web", "api", "db"]);
});

engineTest("a dependency that exits before it is healthy resets the clients at once", async (lab) => {
  const project = new Project(lab);
  const healthcheck = { command: "false", retries: 100 };
  const db = await project.make("db", { command: ["sh", "-c", "sleep 0.5; exit 3"], healthcheck });
  const web = await project.make("web", { program: echo() }, "db:service_healthy:false");
  const wakeport = await lab.wakeport({ web: { to: web } });
  wakeport.mayWake(db, project.nameOf("db"));
  using client = await wakeport.connect("web");
  assert.equal(await client.ended(), "ECONNRESET");
  assert.equal(await startsOf(lab, web), 0);
  assert.match(statusOf(wakeport, "web").last_error ?? "", /db is needed: .*db exited with code 3/);
});

engineTest("a dependency that its restart policy restarts is awaited until it is healthy", async (lab) => {
  const project = new Project(lab);
  const healthcheck = { command: "test -f /tmp/ok", retries: 100 };
  const program = `${echo()} const fs = require("node:fs");
    if (fs.existsSync("/tmp/once")) fs.writeFileSync("/tmp/ok", "");
    else { fs.writeFileSync("/tmp/once", ""); setTimeout(() => process.exit(3), 300); }`;
  const db = await project.make("db", { program, healthcheck, restart: "on-failure" });
  const web = await project.make("web", { program: echo() }, "db:service_healthy:false");
  const wakeport = await lab.wakeport({ web: { to: web, ...SHORT } }, { defaults: SHORT });
  wakeport.mayWake(db, project.nameOf("db"));
  const from = now();
  await wakeport.greeted("web");
  // The engine may have started it because of the policy.
  lab.engine.acts.push({ verb: "start", id: db.id, from, to: now() });
  await allAsleep(web, db);
});

engineTest("a dependency can be woken alone", async (lab) => {
  const project = new Project(lab);
  const db = await project.make("db", { program: echo() });
  const web = await project.make("web", { program: echo() }, "db:service_started:false");
  const wakeport = await lab.wakeport({ web: { to: web, ...SHORT }, db: { to: db, ...SHORT } });
  await wakeport.greeted("db");
  await allAsleep(db);
  assert.equal(await startsOf(lab, web), 0);
});

engineTest(
  "depends_on in the configuration: each dependency is ready first, and stays up while it is needed",
  async (lab) => {
    const [slow, quick, app] = [
      await lab.container({ program: echo({ delayMs: 400 }) }),
      await lab.container({ program: echo() }),
      await lab.container({ program: echo() }),
    ];
    const wakeport = await lab.wakeport({
      app: { to: app, depends_on: ["slow", "quick"], ...SHORT },
      slow: { to: slow, ...SHORT },
      quick: { to: quick, idle_timeout: "10ms" },
    });
    using client = await wakeport.connect("app");
    await eventually("a greeting", () => client.text.startsWith("220"));
    assert.equal((await orderOf(lab, "start", { slow, quick, app })).at(-1), "app");
    const { services } = wakeport.status;
    assert.deepEqual(services.find(({ name }) => name === "slow")?.dependents, [`container ${app.name}`]);
    client.end();
    await allAsleep(app, slow, quick);
    assert.equal(
      (await orderOf(lab, "die", { slow, quick, app }))[0],
      "app",
      "a dependency was stopped while it was needed",
    );
  },
);

engineTest("a one-shot runs to completion first, and again only for a container newer than its result", async (lab) => {
  const project = new Project(lab);
  const migrate = await project.make("migrate", { command: ["sh", "-c", "sleep 0.3; exit 0"] });
  const condition = "migrate:service_completed_successfully:false";
  const web = await project.make("web", { program: echo() }, condition);
  const container = { project: project.name, service: "web" };
  const wakeport = await lab.wakeport({ web: { to: web, container, ...SHORT } });
  wakeport.mayWake(migrate, project.nameOf("migrate"));
  await wakeport.greeted("web");
  assert.equal((await migrate.state())?.Running, false, "the one-shot was not awaited");
  await allAsleep(web);
  await wakeport.greeted("web");
  assert.equal(await startsOf(lab, migrate), 1, "the one-shot ran again");
  await allAsleep(web);
  await web.remove();
  const next = await project.make("web", { program: echo() }, condition);
  wakeport.mayUse("web", next);
  await wakeport.greeted("web");
  assert.equal(await startsOf(lab, migrate), 2, "the one-shot did not run for the new container");
});

engineTest("a one-shot that fails resets the clients, and the error names the one-shot", async (lab) => {
  const project = new Project(lab);
  const migrate = await project.make("migrate", { command: ["sh", "-c", "echo no such table; exit 3"] });
  const web = await project.make("web", { program: echo() }, "migrate:service_completed_successfully:false");
  const wakeport = await lab.wakeport({ web: { to: web } });
  wakeport.mayWake(migrate, project.nameOf("migrate"));
  using client = await wakeport.connect("web");
  assert.equal(await client.ended(), "ECONNRESET");
  assert.equal(await startsOf(lab, web), 0);
  const error = wakeport.status.services[0]?.last_error ?? "";
  assert.match(error, /migrate is needed: .*migrate exited with code 3/);
});

engineTest("a dependency that crashes is restarted while it is needed", async (lab) => {
  const program = `${echo()} process.on("SIGUSR2", () => process.exit(3));`;
  const [db, app] = [await lab.container({ program }), await lab.container({ program: echo() })];
  const wakeport = await lab.wakeport({ app: { to: app, depends_on: ["db"] }, db: { to: db } });
  using client = await wakeport.connect("app");
  await eventually("a greeting", () => client.text.startsWith("220"));
  await db.kill("SIGUSR2");
  await eventually("the dependency runs again", async () => (await startsOf(lab, db)) === 2);
  await wakeport.until("db", "ready");
  client.end();
});

engineTest("a dependency that another program stops stays down until a client needs it", async (lab) => {
  const [db, app] = [await lab.container({ program: echo() }), await lab.container({ program: echo() })];
  const wakeport = await lab.wakeport({ app: { to: app, depends_on: ["db"] }, db: { to: db } });
  using client = await wakeport.connect("app");
  await eventually("a greeting", () => client.text.startsWith("220"));
  await db.stop();
  await wakeport.until("db", "asleep");
  client.send("still there?");
  await eventually("the connection continues", () => client.text.endsWith("still there?"));
  assert.equal(await startsOf(lab, db), 1);
  await wakeport.greeted("app");
  assert.ok(await db.isAwake());
  client.end();
});

engineTest("a container that another program started keeps its dependencies up", async (lab) => {
  const [db, app] = [await lab.container({ program: echo() }), await lab.container({ program: echo() })];
  await db.start();
  await app.start();
  const wakeport = await lab.wakeport({
    app: { to: app, depends_on: ["db"], idle_timeout: "1s" },
    db: { to: db, idle_timeout: "1ms" },
  });
  await wakeport.until("app", "ready");
  await eventually("app holds db", () => statusOf(wakeport, "db").dependents.length === 1);
  await allAsleep(app, db);
  assert.deepEqual(await orderOf(lab, "die", { app, db }), ["app", "db"]);
});

engineTest("containers that depend on each other are rejected with the cycle", async (lab) => {
  const project = new Project(lab);
  const a = await project.make("a", { program: echo() }, "b:service_started:false");
  const b = await project.make("b", sleeper, "a:service_started:false");
  const wakeport = await lab.wakeport({ a: { to: a } });
  wakeport.mayWake(b, project.nameOf("b"));
  using client = await wakeport.connect("a");
  assert.equal(await client.ended(), "ECONNRESET");
  assert.match(statusOf(wakeport, "a").last_error ?? "", /depend on each other in a circle: .* → .* → /);
});

engineTest("a group wakes and sleeps together", async (lab) => {
  const [one, two] = [await lab.container({ program: echo() }), await lab.container({ program: echo() })];
  const group = { group: "shop", idle_timeout: "300ms" };
  const wakeport = await lab.wakeport({ one: { to: one, ...group }, two: { to: two, ...group } });
  using client = await wakeport.connect("one");
  await eventually("a greeting", () => client.text.startsWith("220"));
  await wakeport.until("two", "ready");
  const readyMs = (): number => Date.now() - Date.parse(statusOf(wakeport, "two").since ?? "");
  await eventually("several idle timeouts have passed", () => readyMs() > 800);
  assert.equal(wakeport.state("two"), "ready", "a member of the group was stopped while the other member was in use");
  client.end();
  await allAsleep(one, two);
});

engineTest("a group with a cycle through other containers sleeps in order, and closes at once", async (lab) => {
  const project = new Project(lab);
  const d = await project.make("d", { program: echo() });
  const c = await project.make("c", sleeper, "d:service_started:false");
  const b = await project.make("b", sleeper, "c:service_started:false");
  const a = await project.make("a", { program: echo() }, "b:service_started:false");
  const group = { group: "shop", ...SHORT };
  const options = { defaults: SHORT, shutdown: { drain: "60s", targets: "stop" } } as const;
  const wakeport = await lab.wakeport({ a: { to: a, ...group }, d: { to: d, ...group } }, options);
  for (const [name, container] of Object.entries({ b, c })) wakeport.mayWake(container, project.nameOf(name));
  await wakeport.greeted("d");
  await eventually("a wakes with d", () => wakeport.state("a") === "ready");
  await allAsleep(a, b, c, d);
  assert.deepEqual(await orderOf(lab, "die", { a, b, c, d }), ["a", "b", "c", "d"]);

  await wakeport.greeted("a");
  const began = performance.now();
  await wakeport.close();
  assert.ok(performance.now() - began < 50_000, "wakeport closed only at the drain deadline");
  assert.deepEqual(await orderOf(lab, "die", { a, b, c, d }), ["a", "b", "c", "d", "a", "b", "c", "d"]);
});

engineTest("a chain sleeps as a whole one idle timeout after its last client", async (lab) => {
  const project = new Project(lab);
  const db = await project.make("db", { program: echo() });
  const api = await project.make("api", { program: echo() }, "db:service_started:false");
  const web = await project.make("web", { program: echo() }, "api:service_started:false");
  const idle = { idle_timeout: "20s" };
  const services = { web: { to: web, idle_timeout: "4s" }, api: { to: api, ...idle }, db: { to: db, ...idle } };
  const wakeport = await lab.wakeport(services);
  await wakeport.greeted("web");
  const leftAt = Date.now();
  await allAsleep(web);
  await eventually("the rest of the idle timeout runs", () => statusOf(wakeport, "api").idle_deadline !== undefined);
  const idleMs = Date.parse(statusOf(wakeport, "api").idle_deadline ?? "") - leftAt;
  assert.ok(idleMs < 23_000, `the target sleeps ${idleMs} ms after the last client`);
});

engineTest("workers without ports wake and sleep with a service, and with a group", async (lab) => {
  const project = new Project(lab);
  const db = await project.make("db", { program: echo() });
  const web = await project.make("web", { program: echo() }, "db:service_started:false");
  // The worker depends on its service, as is usual in compose files.
  const worker = await project.make("worker", sleeper, "web:service_started:false,db:service_started:false");
  // No client dials the worker, so it need not be reachable.
  const cron = await project.make("cron", { ...sleeper, network: "none" });
  const [portless, group] = [
    { ports: undefined, ...SHORT },
    { group: "shop", ...SHORT },
  ];
  const options = { defaults: SHORT, shutdown: { drain: "60s", targets: "stop" } } as const;
  const services = {
    web: { to: web, ...group },
    cron: { to: cron, ...portless, ...group },
    worker: { to: worker, ...portless, with: ["web"] },
  };
  const wakeport = await lab.wakeport(services, options);
  wakeport.mayWake(db, project.nameOf("db"));
  {
    using client = await wakeport.connect("web");
    await eventually("a greeting", () => client.text.startsWith("220"));
    for (const name of ["worker", "cron"]) await wakeport.until(name, "ready");
    assert.deepEqual(statusOf(wakeport, "worker").dependents, [`container ${web.name}`]);
    assert.deepEqual(statusOf(wakeport, "worker").ports, []);
  }
  await allAsleep(web, worker, cron, db);
  assert.deepEqual(await orderOf(lab, "die", { web, worker, db }), ["worker", "web", "db"]);

  {
    using _client = await wakeport.connect("web");
    for (const name of ["web", "worker", "cron"]) await wakeport.until(name, "ready");
  }
  const began = performance.now();
  await wakeport.close();
  assert.ok(performance.now() - began < 50_000, "wakeport closed only at the drain deadline");
  await allAsleep(web, worker, cron, db);
});

function statusOf(wakeport: Wakeport, service: string): Wakeport["status"]["services"][number] {
  const found = wakeport.status.services.find(({ name }) => name === service);
  assert.ok(found);
  return found;
}

engineTest("a dependency that does not exist is reported once, and the target is started without it", async (lab) => {
  const project = new Project(lab);
  const web = await project.make("web", { program: echo() }, "gone:service_healthy:false");
  const wakeport = await lab.wakeport({ web: { to: web, ...SHORT } });
  await wakeport.greeted("web");
  await allAsleep(web);
  await wakeport.greeted("web");
  const reported = wakeport.record.warnings.filter(({ event }) => event === "target.dependency_missing");
  assert.equal(reported.length, 1);
  assert.match(reported[0]?.message ?? "", new RegExp(`depends on ${project.nameOf("gone")}, which does not exist`));
});

engineTest("a one-shot that was removed after its run is not reported as missing", async (lab) => {
  const project = new Project(lab);
  const seed = await project.make("seed", { command: ["true"] });
  const web = await project.make("web", { program: echo() }, "seed:service_completed_successfully:false");
  const wakeport = await lab.wakeport({ web: { to: web, ...SHORT } });
  wakeport.mayWake(seed, project.nameOf("seed"));
  await wakeport.greeted("web");
  await allAsleep(web);
  await seed.remove();
  await wakeport.greeted("web");
});

for (const [title, mode] of [
  ["IPC", "IpcMode"],
  ["PID", "PidMode"],
] as const) {
  engineTest(`a container whose ${title} namespace the target uses is started first`, async (lab) => {
    const holder = await lab.container({ ...sleeper, host: { IpcMode: "shareable" } });
    const target = await lab.container({ program: echo(), host: { [mode]: `container:${holder.id}` } });
    const wakeport = await lab.wakeport({ echo: { to: target, ...SHORT } }, { defaults: SHORT });
    wakeport.mayWake(holder, `container ${holder.name}`);
    await wakeport.greeted("echo");
    assert.ok(await holder.isAwake());
    await allAsleep(target, holder);
  });
}

for (const action of ["stop", "pause"] as const) {
  engineTest(`a paused target keeps the network of a container that sleeps by ${action}`, async (lab) => {
    const db = await lab.container({ program: echo({ port: 7001 }) });
    const web = await lab.container({ program: echo(), host: { NetworkMode: `container:${db.id}` } });
    const services = {
      web: { to: web, ...SHORT, sleep: "pause", start_timeout: "10s" },
      db: { to: db, port: 7001, ...SHORT, sleep: action },
    };
    const wakeport = await lab.wakeport(services, { shutdown: { targets: "stop" } });
    const incarnation = await wakeport.greeted("web");
    await wakeport.until("web", "paused");
    if (action === "pause") await wakeport.until("db", "paused");
    else {
      const held = (): unknown => wakeport.status.services.find(({ name }) => name === "db")?.kept_awake_by;
      await eventually("db is kept awake", () => String(held()) === `container ${web.name} uses its network`);
    }
    assert.equal(await wakeport.greeted("web"), incarnation);
    await wakeport.until("web", "paused");
    await wakeport.close();
    await allAsleep(web, db);
  });
}

engineTest(
  "a paused target is restarted when the container of its network was",
  async (lab) => {
    const db = await lab.container({ program: echo({ port: 7001 }) });
    const web = await lab.container({ program: echo(), host: { NetworkMode: `container:${db.id}` } });
    const wakeport = await lab.wakeport({
      web: { to: web, ...SHORT, sleep: "pause", start_timeout: "10s" },
      db: { to: db, port: 7001, ...SHORT },
    });
    const incarnation = await wakeport.greeted("web");
    await wakeport.until("web", "paused");
    await db.stop(1);
    assert.notEqual(await wakeport.greeted("web"), incarnation);
  },
  // The stop belongs to the start.
  { isJournalled: false },
);

engineTest(
  "a paused target that lost its network is not restarted under a container that needs it",
  async (lab) => {
    const project = new Project(lab.engine);
    const db = await lab.container({ program: echo({ port: 7001 }) });
    const web = await project.make("web", { program: echo(), host: { NetworkMode: `container:${db.id}` } });
    const worker = await project.make("worker", sleeper, "web:service_started:false");
    const wakeport = await lab.wakeport({
      web: { to: web, ...SHORT, sleep: "pause", start_timeout: "3s" },
      db: { to: db, port: 7001, ...SHORT },
    });
    await wakeport.greeted("web");
    await wakeport.until("web", "paused");
    await worker.start();
    await db.stop(1);
    const before = (await web.state())?.StartedAt;
    const client = await wakeport.connect("web");
    assert.notEqual(await client.ended(), "open");
    client.end();
    assert.equal((await web.state())?.StartedAt, before);
    wakeport.mayNotUse("web");
  },
  { isJournalled: false },
);
