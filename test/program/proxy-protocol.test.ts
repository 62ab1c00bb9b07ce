/** The PROXY protocol with HAProxy in front of wakeport and behind it, and with curl. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect, type Peer, PeerServer } from "../support/net/tcp.ts";
import { Bench, isRefused } from "../support/program/reloading.ts";
import { run } from "../support/program/run.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const HAPROXY = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"].find((file) => existsSync(file));
const needsHaproxy = { skip: HAPROXY === undefined && "needs haproxy: run test/engine/tools" };

const head = `global
  maxconn 100
defaults
  mode tcp
  timeout connect 5s
  timeout client 20s
  timeout server 20s
`;

/** Sends the client address that it received in the header. */
function headerReporter(port: number): string {
  return `${head}frontend reporter
  mode http
  bind 127.0.0.1:${port} accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[dst_port]\\n"
`;
}

/** Forwards clients to wakeport with a PROXY header. */
function passing(port: number, wakeport: number, how: string): string {
  return `${head}listen passes
  bind 127.0.0.1:${port}
  server wakeport 127.0.0.1:${wakeport} ${how}
`;
}

async function haproxy(config: string, port: number): Promise<AsyncDisposable> {
  const file = await temporaryFile("haproxy.cfg", config);
  const child = spawn(HAPROXY ?? "haproxy listens", ["-db", "-f", file.path], { stdio: "ignore" });
  const exited = new Promise((resolve) => child.once("close", resolve));
  await eventually("haproxy listens", async () => !(await isRefused(port)));
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await exited;
      await file[Symbol.asyncDispose]();
    },
  };
}

/** Connects from an address of this machine. */
async function curlFrom(address: string, port: number, ...more: readonly string[]): Promise<string> {
  return (await run("curl", ["-sS", "--interface", address, ...more, `http://127.0.0.1:${port}/`])).stdout;
}

