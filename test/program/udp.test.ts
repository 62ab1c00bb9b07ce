/** `wakeport run` with UDP servers as processes: an echo server and a real DNS server. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { Resolver } from "node:dns/promises";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { suite, test } from "node:test";
import { promisify } from "node:util";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { numbered, UdpClient } from "../support/net/udp.ts";
import { Program } from "../support/program/program.ts";
import { temporaryFile } from "../support/temporary-file.ts";

const PROGRAM = path.join(import.meta.dirname, "../../bin/wakeport");

/** Echoes datagrams from 200 ms after its start, and exits on "die". */
const echo = `const socket = require("dgram").createSocket("udp4");
socket.on("message", (datagram, from) => {
  if (datagram.toString() === "die") process.exit(3);
  socket.send(datagram, from.port, from.address);
});
setTimeout(() => socket.bind(Number(process.argv[1]), "127.0.0.1"), 200);`;

interface Bench extends AsyncDisposable {
  readonly program: Program;
  readonly listenPort: number;
  readonly file: string;
  metric(sample: string): Promise<number | undefined>;
}

/** A wakeport with one UDP service. */
async function start(service: (ports: { listenPort: number; upstream: number }) => string, more = ""): Promise<Bench> {
  await using stack = new AsyncDisposableStack();
  // The port is free for TCP and UDP.
  const [listenPort, upstream, admin] = [await freePort(), await freePort(), await freePort()];
  const yaml = `admin: { listen: "127.0.0.1:${admin}" }\nservices:\n  dns: ${service({ listenPort, upstream })}\n${more}`;
  const file = stack.use(await temporaryFile("wakeport.yaml", yaml));
  const program = stack.use(new Program(["run", "-c", file.path]));
  await program.logged("started");
  const owned = stack.move();
  const metric = async (sample: string): Promise<number | undefined> => {
    const answer = await fetch(`http://127.0.0.1:${admin}/metrics`, { signal: AbortSignal.timeout(5_000) });
    const line = (await answer.text()).split("\n").find((one) => one.startsWith(`${sample} `));
    return line === undefined ? undefined : Number(line.slice(sample.length + 1));
  };
  return { program, listenPort, file: file.path, metric, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Flows last longer than any delay on a busy machine. */
function echoService({ listenPort, upstream }: { listenPort: number; upstream: number }): string {
  const command = JSON.stringify([process.execPath, "-e", echo, String(upstream)]);
  const process_ = `process: { command: ${command}, listen: "127.0.0.1:${upstream}" }`;
  return `{ ports: ["127.0.0.1:${listenPort}/udp"], ${process_}, idle_timeout: 200ms, udp: { flow_timeout: 1500ms } }`;
}

suite("wakeport run with a process that serves datagrams", () => {
  test("wakes it, loses no datagram, stops it, and wakes it again", async () => {
    await using bench = await start(echoService);
    using client = await UdpClient.open(bench.listenPort);
    for (const round of ["first", "second"]) {
      const before = client.received.length;
      const sent = numbered(round, 50);
      client.send(...sent);
      assert.deepEqual((await client.receives(before + 50)).slice(before), sent);
      const turn = round === "first" ? 1 : 2;
      await bench.program.logged("target.asleep", turn);
      const { outcome, end, start: how, listener: listenPort } = await bench.program.logged("connection.closed", turn);
      const expected = {
        outcome: "relayed",
        end: "idle",
        how: "cold",
        listenPort: `127.0.0.1:${bench.listenPort}/udp`,
      };
      assert.deepEqual({ outcome, end, how, listenPort }, expected);
      const starting = await bench.program.logged("target.starting", turn);
      assert.deepEqual([starting["client"], starting["service"]], [`127.0.0.1:${client.port}`, "dns"]);
    }
    assert.equal(await bench.metric(`wakeport_datagrams_total{service="dns",direction="in"}`), 100);
    assert.equal(await bench.metric(`wakeport_datagrams_total{service="dns",direction="out"}`), 100);
    assert.equal(await bench.metric(`wakeport_flows_active{service="dns"}`), 0);
  });

  test("ends the flow when it exits; the next datagram starts it again", async () => {
    await using bench = await start(echoService);
    using client = await UdpClient.open(bench.listenPort);
    await client.echoed("one");
    client.send("die");
    const { end } = await bench.program.logged("connection.closed");
    assert.equal(end, "target_gone");
    await client.echoed("two");
    assert.equal(bench.program.log.filter(({ event }) => event === "target.starting").length, 2);
  });

  test("logs its listener, and drains within a second after a signal", async () => {
    const keeping = (ports: { listenPort: number; upstream: number }): string =>
      echoService(ports).replace("flow_timeout: 1500ms", "flow_timeout: 1h");
    await using bench = await start(keeping, "shutdown: { drain: 10s }\n");
    using client = await UdpClient.open(bench.listenPort);
    await client.echoed("one");
    const began = performance.now();
    bench.program.child.kill("SIGTERM");
    await client.echoed("a last word");
    const { code } = await bench.program.finished();
    assert.equal(code, 0);
    assert.ok(performance.now() - began < 5_000, "a silent flow does not delay shutdown");
    assert.equal((await bench.program.logged("connection.closed"))["end"], "idle");
  });
});

suite("SIGHUP with another flow_timeout", () => {
  test("keeps the port bound: no datagram is refused meanwhile", async () => {
    await using bench = await start(echoService);
    using client = await UdpClient.open(bench.listenPort);
    await client.echoed("before");
    const yaml = await readFile(bench.file, "utf8");
    await writeFile(bench.file, yaml.replace("flow_timeout: 1500ms", "flow_timeout: 1h"));
    const sending = setInterval(() => client.send("meanwhile"), 1);
    bench.program.child.kill("SIGHUP");
    await bench.program.logged("connection.closed").finally(() => clearInterval(sending));
    await client.echoed("after");
    assert.deepEqual(client.errors, []);
    const ends = bench.program.log.filter(({ event }) => event === "connection.closed").map(({ end }) => end);
    assert.deepEqual(ends, ["drained"], "the flow from before the reload ends; the other flow stays open");
  });
});

suite("UDP access rules", () => {
  /** The echo service with one more key. */
  function guarded(key: string): (ports: { listenPort: number; upstream: number }) => string {
    return (ports) => echoService(ports).replace("idle_timeout:", `${key}, idle_timeout:`);
  }

  function denied(reason: string): string {
    return `wakeport_connections_denied_total{service="dns",reason="${reason}"}`;
  }

  const droppedAsDenied = `wakeport_datagrams_dropped_total{service="dns",reason="denied"}`;

  test("are checked before a target is started", async () => {
    await using bench = await start(guarded("access: { deny: [127.0.0.0/8] }"));
    using client = await UdpClient.open(bench.listenPort);
    client.send("one", "two");
    await eventually("both datagrams are dropped", async () => (await bench.metric(droppedAsDenied)) === 2);
    assert.equal(await bench.metric(denied("address")), 2);
    assert.equal(await bench.metric(`wakeport_flows_active{service="dns"}`), 0);
    assert.deepEqual(
      bench.program.log.filter(({ event }) => event === "target.starting"),
      [],
    );
    const { outcome, reason } = await bench.program.logged("connection.closed");
    assert.deepEqual({ outcome, reason }, { outcome: "denied_address", reason: "address" });
  });

  test("limit flows like connections: a flow counts until it ends", async () => {
    await using bench = await start(guarded("limits: { per_source: 1 }"));
    using client = await UdpClient.open(bench.listenPort);
    using other = await UdpClient.open(bench.listenPort);
    await client.echoed("one");
    other.send("too many");
    await eventually("the other flow is rejected", async () => (await bench.metric(denied("per_source_limit"))) === 1);
    assert.equal(await bench.metric(droppedAsDenied), 1);
    await bench.program.logged("target.asleep");
    await other.echoed("now");
  });

  test("are changed by a reload, which keeps open flows and rejects new ones", async () => {
    await using bench = await start((ports) => echoService(ports).replace("flow_timeout: 1500ms", "flow_timeout: 1h"));
    using client = await UdpClient.open(bench.listenPort);
    using other = await UdpClient.open(bench.listenPort);
    await client.echoed("before");
    const yaml = await readFile(bench.file, "utf8");
    await writeFile(bench.file, yaml.replace("idle_timeout:", "access: { deny: [127.0.0.0/8] }, idle_timeout:"));
    bench.program.child.kill("SIGHUP");
    await bench.program.logged("config.reloaded");
    other.send("dropped");
    await eventually("the other flow is rejected", async () => (await bench.metric(denied("address"))) === 1);
    await client.echoed("after");
  });
});

const hasDnsmasq = await promisify(execFile)("dnsmasq", ["--version"]).then(
  () => true,
  () => false,
);

function dnsService(
  { listenPort, upstream }: { listenPort: number; upstream: number },
  udp: string,
  more: readonly string[] = [],
): string {
  const records = ["--address=/wakeport.test/192.0.2.7", ...more];
  const modes = ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--bind-interfaces"];
  const listen = ["--listen-address=127.0.0.1", `--port=${upstream}`, "--pid-file=", "--user=root"];
  const command = JSON.stringify(["dnsmasq", ...modes, ...listen, ...records]);
  const ports = `ports: ["127.0.0.1:${listenPort}/udp", "127.0.0.1:${listenPort}/tcp"]`;
  const target = `process: { command: ${command}, listen: "127.0.0.1:${upstream}" }`;
  return `{ ${ports}, ${target}, idle_timeout: 200ms, udp: { ${udp} } }`;
}

suite("wakeport run with dnsmasq", { skip: hasDnsmasq ? false : "needs dnsmasq: test/engine/tools brings it" }, () => {
  test("replies over UDP and TCP from one server, which sleeps afterwards", async () => {
    const long = "x".repeat(250);
    await using bench = await start((ports) => {
      const records = [1, 2, 3, 4].map((n) => `--txt-record=long.test,${n}${long}`);
      return dnsService(ports, "flow_timeout: 1500ms", records);
    });
    const resolver = new Resolver({ timeout: 5_000, tries: 1 });
    resolver.setServers([`127.0.0.1:${bench.listenPort}`]);
    const answers = await Promise.all(["a", "b", "c", "d"].map((name) => resolver.resolve4(`${name}.wakeport.test`)));
    assert.deepEqual(answers, Array(4).fill(["192.0.2.7"]));
    // The reply is too long for a datagram, so the client repeats the query over TCP.
    assert.equal((await resolver.resolveTxt("long.test")).length, 4);
    await bench.program.logged("target.asleep");
    const listeners = bench.program.log
      .filter(({ event }) => event === "connection.closed")
      .map(({ listener: listenPort }) => listenPort);
    assert.deepEqual([...new Set(listeners)].toSorted(), [
      `127.0.0.1:${bench.listenPort}`,
      `127.0.0.1:${bench.listenPort}/udp`,
    ]);
    assert.equal(bench.program.log.filter(({ event }) => event === "target.starting").length, 1);
    await eventually(
      "an empty flow table",
      async () => (await bench.metric(`wakeport_flows_active{service="dns"}`)) === 0,
    );
  });

  test("replies to each of many queries from different ports, although few flows are allowed", async () => {
    await using bench = await start((ports) => dnsService(ports, "flows: 20, flow_timeout: 10m"));
    for (let question = 0; question < 200; question += 1) {
      // Each query has its own socket.
      const resolver = new Resolver({ timeout: 10_000, tries: 1 });
      resolver.setServers([`127.0.0.1:${bench.listenPort}`]);
      assert.deepEqual(await resolver.resolve4(`q${question}.wakeport.test`), ["192.0.2.7"]);
    }
    assert.equal(await bench.metric(`wakeport_datagrams_dropped_total{service="dns",reason="flows"}`), 0);
    assert.equal(await bench.metric(`wakeport_flows_active{service="dns"}`), 20);
  });
});

const ACTIVATE = "/usr/bin/systemd-socket-activate";
const noActivate = existsSync(ACTIVATE) ? false : `needs ${ACTIVATE}: test/engine/tools brings it`;

suite("wakeport under systemd-socket-activate --datagram", { skip: noActivate }, () => {
  test("replies to the datagram that caused its start", async () => {
    const [listenPort, upstream, admin] = [await freePort(), await freePort(), await freePort()];
    const yaml = `admin: { listen: "127.0.0.1:${admin}" }\nservices: { dns: ${echoService({ listenPort, upstream })} }\n`;
    await using file = await temporaryFile("wakeport.yaml", yaml);
    const environment = ["-E", `PATH=${process.env["PATH"]}`, "-E", "HOME=/tmp"];
    const args = ["--datagram", "-l", `127.0.0.1:${listenPort}`, ...environment, PROGRAM, "run", "-c", file.path];
    const child = spawn(ACTIVATE, args, { stdio: ["ignore", "pipe", "pipe"] });
    const exited = once(child, "exit");
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        output += chunk.toString();
      });
    }
    try {
      await eventually("systemd-socket-activate listens", () => output.includes("Listening on"));
      using client = await UdpClient.open(listenPort);
      await client.echoed("the first");
      await client.echoed("another");
      assert.deepEqual(client.received, ["the first", "another"]);
      assert.doesNotMatch(output, /listen_fds/);
    } finally {
      child.kill("SIGTERM");
      await exited;
    }
  });
});
