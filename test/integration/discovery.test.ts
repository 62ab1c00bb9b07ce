/** Services declared by container labels. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { type ContainerSpec, echo, type TestContainer } from "../support/engine/containers.ts";
import { engineTest, type Lab, startsOf } from "../support/engine/lab.ts";
import { PORT, type Wakeport } from "../support/engine/wakeport.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import { connect, type Peer } from "../support/net/tcp.ts";

checkLeaks();

/** A unique name. */
function unique(): string {
  return `wakeport-test-${randomBytes(4).toString("hex")}`;
}

function composeLabels(project: string, service: string): Record<string, string> {
  return {
    "com.docker.compose.project": project,
    "com.docker.compose.service": service,
    "com.docker.compose.container-number": "1",
    "com.docker.compose.oneoff": "False",
  };
}

interface Labelled {
  readonly project: string;
  readonly service: string;
  readonly labels?: Readonly<Record<string, string>>;
}

async function make(
  lab: Lab,
  { project, service, labels = {} }: Labelled,
  spec: Partial<ContainerSpec> = {},
): Promise<TestContainer> {
  const ports = labels["wakeport.ports"] ?? `127.0.0.1:${await freePort()}:${PORT}`;
  const wakeportLabels = {
    "wakeport.enable": "true",
    "wakeport.ports": ports,
    "wakeport.idle_timeout": "300ms",
    ...labels,
  };
  return lab.container({ program: echo(), labels: { ...composeLabels(project, service), ...wakeportLabels }, ...spec });
}

/** A client whose connection must not reach a service. */
async function connectTo(wakeport: Wakeport, service: string): Promise<Peer> {
  const { ports = [] } = wakeport.status.services.find(({ name }) => name === service) ?? {};
  return await connect(Number(ports[0]?.listener.split(":").at(-1)));
}

function has(wakeport: Wakeport, service: string): boolean {
  return wakeport.status.services.some(({ name }) => name === service);
}

engineTest("a labelled container becomes a service: an existing one, and one that is created later", async (lab) => {
  const project = unique();
  const [first, second] = [`a-${project}`, `b-${project}`];
  const early = await make(lab, { project, service: "one", labels: { "wakeport.name": first } });
  const wakeport = await lab.wakeport({}, { docker: { project, discover: true } });
  wakeport.mayWake(early, `container ${project}/one`);
  await eventually("the first service is found", () => has(wakeport, first));
  await wakeport.greeted(first);
  await eventually("the target sleeps after the timeout of its label", async () => !(await early.isAwake()));
  const late = await make(lab, { project, service: "two", labels: { "wakeport.name": second } });
  wakeport.mayWake(late, `container ${project}/two`);
  await eventually("the second service is found", () => has(wakeport, second));
  await wakeport.greeted(second);
});

engineTest("only containers of wakeport's project become services, unless discover is all", async (lab) => {
  const [project, other] = [unique(), unique()];
  const mine = await make(lab, { project, service: `mine-${project}` });
  const theirs = await make(lab, { project: other, service: `theirs-${other}` });
  const own = await lab.wakeport({}, { docker: { project, discover: true } });
  await eventually("the project's service is found", () => has(own, `mine-${project}`));
  assert.ok(!has(own, `theirs-${other}`));
  await own.close();
  const every = await lab.wakeport({}, { docker: { project, discover: "all" } });
  await eventually("both services are found", () => has(every, `mine-${project}`) && has(every, `theirs-${other}`));
  assert.ok(!(await mine.isAwake()) && !(await theirs.isAwake()));
});

engineTest("an invalid label is a problem of its container only", async (lab) => {
  const project = unique();
  const good = await make(lab, { project, service: "good" });
  const bad = await make(lab, { project, service: "bad", labels: { "wakeport.idle_timout": "5m" } });
  const wakeport = await lab.wakeport({}, { docker: { project, discover: true } });
  wakeport.mayWake(good, `container ${project}/good`);
  await eventually("it is reported", () => wakeport.status.label_problems?.length === 1);
  const [problem] = wakeport.status.label_problems ?? [];
  assert.deepEqual(problem, {
    container: bad.name,
    problem: "unknown label wakeport.idle_timout: did you mean wakeport.idle_timeout?",
  });
  await wakeport.greeted("good");
  assert.ok(!has(wakeport, "bad"));
  await bad.remove();
  await eventually("it is reported no longer", () => wakeport.status.label_problems?.length === 0);
});

