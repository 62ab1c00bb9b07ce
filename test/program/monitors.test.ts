/** Health checks of monitors that only connect, with the real program. */
import assert from "node:assert/strict";
import dgram from "node:dgram";
import net from "node:net";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect, Peer } from "../support/net/tcp.ts";
import { Bench, echoService } from "../support/program/reloading.ts";

const MONITOR = "127.0.0.9";
const monitors = `, monitors: [${MONITOR}]`;
const starts = 'wakeport_activations_total{service="a",outcome="ready"}';
const served = 'wakeport_connections_total{service="a",outcome="served"}';

/** Connects like a monitor and waits for the end. @returns the received text and the end */
async function check(port: number): Promise<readonly [reported: string, fate: string]> {
  using peer = new Peer(net.connect({ port, host: "127.0.0.1", localAddress: MONITOR, allowHalfOpen: true }));
  await eventually("the health check ends", () => peer.fate !== "open");
  peer.end();
  return [peer.text, peer.fate];
}

suite("monitors", () => {
  test("get an orderly close 200 times, and start nothing", async () => {
    const [port, up] = [await freePort(), await freePort()];
    const limits = ", limits: { connections: 1, rate: 1/h }, access: { deny: [127.0.0.9] }, on_deny: reset";
    await using bench = await Bench.start(echoService("a", port, up, "one", monitors + limits));
    for (let count = 0; count < 200; count += 1) assert.deepEqual(await check(port), ["", "ended"]);
    assert.equal(await bench.metric(served), "200");
    assert.equal(await bench.metric(starts), "0");
    assert.equal(await bench.metric('wakeport_connection_duration_seconds_count{service="a"}'), "0");
    assert.deepEqual(
      bench.program.log.filter(({ event }) => event === "connection.closed"),
      [],
      "health checks are not logged",
    );
    using client = await connect(port);
    await eventually("a client is served within its limits", () => client.text.includes("one"));
  });

  test("do not keep a target awake by a check every 100 ms", async () => {
    const [port, up] = [await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", port, up, "one", `${monitors}, idle_timeout: 500ms`));
    using client = await connect(port);
    await eventually("a greeting", () => client.text.includes("one"));
    let looked = 0;
    const looking = setInterval(() => void check(port).then(() => (looked += 1)), 100);
    client.end();
    await bench.program.logged("target.asleep").finally(() => clearInterval(looking));
    assert.ok(looked >= 3, `only ${looked} looked`);
    assert.equal(await bench.metric(starts), "1");
  });

  test("start nothing if they disconnect before they are identified", async () => {
    const [port, up, behind, upToo] = [await freePort(), await freePort(), await freePort(), await freePort()];
    const proxied = `${monitors}, proxy_protocol: { receive: [${MONITOR}] }`;
    await using bench = await Bench.start(
      echoService("a", port, up, "one", monitors) + echoService("b", behind, upToo, "two", proxied),
    );
    bench.program.child.kill("SIGSTOP");
    // The kernel completes the connections, and wakeport accepts them after they were closed.
    for (const [at, words] of [[port, "x"] as const, [behind, "PROXY UNKNOWN\r\n"] as const]) {
      using peer = await connect(at);
      await new Promise<void>((sent) => peer.socket.write(words, () => sent()));
      peer.reset();
    }
    bench.program.child.kill("SIGCONT");
    const gone = 'wakeport_connections_total{service="a",outcome="client_gone"}';
    await eventually("the connection is counted", async () => (await bench.metric(gone)) === "1");
    const unrouted = `wakeport_unrouted_total{listener="127.0.0.1:${behind}",reason="client_gone"}`;
    await eventually(
      "the connection without a PROXY header is counted",
      async () => (await bench.metric(unrouted)) === "1",
    );
    assert.equal(await bench.metric(starts), "0");
    assert.equal(await bench.metric(starts.replace('"a"', '"b"')), "0");
  });

  test("are closed by every kind of service, and not banned by a sensor", async () => {
    const ports = { echo: await freePort(), trap: await freePort(), old: await freePort(), classic: await freePort() };
    const of = (name: keyof typeof ports, rest: string): string =>
      `  ${name}: { ports: ["127.0.0.1:${ports[name]}"], ${rest} }\n`;
    await using bench = await Bench.start(
      `${of("echo", `builtin: daytime${monitors}`)}${of("trap", `sensor: { ban: 1h }${monitors}`)}` +
        `${of("old", `forward: "127.0.0.1:1"${monitors}`)}${of("classic", `inetd: { command: [cat] }${monitors}`)}`,
    );
    for (const port of Object.values(ports)) assert.deepEqual(await check(port), ["", "ended"]);
    for (const service of Object.keys(ports)) {
      assert.equal(await bench.metric(`wakeport_connections_total{service="${service}",outcome="served"}`), "1");
    }
    assert.deepEqual(
      bench.program.log.filter(({ event }) => event === "source.banned"),
      [],
    );
  });

  test("need not send a host name if all services of the port list them", async () => {
    const [port, one, two] = [await freePort(), await freePort(), await freePort()];
    const site = (name: string, up: number, more: string): string =>
      echoService(name, port, up, name, `, host: ${name}.test${more}`);
    await using bench = await Bench.start(site("a", one, monitors) + site("b", two, monitors));
    assert.deepEqual(await check(port), ["", "ended"]);
    assert.equal(await bench.metric('wakeport_connections_total{service="b",outcome="served"}'), "1");
    await bench.reload(site("a", one, monitors) + site("b", two, ""));
    using peer = new Peer(net.connect({ port, host: "127.0.0.1", localAddress: MONITOR, allowHalfOpen: true }));
    peer.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert.equal(await peer.ended(), "ended");
    assert.equal(peer.text, "", "the named service lists the monitor");
    peer.end();
    await eventually("the connection is counted", async () => (await bench.metric(served)) === "1");
    assert.equal(await bench.metric(starts), "0");
  });

  test("can be changed by a reload, for datagrams too", async () => {
    const [port, up] = [await freePort(), await freePort()];
    const program = `require("dgram").createSocket("udp4").on("message", function (word, from) {
      this.send(word, from.port, from.address); }).bind(${up}, "127.0.0.1")`;
    const command = JSON.stringify([process.execPath, "-e", program]);
    const service = (more: string): string =>
      `  a: { ports: ["127.0.0.1:${port}/udp"], process: { command: ${command}, listen: "127.0.0.1:${up}" }${more} }\n`;
    await using bench = await Bench.start(service(monitors));
    const socket = dgram.createSocket("udp4");
    let received = "";
    socket.on("message", (word) => {
      received += word.toString();
    });
    await new Promise<void>((bound) => socket.bind(0, MONITOR, bound));
    socket.send("ping", port, "127.0.0.1");
    await eventually("the connection is counted", async () => (await bench.metric(served)) === "1");
    assert.equal(await bench.metric(starts), "0");
    await bench.reload(service(""));
    socket.send("pong", port, "127.0.0.1");
    await eventually("a reply", () => received === "pong");
    socket.close();
  });
});
