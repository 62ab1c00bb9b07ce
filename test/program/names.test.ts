/** Several sites on one port, with curl, openssl, and real HTTP and TLS servers. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { suite, test } from "node:test";
import { Authority } from "../support/certificates.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect, connecting } from "../support/net/tcp.ts";
import { Bench } from "../support/program/reloading.ts";
import { run } from "../support/program/run.ts";

/** Sends its word and the requested host; uses TLS if it has a certificate. */
const site = `const [port, word, folder] = process.argv.slice(1);
const fs = require("fs"), answer = (request, response) => response.end(word + " " + request.headers.host + "\\n");
const server = folder
  ? require("https").createServer({ key: fs.readFileSync(folder + "/key.pem"), cert: fs.readFileSync(folder + "/cert.pem") }, answer)
  : require("http").createServer(answer);
server.listen(Number(port), "127.0.0.1")`;

interface Site {
  readonly word: string;
  readonly listenPort: number;
  /** As in the file: `host: app.test`. */
  readonly names: string;
  readonly folder?: string;
}

async function sites(...all: readonly Site[]): Promise<string> {
  const lines = all.map(async ({ word, listenPort, names, folder = "" }) => {
    const upstream = await freePort();
    const command = JSON.stringify([process.execPath, "-e", site, String(upstream), word, folder]);
    return `  ${word}: { ports: ["127.0.0.1:${listenPort}"], ${names}, process: { command: ${command}, listen: "127.0.0.1:${upstream}" } }\n`;
  });
  return (await Promise.all(lines)).join("");
}

/** @returns the body that curl received, then the status */
async function curl(url: string, port: number, ...more: readonly string[]): Promise<string> {
  const { hostname, port: own } = new URL(url);
  const args = ["-sS", "--resolve", `${hostname}:${own}:127.0.0.1`, "-w", "%{http_code}", ...more, url];
  assert.equal(Number(own), port);
  const { stdout, stderr } = await run("curl", args);
  return `${stdout}${stderr}`;
}

async function starts(bench: Bench, service: string): Promise<string | undefined> {
  return await bench.metric(`wakeport_activations_total{service="${service}",outcome="ready"}`);
}