engineTest("the configuration takes precedence over labels", async (lab) => {
  const project = unique();
  const port = await freePort();
  const target = await make(lab, {
    project,
    service: "web",
    labels: { "wakeport.ports": `127.0.0.1:${port}:${PORT}` },
  });
  const wakeport = await lab.wakeport({ mine: { to: target } }, { docker: { project, discover: true } });
  const other = await make(lab, { project, service: "other" });
  wakeport.mayWake(other, `container ${project}/other`);
  await eventually("the labels were read", () => has(wakeport, "other"));
  assert.ok(!has(wakeport, "web"));
  assert.deepEqual(wakeport.status.label_problems, []);
});

engineTest("a taken port is a problem, and is retried after the next change", async (lab) => {
  const project = unique();
  const port = await freePort();
  const labels = { "wakeport.ports": `127.0.0.1:${port}:${PORT}` };
  const first = await make(lab, { project, service: "first", labels });
  const second = await make(lab, { project, service: "second", labels });
  const wakeport = await lab.wakeport({}, { docker: { project, discover: true } });
  wakeport.mayWake(first, `container ${project}/first`);
  wakeport.mayWake(second, `container ${project}/second`);
  await eventually("one of the services has the port", () => has(wakeport, "first") !== has(wakeport, "second"));
  const [problem] = wakeport.status.label_problems ?? [];
  assert.match(problem?.problem ?? "", new RegExp(`port ${port} is already in use by service "(first|second)"`));
});

engineTest("services whose port another program has are skipped, and the others are bound", async (lab) => {
  const project = unique();
  const port = await freePort();
  const occupant = net.createServer().listen(port, "127.0.0.1");
  await once(occupant, "listening");
  const site = (service: string): Promise<TestContainer> => {
    const ports = `127.0.0.1:${port}:${PORT}`;
    return make(lab, { project, service, labels: { "wakeport.ports": ports, "wakeport.host": `${service}.test` } });
  };
  const [first, second] = [await site("first"), await site("second")];
  const free = await make(lab, { project, service: "free" });
  const wakeport = await lab.wakeport({}, { docker: { project, discover: true } });
  wakeport.mayWake(free, `container ${project}/free`);
  await eventually("the other service is bound", () => has(wakeport, "free"));
  await wakeport.greeted("free");
  const problems = (wakeport.status.label_problems ?? []).toSorted((a, b) => a.container.localeCompare(b.container));
  const names = [first.name, second.name].toSorted((a, b) => a.localeCompare(b));
  assert.deepEqual(
    problems.map(({ container }) => container),
    names,
  );
  for (const { problem } of problems) assert.match(problem, new RegExp(`cannot listen on 127.0.0.1:${port}: `));
  assert.ok(!has(wakeport, "first") && !has(wakeport, "second"));
  occupant.close();
  await make(lab, { project, service: "late" });
  await eventually("all are bound", () => has(wakeport, "first") && has(wakeport, "second") && has(wakeport, "late"));
  assert.deepEqual(wakeport.status.label_problems, []);
});

