/** The example compose/monitoring with a real Prometheus: it scrapes wakeport, and each query of the README returns series. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, suite, test } from "node:test";
import { BUILD_MS, COMMAND_MS, cannotCompose, run, succeeds, webOverrides } from "../support/engine/compose.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";

const EXAMPLE = path.join(import.meta.dirname, "../../compose/monitoring");
const WEB = path.join(EXAMPLE, "../web/compose.yaml");
/** Several scrapes, which are 5 s apart. */
const SCRAPED_MS = 60_000;
const project = `wakeport-test-monitoring-${process.pid}`;

const skip = await cannotCompose(["curl", "--version"]);

interface QueryAnswer {
  readonly data: {
    readonly result: readonly { readonly metric: unknown; readonly value: readonly [number, string] }[];
  };
}

suite("the monitoring example", { skip }, () => {
  let folder: string;
  const ports = { web: 0, admin: 0, prometheus: 0 };

  const compose = (...args: string[]): Promise<string> =>
    run(
      "docker",
      ["compose", "-p", project, "--project-directory", EXAMPLE, "-f", path.join(folder, "compose.yaml"), ...args],
      BUILD_MS,
    );
  const curl = (host: string): Promise<string> =>
    run("curl", ["-si", "--max-time", "50", "-H", `Host: ${host}`, `http://127.0.0.1:${ports.web}/`]);
  /** The series that Prometheus has for a query now. */
  const query = async (text: string): Promise<QueryAnswer["data"]["result"]> => {
    const url = `http://127.0.0.1:${ports.prometheus}/api/v1/query?query=${encodeURIComponent(text)}`;
    return ((await (await fetch(url)).json()) as QueryAnswer).data.result;
  };
  const returnsSeries = (text: string): Promise<void> =>
    eventually(`series for ${text}`, async () => (await query(text)).length > 0, SCRAPED_MS);

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "wakeport-test-"));
    Object.assign(ports, { web: await freePort(), admin: await freePort(), prometheus: await freePort() });
    const override = path.join(folder, "web.yaml");
    await writeFile(override, webOverrides(ports));
    await writeFile(
      path.join(folder, "compose.yaml"),
      testCompose(await readFile(path.join(EXAMPLE, "compose.yaml"), "utf8"), override, ports.prometheus),
    );
    await compose("up", "--build", "--detach");
    const readiness = `http://127.0.0.1:${ports.prometheus}/-/ready`;
    await eventually("Prometheus is ready", () => succeeds("curl", "--silent", "--fail", readiness), COMMAND_MS);
  });

  after(async () => {
    await compose("down", "--volumes", "--rmi", "local", "--timeout", "5");
    await rm(folder, { recursive: true });
  });

  test("Prometheus scrapes wakeport", async () => {
    await eventually(
      "the scrape succeeds",
      async () => (await query("up")).some(({ value }) => value[1] === "1"),
      SCRAPED_MS,
    );
    assert.deepEqual((await query("up")).length, 1, "no other target is configured");
  });

  test("each query of the README returns series", async () => {
    const readme = await readFile(path.join(EXAMPLE, "README.md"), "utf8");
    const queries = [...readme.matchAll(/^- `(.*)`: /gm)].map(([, text]) => text ?? "");
    assert.equal(queries.length, 5);
    // A rate needs the values of earlier scrapes.
    await returnsSeries('count_over_time(up{job="wakeport"}[1m]) >= 2');
    assert.match(await curl("docs.localhost"), /^HTTP\/1\.1 200 /);
    await run("docker", ["rm", "--force", `${project}-preview-1`]);
    assert.match(await curl("a.preview.localhost"), /^HTTP\/1\.1 503 /);
    for (const text of queries) await returnsSeries(text);
  });
});

/** The example with other ports, and the label by which test/engine/up finds leftovers. */
function testCompose(example: string, override: string, port: number): string {
  const changes = [
    ["- ../web/compose.yaml", `- path: [${JSON.stringify(WEB)}, ${JSON.stringify(override)}]`],
    ['"127.0.0.1:9090:9090"', `"127.0.0.1:${port}:9090"`],
    ["    build: prometheus", `    labels: { wakeport-test: "e2e" }\n    build: prometheus`],
    ["  metrics:", '  metrics: { labels: { wakeport-test: "e2e" } }'],
  ] as const;
  return changes.reduce((text, [from, to]) => {
    assert.ok(text.includes(from), `the example has no line ${from}`);
    return text.replace(from, to);
  }, example);
}