suite("one port, several sites", () => {
  test("by host: each site is woken by its own clients; an unknown name wakes no site", async () => {
    const listenPort = await freePort();
    const services = await sites(
      { word: "app", listenPort, names: "host: app.test" },
      { word: "below", listenPort, names: 'host: ["*.app.test", other.test]' },
      { word: "third", listenPort, names: "host: third.test" },
    );
    await using bench = await Bench.start(services);
    assert.equal(await curl(`http://app.test:${listenPort}/`, listenPort), `app app.test:${listenPort}\n200`);
    assert.equal(
      await curl(`http://a.b.APP.test:${listenPort}/`, listenPort, "--http1.0"),
      `below a.b.APP.test:${listenPort}\n200`,
    );
    assert.equal(
      await curl(`http://other.test:${listenPort}/`, listenPort, "--http2"),
      `below other.test:${listenPort}\n200`,
    );
    assert.match(await curl(`http://unknown.test:${listenPort}/`, listenPort), /^No service has this name\.\n421$/);
    assert.match(await curl(`http://app.test:${listenPort}/`, listenPort, "-H", "Host:", "-0"), /421$/);
    assert.match(await curl(`http://app.test:${listenPort}/`, listenPort, "--http2-prior-knowledge"), /000curl: /);
    assert.deepEqual(
      [await starts(bench, "app"), await starts(bench, "below"), await starts(bench, "third")],
      ["1", "1", "0"],
    );

    const counted = (reason: string): Promise<string | undefined> =>
      bench.metric(`wakeport_unrouted_total{listener="127.0.0.1:${listenPort}",reason="${reason}"}`);
    assert.deepEqual(
      [await counted("unknown_name"), await counted("no_name"), await counted("limit")],
      ["1", "2", "0"],
    );
    const { name, reason } = await bench.program.logged("client.unrouted");
    assert.deepEqual([name, reason], ["unknown.test", "unknown_name"]);
    const proxied = ["-x", `http://127.0.0.1:${listenPort}`];
    assert.match((await run("curl", ["-sS", ...proxied, "http://third.test/"])).stdout, /^third third\.test\n$/);
  });

  test("by SNI: TLS is not terminated", async () => {
    using authority = new Authority();
    const listenPort = await freePort();
    const ports = {
      app: authority.issue({ names: "DNS:app.test" }),
      rest: authority.issue({ names: "DNS:rest.test" }),
    };
    const services = await sites(
      { word: "app", listenPort, names: "sni: app.test", folder: ports.app },
      { word: "rest", listenPort, names: 'sni: "*.rest.test"', folder: ports.rest },
    );
    await using bench = await Bench.start(services);
    const trusting = ["--cacert", path.join(ports.app, "ca.pem")];
    assert.equal(
      await curl(`https://app.test:${listenPort}/`, listenPort, ...trusting),
      `app app.test:${listenPort}\n200`,
    );
    assert.match(await curl(`https://rest.test:${listenPort}/`, listenPort, ...trusting), /unrecognized name/);
    const asking = (...how: readonly string[]): Promise<{ readonly stdout: string; readonly stderr: string }> =>
      run("openssl", [
        "s_client",
        "-connect",
        `127.0.0.1:${listenPort}`,
        "-CAfile",
        path.join(ports.app, "ca.pem"),
        ...how,
      ]);
    const certificate = readFileSync(path.join(ports.app, "cert.pem"), "utf8").trim();
    for (const version of ["-tls1_2", "-tls1_3"]) {
      const { stdout } = await asking("-servername", "app.test", version);
      assert.ok(stdout.includes(certificate) && stdout.includes("Verify return code: 0 (ok)"), stdout);
      assert.match((await asking("-servername", "unknown.test", version)).stderr, /unrecognized name/);
    }
    assert.match((await asking("-noservername")).stderr, /unrecognized name/);
    assert.deepEqual([await starts(bench, "app"), await starts(bench, "rest")], ["1", "0"]);
  });

  test("names are added, removed and moved while other clients of the port are served", async () => {
    const listenPort = await freePort();
    const app = await sites({ word: "app", listenPort, names: "host: app.test" });
    const web = await sites({ word: "web", listenPort, names: "host: web.test" });
    await using bench = await Bench.start(app + web);
    using served = await connect(listenPort);
    served.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
    await eventually("a reply", () => served.text.includes("app app.test"));
    using half = await connect(listenPort);
    half.send("GET / HTTP/1.1\r\nHost: new");

    const fresh = await sites({ word: "fresh", listenPort, names: "host: new.test" });
    await bench.reload(app.replace("host: app.test", "host: renamed.test") + fresh);
    assert.match(await curl(`http://web.test:${listenPort}/`, listenPort), /421$/);
    assert.match(await curl(`http://app.test:${listenPort}/`, listenPort), /421$/);
    assert.match(await curl(`http://renamed.test:${listenPort}/`, listenPort), /^app renamed/);
    half.send(".test\r\n\r\n");
    await eventually("a reply of the new target", () => half.text.includes("fresh new.test"));
    served.send("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n");
    await eventually("another reply on the old connection", () => served.text.includes("app other.test"));

    // From several names to one target, and back.
    await bench.reload(app.replace(", host: app.test", ""));
    assert.match(await curl(`http://whatever.test:${listenPort}/`, listenPort), /^app whatever/);
    await bench.reload(app + web);
    assert.match(await curl(`http://web.test:${listenPort}/`, listenPort), /^web web/);
    assert.match(await curl(`http://whatever.test:${listenPort}/`, listenPort), /421$/);
  });

  test("a client with a partly sent name is not passed to a program without the name", async () => {
    const listenPort = await freePort();
    await using bench = await Bench.start(await sites({ word: "app", listenPort, names: "host: app.test" }));
    using half = await connect(listenPort);
    half.send("GET / HTTP/1.1\r\nHost: app");
    await bench.reload(`  app: { ports: ["127.0.0.1:${listenPort}"], inetd: { command: [/bin/cat] } }\n`);
    half.send(".test\r\n\r\nand more");
    assert.equal(await half.ended(), "ECONNRESET");
    assert.equal(half.text, "");
    assert.equal((await bench.program.logged("client.unrouted"))["reason"], "closing");
    using whole = await connect(listenPort);
    whole.end("all of it");
    await eventually("an echo", () => whole.text === "all of it");
  });

  test("a silent client does not delay shutdown", async () => {
    const listenPort = await freePort();
    await using bench = await Bench.start(await sites({ word: "app", listenPort, names: "host: app.test" }));
    using silent = connecting(listenPort);
    await eventually("the connection is accepted", () => !silent.socket.connecting);
    bench.program.child.kill("SIGTERM");
    assert.equal((await bench.program.finished()).code, 0);
    assert.notEqual(await silent.ended(), "open");
  });
});