suite("the PROXY protocol", () => {
  for (const [sent, received] of [
    ["v1", "send-proxy"],
    ["v2", "send-proxy-v2"],
    ["v1", "send-proxy-v2-ssl-cn"],
  ] as const) {
    test(
      `from HAProxy (${received}) through wakeport (${sent}) to HAProxy: each knows the client's address`,
      needsHaproxy,
      async () => {
        const [listenPort, back, behind] = [await freePort(), await freePort(), await freePort()];
        await using config = await temporaryFile("haproxy.cfg", headerReporter(back));
        const command = JSON.stringify([HAPROXY, "-db", "-f", config.path]);
        const more = `access: { deny: [127.0.0.7] }, proxy_protocol: { receive: [127.0.0.1], send: ${sent} }, ready: [tcp, { http: / }]`;
        await using bench = await Bench.start(
          `  web: { ports: ["127.0.0.1:${listenPort}"], process: { command: ${command}, listen: "127.0.0.1:${back}" }, ${more} }\n`,
        );
        await using _passes = await haproxy(passing(behind, listenPort, received), behind);
        assert.equal(await curlFrom("127.0.0.5", behind), `127.0.0.5 ${behind}\n`);
        const closed = (address: string): unknown =>
          bench.program.log.find(
            ({ event, client }) => event === "connection.closed" && String(client).startsWith(address),
          )?.["outcome"];
        await eventually("the connection is logged", () => closed("127.0.0.5:") === "relayed");
        // The address of the connection itself counts.
        assert.equal(await curlFrom("127.0.0.7", behind), "");
        await eventually("the connection is rejected", () => closed("127.0.0.7:") === "denied_address");
        // A peer that is not the proxy is a client, and its header is payload.
        assert.equal(await curlFrom("127.0.0.6", listenPort), `127.0.0.6 ${listenPort}\n`);
        assert.equal(await curlFrom("127.0.0.1", listenPort), "");
        assert.equal(
          await bench.metric(`wakeport_unrouted_total{listener="127.0.0.1:${listenPort}",reason="malformed"}`),
          "1",
        );
        assert.equal(await curlFrom("127.0.0.1", listenPort, "--haproxy-protocol"), `127.0.0.1 ${listenPort}\n`);
      },
    );
  }

  test("to a forward, and from a proxy whose health checks only connect", needsHaproxy, async () => {
    const [listenPort, back, behind] = [await freePort(), await freePort(), await freePort()];
    await using bench = await Bench.start(
      `  web: { ports: ["127.0.0.1:${listenPort}"], forward: "127.0.0.1:${back}", monitors: [127.0.0.1], proxy_protocol: { receive: [127.0.0.1], send: v2 } }\n`,
    );
    await using _reporter = await haproxy(headerReporter(back), back);
    const checking = "send-proxy-v2 check check-send-proxy inter 100ms";
    await using _passes = await haproxy(passing(behind, listenPort, checking), behind);
    assert.equal(await curlFrom("127.0.0.5", behind), `127.0.0.5 ${behind}\n`);
    // HAProxy resets a health check after the header. If the reset precedes accept, the address of the peer is unknown.
    const accepted = 'wakeport_connections_total{service="web",outcome="served"}';
    const resetEarly = `wakeport_unrouted_total{listener="127.0.0.1:${listenPort}",reason="client_gone"}`;
    const healthChecks = async (): Promise<number> =>
      Number((await bench.metric(accepted)) ?? 0) + Number((await bench.metric(resetEarly)) ?? 0);
    const before = await healthChecks();
    await eventually("health checks of the proxy", async () => (await healthChecks()) > before + 2);
    assert.equal(await curlFrom("127.0.0.6", behind), `127.0.0.6 ${behind}\n`);
  });

  test("the target receives the header first, once for each client, and its bytes are not counted", async () => {
    const listenPort = await freePort();
    await using server = await PeerServer.open();
    await using bench = await Bench.start(
      `  web: { ports: ["127.0.0.1:${listenPort}"], forward: "127.0.0.1:${server.port}", proxy_protocol: { send: v1 } }\n`,
    );
    using client = await connect(listenPort);
    const { localPort } = client.socket;
    client.send("hello");
    const peer = await server.accepted();
    const header = `PROXY TCP4 127.0.0.1 127.0.0.1 ${localPort} ${listenPort}\r\n`;
    await peer.receives(header.length + 5);
    assert.equal(peer.text, `${header}hello`);
    client.end();
    peer.end();
    const { bytes_in: bytesIn } = await bench.program.logged("connection.closed");
    assert.equal(bytesIn, 5);
  });

  test("limits, bans and the log use the address of the header", async () => {
    const [echo, trap] = [await freePort(), await freePort()];
    const receive = "proxy_protocol: { receive: [127.0.0.1] }";
    await using bench = await Bench.start(
      `  echo: { ports: ["127.0.0.1:${echo}"], builtin: echo, limits: { per_source: 1 }, ${receive} }
  trap: { ports: ["127.0.0.1:${trap}"], sensor: { ban: 1m }, ${receive} }`,
    );
    const clientOf = async (port: number, address: string): Promise<Peer> => {
      const client = await connect(port);
      client.send(`PROXY TCP4 ${address} 198.51.100.1 4711 80\r\nhello`);
      return client;
    };
    const closed = (address: string): unknown[] =>
      bench.program.log
        .filter(({ event, client }) => event === "connection.closed" && client === `${address}:4711`)
        .map(({ reason }) => reason ?? "served");
    using first = await clientOf(echo, "203.0.113.1");
    await first.receives(5);
    using second = await clientOf(echo, "203.0.113.2");
    await second.receives(5);
    using again = await clientOf(echo, "203.0.113.1");
    assert.notEqual(await again.ended(), "open");
    await eventually("the connection is rejected", () => closed("203.0.113.1").includes("per_source_limit"));

    using trapped = await clientOf(trap, "203.0.113.3");
    assert.notEqual(await trapped.ended(), "open");
    const { source } = await bench.program.logged("source.banned");
    assert.equal(source, "203.0.113.3");
    using banned = await clientOf(echo, "203.0.113.3");
    assert.notEqual(await banned.ended(), "open");
    await eventually("another rejection", () => closed("203.0.113.3").includes("banned"));
    // The proxy itself is not banned and continues to forward other clients.
    using third = await clientOf(echo, "203.0.113.4");
    await third.receives(5);
  });

  test("a banner probe sends the header that the target expects", async () => {
    const [listenPort, back] = [await freePort(), await freePort()];
    const greeter = `require("net").createServer((s) => s.on("error", () => {}).once("data", (head) => {
      s.write(head.toString("latin1").startsWith("PROXY ") ? "220 " + head.toString("latin1") : "500 no header\\r\\n"); s.end(); }))
      .listen(Number(process.argv[1]), "127.0.0.1")`;
    const command = JSON.stringify([process.execPath, "-e", greeter, String(back)]);
    await using _bench = await Bench.start(
      `  ftp: { ports: ["127.0.0.1:${listenPort}"], process: { command: ${command}, listen: "127.0.0.1:${back}" }, ready: { banner: "220" }, proxy_protocol: { send: v1 } }\n`,
    );
    using client = await connect(listenPort);
    assert.equal(await client.ended(), "ended");
    assert.equal(client.text, `220 PROXY TCP4 127.0.0.1 127.0.0.1 ${client.socket.localPort} ${listenPort}\r\n`);
  });
});
