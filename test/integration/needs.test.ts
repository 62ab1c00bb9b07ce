/** Dependencies that crash, vanish, appear and are misconfigured while they are needed. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type ContainerSpec, echo, type TestContainer } from "../support/engine/containers.ts";
import { engineTest, type Lab } from "../support/engine/lab.ts";
import { PORT } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";

checkLeaks();

const SHORT = { idle_timeout: "200ms" };

function unique(): string {
  return `wakeport-test-${randomBytes(4).toString("hex")}`;
}

function make(
  lab: Lab,
  [project, service]: readonly [string, string],
  spec: ContainerSpec,
  dependsOn = "",
): Promise<TestContainer> {
  const labels = {
    "com.docker.compose.project": project,
    "com.docker.compose.service": service,
    "com.docker.compose.container-number": "1",
    "com.docker.compose.oneoff": "False",
    "com.docker.compose.depends_on": dependsOn,
    ...spec.labels,
  };
  return lab.container({ ...spec, labels });
}

engineTest("a dependency that crashes before it is healthy resets the clients at once", async (lab) => {
  const project = unique();
  const healthcheck = { command: "false", retries: 1_000 };
  const db = await make(lab, [project, "db"], { command: ["sh", "-c", "sleep 1; exit 3"], healthcheck });
  const web = await make(lab, [project, "web"], { program: echo() }, "db:service_healthy:false");
  const wakeport = await lab.wakeport({ web: { to: web, start_timeout: "1h" } }, { defaults: SHORT });
  wakeport.mayWake(db, `container ${project}/db`);
  using client = await wakeport.connect("web");
  assert.equal(await client.ended(), "ECONNRESET");
  assert.match(wakeport.status.services[0]?.last_error ?? "", /db is needed: .* exited with code 3/);
});

engineTest("a misconfigured service does not affect services that do not depend on it", async (lab) => {
  const project = unique();
  const db = await make(lab, [project, "db"], { program: echo() });
  const web = await make(lab, [project, "web"], { program: echo() }, "db:service_started:false");
  const wakeport = await lab.wakeport({
    wrong: { to: db, container: { service: "no-project-is-known" } },
    web: { to: web, ...SHORT },
    db: { to: db, ...SHORT },
  });
  await wakeport.greeted("web");
});

engineTest("a missing dependency belongs to its service when it exists", async (lab) => {
  const project = unique();
  const name = unique();
  const web = await make(lab, [project, "web"], { program: echo() }, "db:service_started:false");
  const wakeport = await lab.wakeport({ web: { to: web, ...SHORT }, db: { to: web, container: name, ...SHORT } });
  // A missing dependency does not prevent a start.
  await wakeport.greeted("web");
  wakeport.mayUse("db", await make(lab, [project, "db"], { program: echo(), name }));
  await wakeport.greeted("db");
  assert.deepEqual(wakeport.status.unnamed, []);
});

engineTest("a dependency that becomes a service by its labels stays one target", async (lab) => {
  const project = unique();
  const service = `db-${project}`;
  const plain = await make(lab, [project, "db"], { program: echo() });
  const web = await make(lab, [project, "web"], { program: echo() }, "db:service_started:false");
  const options = { docker: { project, discover: true }, defaults: SHORT };
  const wakeport = await lab.wakeport({ web: { to: web } }, options);
  wakeport.mayWake(plain, `container ${project}/db`);
  await wakeport.greeted("web");
  await eventually("db sleeps", async () => !(await plain.isAwake()));
  await plain.remove();
  const ports = `127.0.0.1:${await freePort()}:${PORT}`;
  const labels = { "wakeport.enable": "true", "wakeport.ports": ports, "wakeport.name": service };
  const labelled = await make(lab, [project, "db"], { program: echo(), labels });
  wakeport.mayWake(labelled, `container ${project}/db`);
  const state = (): string | undefined => wakeport.status.services.find((one) => one.name === service)?.state;
  await eventually("the container is a service", () => state() === "asleep");
  await wakeport.greeted("web");
  await eventually("the service is ready", () => state() === "ready");
  assert.deepEqual(wakeport.status.unnamed, []);
});

engineTest("connections to a chain have one drain in all, not one per target", async (lab) => {
  const [db, api, web] = [
    await lab.container({ program: echo() }),
    await lab.container({ program: echo() }),
    await lab.container({ program: echo() }),
  ];
  const services = {
    web: { to: web, depends_on: ["api"] },
    api: { to: api, depends_on: ["db"] },
    db: { to: db },
  };
  const wakeport = await lab.wakeport(services, { shutdown: { drain: "5s", targets: "leave" } });
  const clients = await Promise.all(["web", "api", "db"].map((service) => wakeport.connect(service)));
  for (const client of clients) await eventually("a greeting", () => client.text.startsWith("220"));
  const began = performance.now();
  await wakeport.close();
  const seconds = (performance.now() - began) / 1_000;
  assert.ok(seconds < 9, `${seconds} s`);
  for (const client of clients) client[Symbol.dispose]();
});