engineTest("labels can share a port by host: each container is woken by its own name only", async (lab) => {
  const project = unique();
  const ports = `127.0.0.1:${await freePort()}:${PORT}`;
  const site = (service: string, host: string): Promise<TestContainer> =>
    make(lab, { project, service, labels: { "wakeport.ports": ports, "wakeport.host": host } });
  const first = await site("first", "first.test, *.first.test");
  const second = await site("second", "second.test");
  const third = await site("third", "third.test, second.test");
  const wakeport = await lab.wakeport({}, { docker: { project, discover: true } });
  wakeport.mayWake(first, `container ${project}/first`);
  const request = (host: string): string => `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  const greeted = async (service: string, host: string): Promise<string> => {
    using peer = await wakeport.connect(service);
    peer.send(request(host));
    await eventually("an echo", () => peer.text.endsWith(request(host)) || peer.fate !== "open");
    return peer.text;
  };
  await eventually("all containers are inspected", () => wakeport.status.label_problems?.length === 1);
  // The first container keeps the name.
  const [one, other] = has(wakeport, "second") ? ["second", "third"] : ["third", "second"];
  assert.match(
    wakeport.status.label_problems?.[0]?.problem ?? "",
    /name "second.test" on port \d+ already belongs to service/,
  );
  assert.match(await greeted("first", "www.first.test"), /^220 /);
  using lost = await connectTo(wakeport, "first");
  lost.send(request("unknown.test"));
  assert.equal(await lost.ended(), "ended");
  assert.match(lost.text, /^HTTP\/1.1 421 /);
  assert.ok(!(await second.isAwake()) && !(await third.isAwake()));

  const [winner, loser] = one === "second" ? [second, third] : [third, second];
  wakeport.mayWake(winner, `container ${project}/${one}`);
  wakeport.mayWake(loser, `container ${project}/${other}`);
  assert.match(await greeted(one, "second.test"), /^220 /);
  await first.remove();
  await winner.remove();
  await eventually(
    "the removed services are gone, and the other container has the name",
    () => has(wakeport, other) && !has(wakeport, "first"),
    20_000,
  );
  assert.match(await greeted(other, "second.test"), /^220 /);
});

engineTest("a new container takes neither the name nor the port of a service", async (lab) => {
  const project = unique();
  const labels = { "wakeport.ports": `127.0.0.1:${await freePort()}:${PORT}`, "wakeport.name": `web-${project}` };
  const first = await make(lab, { project, service: "first", labels });
  const wakeport = await lab.wakeport({}, { docker: { project, discover: true } });
  wakeport.mayWake(first, `container ${project}/first`);
  const target = (): string | undefined => wakeport.status.services[0]?.target;
  await eventually("the client is served", () => target() === `container ${project}/first`);
  const second = await make(lab, { project, service: "second", labels });
  wakeport.mayWake(second, `container ${project}/second`);
  await eventually("the other container was inspected", () => (wakeport.status.label_problems ?? []).length > 0);
  assert.equal(target(), `container ${project}/first`, "another container took the name");
});

engineTest("a container recreated with other labels is another service with the same container name", async (lab) => {
  const project = unique();
  const before = await make(lab, { project, service: "web" });
  const wakeport = await lab.wakeport({}, { docker: { project, discover: true } });
  wakeport.mayWake(before, `container ${project}/web`);
  await eventually("the service is found", () => has(wakeport, "web"));
  const greeting = await wakeport.greeted("web");
  const listenPort = wakeport.status.services[0]?.ports[0]?.listener;
  await before.remove();
  const after = await make(lab, { project, service: "web" });
  wakeport.mayWake(after, `container ${project}/web`);
  await eventually("the new port is served", () => {
    const now = wakeport.status.services[0]?.ports[0]?.listener;
    return now !== undefined && now !== listenPort;
  });
  assert.notEqual(await wakeport.greeted("web"), greeting);
  assert.equal(await startsOf(lab, after), 1);
});

engineTest("a dependency becomes a service when it is labelled", async (lab) => {
  const project = unique();
  const db = await make(lab, { project, service: "db" });
  const web = await make(lab, {
    project,
    service: "web",
    labels: { "com.docker.compose.depends_on": "db:service_started:false" },
  });
  const wakeport = await lab.wakeport({}, { docker: { project, discover: true } });
  wakeport.mayWake(db, `container ${project}/db`);
  wakeport.mayWake(web, `container ${project}/web`);
  await eventually("both services are found", () => has(wakeport, "web") && has(wakeport, "db"));
  await wakeport.greeted("web");
  assert.equal(await startsOf(lab, db), 1);
  await eventually("both targets sleep", async () => !(await web.isAwake()) && !(await db.isAwake()));
  await wakeport.greeted("db");
  assert.equal(await startsOf(lab, web), 1);
});

engineTest(
  "a reload of the defaults applies to services of labels, without closing or rejecting clients",
  async (lab) => {
    const project = unique();
    const options = { docker: { project, discover: true }, shutdown: { drain: "5s" } } as const;
    const of = async (service: string, program?: string): Promise<TestContainer> => {
      const ports = `127.0.0.1:${await freePort()}:${PORT}`;
      const labels = { ...composeLabels(project, service), "wakeport.enable": "true", "wakeport.ports": ports };
      return lab.container({ program: program ?? echo(), labels });
    };
    const web = await of("web");
    const slow = await of("slow", `setTimeout(() => { ${echo()} }, 1_000);`);
    const wakeport = await lab.wakeport({}, { ...options, defaults: { idle_timeout: "1h" } });
    for (const [name, container] of Object.entries({ web, slow })) {
      wakeport.mayWake(container, `container ${project}/${name}`);
      await eventually(`${name} is found`, () => has(wakeport, name));
    }
    using open = await wakeport.connect("web");
    open.send("word\n");
    await eventually("an echo", () => open.text.endsWith("word\n"));
    using waiting = await wakeport.connect("slow");
    await wakeport.until("slow", "starting");
    await wakeport.reload({ defaults: { idle_timeout: "200ms" } });
    const isNew = (): boolean =>
      ["web", "slow"].every((service) => {
        const status = wakeport.status.services.find(({ name }) => name === service);
        return status?.idle_timeout_ms === 200;
      });
    let visits = 0;
    await eventually("the reload is in force, and all clients are served meanwhile", async () => {
      await wakeport.greeted("web");
      visits += 1;
      return isNew() && visits >= 5;
    });
    waiting.send("word\n");
    await eventually("the waiting client is served", () => waiting.text.endsWith("word\n"), 10_000);
    open.send("still there\n");
    await eventually("the served client keeps its connection", () => open.text.endsWith("still there\n"));
    assert.equal(await startsOf(lab, web), 1);
    for (const peer of [open, waiting]) peer.end();
    for (const service of ["web", "slow"]) await wakeport.until(service, "asleep");
    const outcomes = new Set(wakeport.record.connections.map(({ outcome }) => outcome));
    assert.deepEqual([...outcomes], ["relayed"]);
  },
);

engineTest("a label does not get clients of a name that a pattern in the file covers", async (lab) => {
  const project = unique();
  const site = (answer: string): string =>
    `require("node:http").createServer((_, a) => a.end(${JSON.stringify(answer)})).listen(${PORT})`;
  const target = await lab.container({ program: site("file") });
  const app = { to: target, host: "*.app.localhost", idle_timeout: "1m" };
  const wakeport = await lab.wakeport({ app }, { docker: { project, discover: "all" } });
  const [port = ""] = wakeport.status.services.flatMap(({ ports }) =>
    ports.map(({ listener: listenPort }) => listenPort),
  );
  const labels = { "wakeport.ports": `${port}:${PORT}`, "wakeport.host": "login.app.localhost" };
  const outsider = await make(lab, { project: unique(), service: "login", labels }, { program: site("label") });
  await eventually("the label is rejected", () => {
    const problems = wakeport.status.label_problems ?? [];
    return problems.some(({ container, problem }) => container === outsider.name && /is covered by/.test(problem));
  });
  using client = await wakeport.connect("app");
  client.send("GET / HTTP/1.1\r\nHost: login.app.localhost\r\nConnection: close\r\n\r\n");
  await eventually("a reply", () => client.text.endsWith("file"));
  assert.equal(await outsider.isAwake(), false);
  client.end();
});

engineTest("a container with copied compose labels makes no service of the original container", async (lab) => {
  const [project, name] = [unique(), unique()];
  const target = await lab.container({ program: echo(), labels: composeLabels(project, "db") });
  const labels = { "wakeport.name": name, "com.docker.compose.container-number": "2" };
  await make(lab, { project, service: "db", labels });
  const wakeport = await lab.wakeport({}, { docker: { project, discover: "all" } });
  await eventually("the service is found", () => has(wakeport, name));
  using client = await wakeport.connect(name);
  assert.equal(await client.ended(), "ECONNRESET");
  assert.equal(client.received, 0);
  assert.equal(await target.isAwake(), false);
  const cause = new RegExp(`${target.name} is the first container of .*/db, and has no label wakeport.enable=true`);
  await eventually("the reason is reported", () => cause.test(JSON.stringify(wakeport.status.services)));
});
