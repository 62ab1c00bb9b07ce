/** The example compose/hardened. test/integration/narrow-proxy.test.ts has all requests that its proxy denies. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { BUILD_MS, COMMAND_MS, cannotCompose, run, succeeds } from "../support/engine/compose.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";

const EXAMPLE = path.join(import.meta.dirname, "../../compose/hardened/compose.yaml");
/** The example's idle timeout is 10 s. */
const SLEEP_MS = 40_000;
const project = `wakeport-test-hardened-${process.pid}`;

const skip = await cannotCompose(["curl", "--version"]);

suite("the hardened example", { skip }, () => {
  let override: string;
  let web: string;
  let admin: string;

  const compose = (...args: string[]): Promise<string> =>
    run("docker", ["compose", "-p", project, "-f", EXAMPLE, "-f", override, ...args], BUILD_MS);
  /** A field of one of its containers, in Docker's template language. */
  const inspect = async (service: string, field: string): Promise<string> =>
    (await run("docker", ["inspect", "-f", `{{${field}}}`, `${project}-${service}-1`])).trim();
  const state = (): Promise<string> => inspect("web", ".State.Status");

  before(async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    override = path.join(folder, "override.yaml");
    const [webPort, adminPort] = [await freePort(), await freePort()];
    web = `http://127.0.0.1:${webPort}`;
    admin = `http://127.0.0.1:${adminPort}`;
    await writeFile(override, overrides(webPort, adminPort));
    await compose("up", "--build", "--detach");
    await eventually("wakeport is ready", () => succeeds("curl", "--silent", "--fail", `${admin}/readyz`), COMMAND_MS);
  });

  after(async () => {
    await compose("down", "--volumes", "--rmi", "local", "--timeout", "5");
    await rm(path.dirname(override), { recursive: true });
  });

  test("a client is served, and the server sleeps later", async () => {
    assert.equal(await run("curl", ["--silent", "--max-time", "30", web]), "awake\n");
    await eventually("the server sleeps", async () => (await state()) === "exited", SLEEP_MS);
  });

  test("the next client wakes the server", async () => {
    assert.equal(await run("curl", ["--silent", "--max-time", "30", web]), "awake\n");
    assert.equal(await state(), "running");
  });

  test("the proxy denies no request of wakeport, and the healthcheck succeeds", async () => {
    const status = await compose("exec", "-T", "wakeport", "wakeport", "status");
    assert.match(status, /web +ready +container web/);
    assert.doesNotMatch(status, /refuses|does not answer/);
    await compose("exec", "-T", "wakeport", "wakeport", "healthcheck");
  });

  test("wakeport's container has minimal privileges", async () => {
    assert.equal(await inspect("wakeport", ".Config.User"), "65532:65532");
    assert.equal(await inspect("wakeport", ".HostConfig.CapDrop"), "[ALL]");
    assert.equal(await inspect("wakeport", ".HostConfig.ReadonlyRootfs"), "true");
    assert.equal(await inspect("wakeport", ".HostConfig.SecurityOpt"), "[no-new-privileges:true]");
    const mounts = await inspect("wakeport", "range .Mounts}}{{.Destination}} {{.RW}};{{end");
    assert.equal(mounts, "/etc/wakeport false;");
  });

  test("the proxy denies every other request from wakeport's container", async () => {
    const id = await inspect("web", ".Id");
    const forbidden = [
      `GET /containers/${id}/archive?path=/etc/shadow`,
      `GET /containers/${id}/export`,
      `GET /containers/${id}/attach/ws`,
      `GET /containers/${id}/logs?stdout=1`,
      `POST /containers/${id}/exec`,
      `POST /v1.41/containers/${id}/exec`,
      `POST /v1.23/containers/${id}/start`,
      "POST /containers/create",
      `DELETE /containers/${id}`,
      `POST /containers/${id}/kill`,
      "POST /images/create?fromImage=evil",
      "GET /images/json",
      "GET /networks",
      "GET /info",
    ];
    const allowed = ["GET /_ping", "GET /v1.41/version", "GET /containers/json", `GET /v1.41/containers/${id}/json`];
    const answers = await asWakeport([...forbidden, ...allowed]);
    for (const request of forbidden) assert.equal(answers[request], 403, request);
    for (const request of allowed) assert.equal(answers[request], 200, request);
    assert.equal(await state(), "running");
  });

  test("the image does not contain npm", async () => {
    const program = 'for name in npm npx corepack yarn; do command -v "$name" && exit 1; done; exit 0';
    assert.equal(await compose("exec", "-T", "wakeport", "sh", "-c", program), "");
  });

  test("the target cannot reach the proxy", async () => {
    const program = `
      const answer = fetch("http://socket-proxy:2375/_ping", { signal: AbortSignal.timeout(5_000) });
      answer.then(() => console.log("it answers"), (error) => console.log(error.cause?.code ?? error.name));
    `;
    const reported = await compose("exec", "-T", "web", "node", "-e", program);
    assert.match(reported.trim(), /^(ENOTFOUND|EAI_AGAIN)$/);
  });

  /** The response statuses of requests from wakeport's container, with paths sent unchanged. */
  async function asWakeport(requests: readonly string[]): Promise<Readonly<Record<string, number>>> {
    const program = `
      const http = require("node:http");
      const statuses = {};
      const ask = (request) => new Promise((resolve, reject) => {
        const [method, path] = request.split(" ");
        const call = http.request({ host: "socket-proxy", port: 2375, method, path, agent: false }, (answer) => {
          answer.resume();
          statuses[request] = answer.statusCode;
          resolve();
        });
        call.on("error", reject).end();
      });
      Promise.all(${JSON.stringify(requests)}.map(ask)).then(() => console.log(JSON.stringify(statuses)));
    `;
    return JSON.parse(await compose("exec", "-T", "wakeport", "node", "-e", program));
  }
});

/** Other ports than the example's, and the label by which test/engine/up finds leftovers. */
function overrides(webPort: number, adminPort: number): string {
  const labels = 'labels: { wakeport-test: "e2e" }';
  return `
services:
  socket-proxy: { ${labels} }
  wakeport:
    ports: !override ["127.0.0.1:${webPort}:8080", "127.0.0.1:${adminPort}:9464"]
    ${labels}
  web: { ${labels} }
networks:
  docker-api: { ${labels} }
  targets: { ${labels} }
`;
}
