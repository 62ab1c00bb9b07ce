/** `wakeport check` on a real engine: problems of containers are warnings. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { echo } from "../support/engine/containers.ts";
import { engineEnv } from "../support/engine/engine.ts";
import { engineTest } from "../support/engine/lab.ts";
import { checkLeaks } from "../support/leaks.ts";
import { wakeport } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

checkLeaks();

engineTest("check reports missing containers, restart policies and unreachable networks, and exits 0", async (lab) => {
  const [good, always] = [
    await lab.container({ program: echo() }),
    await lab.container({ program: echo(), restart: "always" }),
  ];
  const lonely = await lab.container({ program: echo(), network: "none" });
  const passing = await lab.container({ program: echo(), autoRemove: true });
  const names = {
    passing: passing.name,
    good: good.name,
    also: good.name,
    always: always.name,
    lonely: lonely.name,
    gone: `${good.name}-gone`,
  };
  const services = Object.fromEntries(
    Object.entries(names).map(([name, container], index) => [
      name,
      { ports: [`127.0.0.1:${20_001 + index}`], container },
    ]),
  );
  await using file = await temporaryFile("wakeport.yaml", JSON.stringify({ services }));
  const { code, stdout } = await wakeport(["check", "-c", file.path], engineEnv());
  assert.equal(code, 0);
  const [head = "", ...lines] = (stdout.split(/^containers, /m)[1] ?? "").split("\n").filter((line) => line !== "");
  assert.match(head, /^checked at \S+:$/);
  const problems = lines.map((line) => line.trim()).toSorted();
  assert.equal(problems.length, 4, stdout);
  assert.match(problems[0] ?? "", /^always: container \S+ has "restart: always": .*set restart: "no"/);
  assert.match(problems[1] ?? "", /^gone: .*-gone/);
  assert.match(problems[2] ?? "", /^lonely: .*network/);
  assert.match(problems[3] ?? "", /^passing: .*--rm/);
});

engineTest("check reports the absence of problems, and skips services of an unknown project", async (lab) => {
  const target = await lab.container({ program: echo() });
  await target.start();
  const services = {
    good: { ports: [20_001], container: target.name },
    shop: { ports: [20_002], container: { service: "shop" } },
  };
  await using file = await temporaryFile("wakeport.yaml", JSON.stringify({ services: { good: services.good } }));
  assert.match(
    (await wakeport(["check", "-c", file.path], engineEnv())).stdout,
    /^containers: all found at \S+, no problems$/m,
  );
  await using both = await temporaryFile("wakeport.yaml", JSON.stringify({ services }));
  const { stdout } = await wakeport(["check", "-c", both.path], engineEnv());
  assert.match(stdout, /^containers, checked at \S+:\n {2}shop: not checked: the compose project/m);
});

engineTest("check reports ports that a target publishes itself, and a missing healthcheck", async (lab) => {
  const published = await lab.container({ program: echo(), published: ["7777/tcp", "7778/udp"] });
  const healthy = await lab.container({ program: echo(), healthcheck: { command: "true", retries: 1 } });
  const services = {
    bypassed: { ports: ["127.0.0.1:20001:7777", "127.0.0.1:20002:7778"], container: published.name, ready: "healthy" },
    good: { ports: ["127.0.0.1:20003:7777"], container: healthy.name, ready: ["tcp", "healthy"] },
  };
  await using file = await temporaryFile("wakeport.yaml", JSON.stringify({ services }));
  const { code, stdout } = await wakeport(["check", "-c", file.path], engineEnv());
  assert.equal(code, 0);
  const [, report = ""] = stdout.split(/^containers, checked at \S+:\n/m);
  const [health, binding, ...others] = report.split("\n").filter((line) => line.startsWith("  "));
  assert.match(health ?? "", /bypassed: container \S+ has no HEALTHCHECK.*use "ready: tcp"$/);
  assert.match(binding ?? "", /bypassed: container \S+ publishes port 7777 itself, as 7777: .*remove it from ports:/);
  assert.deepEqual(others, []);
});

test("check reports that it does not check labels", async () => {
  await using file = await temporaryFile("wakeport.yaml", JSON.stringify({ docker: { discover: true } }));
  const { code, stdout } = await wakeport(["check", "-c", file.path]);
  assert.equal(code, 0);
  assert.match(stdout, /^labels of containers: not checked; wakeport status shows/m);
});

test("check rejects a docker.host that run rejects, and only warns about DOCKER_HOST", async () => {
  const services = { it: { ports: [20_001], container: "some" } };
  const text = (docker: object): string => JSON.stringify({ docker, services });
  await using wrong = await temporaryFile("wakeport.yaml", text({ host: "/var/run/docker.sock" }));
  const refused = await wakeport(["check", "-c", wrong.path]);
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /wakeport\.yaml error: "docker\.host": .*write it as "unix:\/\/\/path/);
  await using right = await temporaryFile("wakeport.yaml", text({}));
  const remarked = await wakeport(["check", "-c", right.path], { DOCKER_HOST: "/var/run/docker.sock" });
  assert.equal(remarked.code, 0);
  assert.match(remarked.stdout, /containers: not checked: .*unknown form/);
});

engineTest("check suggests the compose service with the name of a missing container", async (lab) => {
  const project = `wakeport-check-${process.pid}`;
  const service = `${project}-shop`;
  const labels = { "com.docker.compose.project": project, "com.docker.compose.service": service };
  await lab.container({ program: echo(), labels });
  const services = {
    named: { ports: [20_001], container: service },
    slip: { ports: [20_002], container: { service: `${service}p`, project } },
    strange: { ports: [20_003], container: { service: "strange", project } },
  };
  await using file = await temporaryFile("wakeport.yaml", JSON.stringify({ services }));
  const { stdout } = await wakeport(["check", "-c", file.path], engineEnv());
  assert.match(
    stdout,
    new RegExp(`named: .*does not exist: .*container: \\{ service: ${service}, project: ${project} \\}$`, "m"),
  );
  assert.match(
    stdout,
    new RegExp(`slip: .*has no container of service .*: did you mean service "${service}"\\?$`, "m"),
  );
  assert.match(stdout, /strange: .*has no container of service .*correct the names/m);
});
