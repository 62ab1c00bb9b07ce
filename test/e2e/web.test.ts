/** The example compose/web: three sites on one port, one of them with a waiting page. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { BUILD_MS, COMMAND_MS, cannotCompose, run, succeeds, webOverrides } from "../support/engine/compose.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";

const EXAMPLE = path.join(import.meta.dirname, "../../compose/web/compose.yaml");
const SITES = ["app", "docs", "preview"] as const;
/** Three times the example's idle timeout of 5 s, and a stop. */
const SLEEP_MS = 60_000;
const project = `wakeport-test-web-${process.pid}`;
/** The headers of a browser that opens an address. */
const browser = ["-H", "Accept: text/html,*/*;q=0.8", "-H", "Upgrade-Insecure-Requests: 1"];

const skip = await cannotCompose(["curl", "--version"]);

suite("the web example", { skip }, () => {
  let override: string;
  const ports = { web: 0, admin: 0 };

  const compose = (...args: string[]): Promise<string> =>
    run("docker", ["compose", "-p", project, "-f", EXAMPLE, "-f", override, ...args], BUILD_MS);
  /** The head and the body of a response. */
  const curl = (host: string, ...args: string[]): Promise<string> =>
    run("curl", ["-si", "--max-time", "50", "-H", `Host: ${host}`, ...args, `http://127.0.0.1:${ports.web}/`]);
  const states = async (): Promise<Record<string, string>> => {
    const format = '{{index .Config.Labels "com.docker.compose.service"}} {{.State.Status}}';
    const lines = await run("docker", ["inspect", "-f", format, ...SITES.map((site) => `${project}-${site}-1`)]);
    return Object.fromEntries(
      lines
        .trim()
        .split("\n")
        .map((line) => line.split(" ") as [string, string]),
    );
  };
  const asleep = { app: "created", docs: "created", preview: "created" };

  before(async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    override = path.join(folder, "override.yaml");
    Object.assign(ports, { web: await freePort(), admin: await freePort() });
    await writeFile(override, webOverrides(ports));
    await compose("up", "--build", "--no-start");
    await compose("start", "wakeport");
    const readiness = `http://127.0.0.1:${ports.admin}/readyz`;
    await eventually("wakeport is ready", () => succeeds("curl", "--silent", "--fail", readiness), COMMAND_MS);
  });

  after(async () => {
    await compose("down", "--volumes", "--rmi", "local", "--timeout", "5");
    await rm(path.dirname(override), { recursive: true });
  });

  test("only wakeport runs, and an unknown name wakes no site", async () => {
    assert.deepEqual(await states(), asleep);
    assert.match(await curl("other.localhost"), /^HTTP\/1\.1 421 /);
    assert.match(await curl("preview.localhost", ...browser), /^HTTP\/1\.1 421 /);
    assert.deepEqual(await states(), asleep);
  });

  test("a request for a site wakes that site alone and is held: without waiting page, a browser gets none", async () => {
    assert.match(await curl("docs.localhost", ...browser), /^HTTP\/1\.1 200 [\s\S]*This is the documents/);
    assert.deepEqual(await states(), { ...asleep, docs: "running" });
    assert.match(
      await curl("b.preview.localhost:8080"),
      /^HTTP\/1\.1 200 [\s\S]*This is a preview[\s\S]*at b\.preview\.localhost:8080/,
    );
    assert.equal((await states())["app"], "created");
  });

  test("a browser gets the progress of the app, and curl waits for the same start", async () => {
    const [page, answer] = await Promise.all([curl("app.localhost", "--no-buffer", ...browser), curl("app.localhost")]);
    assert.match(page, /^HTTP\/1\.1 503 [\s\S]*<title>Starting app…<\/title>/);
    assert.match(page, /warming up: \d s to go/);
    assert.match(page, /<script>location\.reload\(\)<\/script>/);
    assert.match(answer, /^HTTP\/1\.1 200 [\s\S]*This is the app/);
    assert.match(await curl("app.localhost", ...browser), /^HTTP\/1\.1 200 [\s\S]*This is the app/);
  });

  test("the idle sites sleep again", async () => {
    const areAsleep = async (): Promise<boolean> => Object.values(await states()).every((state) => state === "exited");
    await eventually("all sites sleep", areAsleep, SLEEP_MS);
  });
});
