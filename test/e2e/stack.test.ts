/** The example compose/stack: one request wakes three containers in order, psql wakes one. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { after, before, suite, test } from "node:test";
import { BUILD_MS, COMMAND_MS, cannotCompose, run, succeeds } from "../support/engine/compose.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";

const EXAMPLE = path.join(import.meta.dirname, "../../compose/stack/compose.yaml");
const TARGETS = ["web", "api", "db"] as const;
/** Three times the example's idle timeout of 5 s, and three stops. */
const SLEEP_MS = 60_000;
const project = `wakeport-test-stack-${process.pid}`;

const skip = await cannotCompose(["curl", "--version"], ["psql", "--version"]);

/** The engine's events of the project's containers, in order: `start db`, `healthy db`, `die web`. */
class Happenings implements AsyncDisposable {
  readonly seen: string[] = [];
  readonly #child = spawn("docker", [
    ...["events", "--since", String(Math.floor(Date.now() / 1000))],
    ...["--filter", `label=com.docker.compose.project=${project}`],
    ...["start", "die", "health_status"].flatMap((event) => ["--filter", `event=${event}`]),
    ...["--format", '{{.Action}} {{index .Actor.Attributes "com.docker.compose.service"}}'],
  ]);

  constructor() {
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const isOfWakeport = line.endsWith(" wakeport");
      if (!isOfWakeport) this.seen.push(line.replace("health_status: ", ""));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#child.kill();
    await exited;
  }
}

suite("the stack example", { skip }, () => {
  let override: string;
  let happenings: Happenings;
  const ports = { web: 0, db: 0, admin: 0 };

  const compose = (...args: string[]): Promise<string> =>
    run("docker", ["compose", "-p", project, "-f", EXAMPLE, "-f", override, ...args], BUILD_MS);
  const curl = (url: string): Promise<string> => run("curl", ["--silent", "--fail", "--max-time", "50", url]);
  const stateOf = async (service: string): Promise<string> =>
    (await run("docker", ["inspect", "-f", "{{.State.Status}}", `${project}-${service}-1`])).trim();
  const states = (): Promise<string[]> => Promise.all(TARGETS.map(stateOf));

  before(async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    override = path.join(folder, "override.yaml");
    Object.assign(ports, { web: await freePort(), db: await freePort(), admin: await freePort() });
    await writeFile(override, overrides(ports));
    happenings = new Happenings();
    await compose("up", "--build", "--no-start");
    await compose("start", "wakeport");
    const readiness = `http://127.0.0.1:${ports.admin}/readyz`;
    await eventually("wakeport is ready", () => succeeds("curl", "--silent", "--fail", readiness), COMMAND_MS);
  });

  after(async () => {
    await happenings[Symbol.asyncDispose]();
    await compose("down", "--volumes", "--rmi", "local", "--timeout", "5");
    await rm(path.dirname(override), { recursive: true });
  });

  test("only wakeport runs", async () => {
    assert.deepEqual(await states(), ["created", "created", "created"]);
  });

  test("one request to web wakes db, api and web in this order, and the reply contains all three", async () => {
    const products = JSON.parse(await curl(`http://127.0.0.1:${ports.web}/api/products`)) as { name: string }[];
    assert.deepEqual(
      products.map(({ name }) => name),
      ["alarm clock", "night light", "pillow"],
    );
    assert.deepEqual(happenings.seen, ["start db", "healthy db", "start api", "start web"]);
  });

  test("all three sleep again, db last", async () => {
    await eventually("db sleeps", async () => (await stateOf("db")) === "exited", SLEEP_MS);
    await eventually("the engine sends the event", async () => happenings.seen.includes("die db"), COMMAND_MS);
    assert.deepEqual(happenings.seen.slice(4), ["die web", "die api", "die db"]);
    assert.deepEqual(await states(), ["exited", "exited", "exited"]);
  });

  test("psql wakes db alone, and finds its data", async () => {
    const answer = await run("psql", [
      ...["--host=127.0.0.1", `--port=${ports.db}`, "--username=shop", "--no-psqlrc", "--tuples-only", "--no-align"],
      "--command=SELECT count(*) FROM products",
    ]);
    assert.equal(answer.trim(), "3");
    assert.deepEqual(happenings.seen.slice(7), ["start db", "healthy db"]);
    await eventually("db sleeps", async () => happenings.seen.includes("die db", 8), SLEEP_MS);
    assert.deepEqual(happenings.seen.slice(7), ["start db", "healthy db", "die db"]);
  });

  test("all containers exited in order", async () => {
    const field = "{{.State.ExitCode}}";
    for (const service of TARGETS) {
      const code = (await run("docker", ["inspect", "-f", field, `${project}-${service}-1`])).trim();
      // 143 is node's exit code after SIGTERM without a handler.
      assert.equal(code, service === "api" ? "143" : "0", service);
    }
  });
});

/** Other ports than the example's, and the label by which test/engine/up finds leftovers. */
function overrides({ web, db, admin }: { readonly web: number; readonly db: number; readonly admin: number }): string {
  const labels = 'labels: { wakeport-test: "e2e" }';
  return `
services:
  wakeport:
    ports: !override ["127.0.0.1:${web}:8080", "127.0.0.1:${db}:5432", "127.0.0.1:${admin}:9464"]
    ${labels}
  web: { ${labels} }
  api: { ${labels} }
  db: { ${labels} }
networks:
  default: { ${labels} }
volumes:
  data: { ${labels} }
`;
}
