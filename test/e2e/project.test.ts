/** The example compose/project: five services with a worker and connection pools sleep and wake together. */
import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { BUILD_MS, COMMAND_MS, cannotCompose, run, succeeds } from "../support/engine/compose.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";

const EXAMPLE = path.join(import.meta.dirname, "../../compose/project/compose.yaml");
const TARGETS = ["web", "api", "worker", "db", "cache"] as const;
/** Several idle timeouts of 5 s and stops, on a busy machine. */
const SLEEP_MS = 120_000;
const project = `wakeport-test-project-${process.pid}`;

const skip = await cannotCompose(["curl", "--version"], ["psql", "--version"]);

suite("the project example", { skip }, () => {
  let override: string;
  const ports = { web: 0, db: 0, admin: 0 };

  const compose = (...args: string[]): Promise<string> =>
    run("docker", ["compose", "-p", project, "-f", EXAMPLE, "-f", override, ...args], BUILD_MS);
  const running = async (): Promise<string[]> => {
    const states = await run("docker", [
      ...["inspect", "-f", '{{index .Config.Labels "com.docker.compose.service"}} {{.State.Status}}'],
      ...TARGETS.map((service) => `${project}-${service}-1`),
    ]);
    const lines = states.trim().split("\n");
    return lines.filter((line) => line.endsWith(" running")).map((line) => line.split(" ")[0] ?? "");
  };
  const allSleep = async (): Promise<void> => {
    await eventually("all five sleep", async () => (await running()).length === 0, SLEEP_MS);
  };

  before(async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    override = path.join(folder, "override.yaml");
    Object.assign(ports, { web: await freePort(), db: await freePort(), admin: await freePort() });
    await cp(path.join(EXAMPLE, "../config"), path.join(folder, "config"), { recursive: true });
    await writeFile(override, overrides(ports, path.join(folder, "config")));
    await compose("build");
  });

  after(async () => {
    await compose("down", "--volumes", "--rmi", "local", "--timeout", "5");
    await rm(path.dirname(override), { recursive: true });
  });

  test("check accepts the configuration before anything runs, and reports the missing containers", async () => {
    const plan = await compose("run", "--rm", "--no-deps", "wakeport", "check");
    assert.match(plan, /^\/etc\/wakeport\/wakeport\.yaml is valid\n/);
    assert.match(plan, /^ +worker +with web/m);
    assert.match(plan, /web: compose project "\S+" has no container of service "web"/);
  });

  test("compose starts all five, and they sleep", async () => {
    await compose("up", "--detach");
    const readiness = `http://127.0.0.1:${ports.admin}/readyz`;
    await eventually("wakeport is ready", () => succeeds("curl", "--silent", "--fail", readiness), COMMAND_MS);
    await allSleep();
    const plan = await compose("exec", "-T", "wakeport", "wakeport", "check");
    assert.match(plan, /^containers: all found at \S+, no problems$/m);
  });

  test("one request wakes all services with the worker, and later they sleep", async () => {
    const url = `http://127.0.0.1:${ports.web}/api/products`;
    assert.match(await run("curl", ["--silent", "--fail", "--max-time", "50", url]), /alarm clock/);
    await eventually(
      "the worker works",
      async () => (await compose("logs", "--since", "30s", "worker")).includes("found 3 products"),
      COMMAND_MS,
    );
    assert.deepEqual((await running()).toSorted(), TARGETS.toSorted());
    const status = await compose("exec", "-T", "wakeport", "wakeport", "status", "worker");
    assert.match(status, /^worker\n {2}state +ready, woken for /);
    await allSleep();
  });

  test("psql wakes the database alone", async () => {
    const answer = await run("psql", [
      ...["--host=127.0.0.1", `--port=${ports.db}`, "--username=shop", "--no-psqlrc", "--tuples-only", "--no-align"],
      "--command=SELECT count(*) FROM products",
    ]);
    assert.equal(answer.trim(), "3");
    assert.deepEqual(await running(), ["db"]);
    await allSleep();
  });

  test("without direct_traffic: ignore the worker is kept awake by its own traffic, and status shows it", async () => {
    const file = path.join(path.dirname(override), "config/wakeport.yaml");
    await writeFile(file, (await readFile(file, "utf8")).replace("direct_traffic: ignore", "direct_traffic: hold"));
    await compose("kill", "-s", "HUP", "wakeport");
    await run("curl", ["--silent", "--fail", "--max-time", "50", `http://127.0.0.1:${ports.web}/api/products`]);
    const status = (service: string): Promise<string> =>
      compose("exec", "-T", "wakeport", "wakeport", "status", service);
    await eventually(
      "the traffic holds the worker",
      async () => /^ {2}kept awake by +\d+ kB of direct traffic$/m.test(await status("worker")),
      SLEEP_MS,
    );
    await eventually("web and api sleep", async () => (await running()).length === 3, SLEEP_MS);
    assert.deepEqual((await running()).toSorted(), ["cache", "db", "worker"]);
    assert.match(await status("db"), /^ {2}(?:held|needed) by +.*container \S*worker/m);
  });
});

interface Ports {
  readonly web: number;
  readonly db: number;
  readonly admin: number;
}

/** Other ports than the example's, and the label by which test/engine/up finds leftovers. */
function overrides({ web, db, admin }: Ports, config: string): string {
  const labels = 'labels: { wakeport-test: "e2e" }';
  return `
services:
  wakeport:
    ports: !override ["127.0.0.1:${web}:8080", "127.0.0.1:${db}:5432", "127.0.0.1:${admin}:9464"]
    volumes: !override ["${config}:/etc/wakeport:ro", "/var/run/docker.sock:/var/run/docker.sock"]
    ${labels}
${TARGETS.map((service) => `  ${service}: { ${labels} }`).join("\n")}
networks:
  default: { ${labels} }
volumes:
  data: { ${labels} }
`;
}
