/** Data ports of the real program, with a local process behind them. */
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { Peer } from "../support/net/tcp.ts";
import { Bench, isRefused } from "../support/program/reloading.ts";

/** Listens on 127.0.0.2, sends the address of the client on each port, then echoes. */
const server = `for (const port of process.argv.slice(1)) require("net").createServer((s) => {
  s.on("error", () => {}); s.write("220 " + s.remoteAddress + "\\n"); s.pipe(s);
}).listen(Number(port), "127.0.0.2");`;

interface Ports {
  readonly control: number;
  readonly data: readonly number[];
}

async function ports(): Promise<Ports> {
  return { control: await freePort(), data: [await freePort(), await freePort()] };
}

/** A service whose process listens on all of its ports. */
function serviceOf({ control, data }: Ports, shown: readonly number[], more = ""): string {
  const command = JSON.stringify([process.execPath, "-e", server, String(control), ...data.map(String)]);
  const listeners = JSON.stringify(shown.map((port) => `127.0.0.1:${port}`));
  const listened = shown.length === 0 ? "" : `data: ${listeners},`;
  return `  ftp: { ports: ["127.0.0.1:${control}"], ${listened}
    process: { command: ${command}, listen: "127.0.0.2:${control}" }, stop_grace: 1s${more} }\n`;
}

async function connected(port: number, localAddress = "127.0.0.1"): Promise<Peer> {
  const socket = net.connect({ port, host: "127.0.0.1", localAddress, allowHalfOpen: true });
  const peer = new Peer(socket);
  await eventually(`a connection to ${port}`, () => !socket.connecting);
  return peer;
}

async function greeted(peer: Peer): Promise<string> {
  await eventually("a greeting", () => peer.text.includes("\n") || peer.fate !== "open");
  return peer.text.trim();
}

const denied = 'wakeport_connections_denied_total{service="ftp",reason="no_control"}';
const starts = 'wakeport_activations_total{service="ftp",outcome="ready"}';

suite("data ports", () => {
  test("reject 200 scanners without a start", async () => {
    const own = await ports();
    await using bench = await Bench.start(serviceOf(own, own.data));
    for (let scans = 0; scans < 200; scans += 1) {
      using peer = await connected(own.data[scans % 2]!);
      await eventually("the connection is rejected", () => peer.fate !== "open");
    }
    assert.equal(await bench.metric(denied), "200");
    assert.equal(await bench.metric(starts), "0");
    const [line] = bench.program.log.filter(({ event }) => event === "connection.closed");
    assert.deepEqual([line?.["outcome"], line?.["reason"]], ["denied_address", "no_control"]);
  });

  test("accept the client of a PROXY header, directly or through the proxy, and expect no header", async () => {
    const own = await ports();
    const more = ", proxy_protocol: { receive: [127.0.0.3] }";
    await using bench = await Bench.start(serviceOf(own, own.data, more));
    using control = await connected(own.control, "127.0.0.3");
    control.send("PROXY TCP4 127.0.0.4 198.51.100.1 4711 21\r\n");
    const greeting = await greeted(control);
    using proxied = await connected(own.data[0]!, "127.0.0.3");
    assert.equal(await greeted(proxied), greeting);
    using direct = await connected(own.data[1]!, "127.0.0.4");
    assert.equal(await greeted(direct), greeting);
    using outsider = await connected(own.data[0]!, "127.0.0.5");
    await eventually("the connection is rejected", () => outsider.fate !== "open");
    assert.equal(await bench.metric(denied), "1");
  });

  test("accept the address that has a control connection, and dial from that address", async () => {
    const own = await ports();
    await using bench = await Bench.start(
      serviceOf(own, own.data, ", limits: { connections: 1, rate: 1/h, waiting: 1 }"),
    );
    using control = await connected(own.control);
    const greeting = await greeted(control);
    using data = await connected(own.data[0]!);
    using more = await connected(own.data[1]!);
    assert.equal(await greeted(data), greeting);
    assert.equal(await greeted(more), greeting);
    using outsider = await connected(own.data[0]!, "127.0.0.7");
    assert.notEqual(await greeted(outsider), greeting);
    assert.equal(await bench.metric(denied), "1");
    control.end();
    await eventually("the control connection ends", () => control.fate === "ended");
    using late = await connected(own.data[0]!);
    assert.equal(await greeted(late), "");
    data.send("continues\n");
    await eventually("the data connection continues", () => data.text.endsWith("continues\n"));
  });

  test("keep the target awake after the control connection has ended, until they are closed", async () => {
    const own = await ports();
    await using bench = await Bench.start(serviceOf(own, own.data, ", idle_timeout: 50ms"));
    const control = await connected(own.control);
    await greeted(control);
    using data = await connected(own.data[0]!);
    await greeted(data);
    const activity = async (): Promise<number> =>
      Number(await bench.metric('wakeport_last_activity_timestamp_seconds{service="ftp"}'));
    const before = await activity();
    {
      using other = await connected(own.data[1]!);
      await greeted(other);
    }
    await eventually("the last activity is updated", async () => (await activity()) > before);
    control.end();
    await bench.program.logged("connection.closed", 2);
    // Six idle timeouts long, each word is echoed.
    for (let word = 0; word < 6; word += 1) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      data.send(`${word}\n`);
      await eventually("an echo", () => data.text.endsWith(`${word}\n`));
    }
    assert.deepEqual(
      bench.program.log.filter(({ event }) => event === "target.asleep"),
      [],
    );
    data.end();
    await bench.program.logged("target.asleep");
    assert.equal(await bench.metric(starts), "1");
  });

  test("are added and removed by a reload, which keeps control connections open", async () => {
    const own = await ports();
    const [first, second] = own.data as [number, number];
    await using bench = await Bench.start(serviceOf(own, [first]));
    using control = await connected(own.control);
    await greeted(control);
    using transfer = await connected(first);
    await greeted(transfer);
    await bench.reload(serviceOf(own, [second]));
    await eventually("the old port is closed", () => isRefused(first));
    using data = await connected(second);
    assert.match(await greeted(data), /^220 /);
    await bench.reload(serviceOf(own, []));
    await eventually("all ports are closed", () => isRefused(second));
    await bench.reload(serviceOf(own, own.data, ", access: { deny: [127.0.0.7] }"));
    using again = await connected(first);
    assert.match(await greeted(again), /^220 /);
    for (const peer of [control, transfer, data]) {
      peer.send("still there?\n");
      await eventually("an echo", () => peer.text.endsWith("still there?\n"));
    }
  });

  test("are no longer announced by FTP after a reload that removes them or their service", async () => {
    const [own, other] = [await ports(), await ports()];
    const ftp = ", protocol: ftp";
    const stays = serviceOf(other, []).replace("ftp:", "other:");
    for (const services of [serviceOf(own, [], ftp) + stays, stays]) {
      await using bench = await Bench.start(serviceOf(own, own.data, ftp) + stays);
      using control = await connected(own.control);
      await greeted(control);
      await bench.reload(services);
      const reported = control.received;
      // The server sends the text that it receives.
      control.send(`229 (|||${own.data[0]}|)\r\n`);
      await eventually("the reply", () => control.text.slice(reported).includes("\n"));
      const [, port] = /^229 \(\|\|\|(\d+)\|\)/.exec(control.text.slice(reported)) ?? [];
      using data = await connected(Number(port));
      assert.match(await greeted(data), /^220 /);
    }
  });

  test("reject addresses that a reload denies, even with an open control connection", async () => {
    const own = await ports();
    await using bench = await Bench.start(serviceOf(own, own.data));
    using control = await connected(own.control);
    await greeted(control);
    await bench.reload(serviceOf(own, own.data, ", access: { deny: [127.0.0.1] }"));
    using data = await connected(own.data[0]!);
    assert.equal(await greeted(data), "");
    assert.equal(await bench.metric('wakeport_connections_denied_total{service="ftp",reason="address"}'), "1");
  });

  test("stay open while wakeport drains, only for clients with a control connection", async () => {
    const own = await ports();
    await using bench = await Bench.start(serviceOf(own, own.data));
    using control = await connected(own.control);
    await greeted(control);
    bench.program.child.kill("SIGTERM");
    await bench.program.logged("shutdown.begin");
    await eventually("the listeners for new clients are closed", () => isRefused(own.control));
    using outsider = await connected(own.data[1]!, "127.0.0.7");
    assert.equal(await greeted(outsider), "");
    using data = await connected(own.data[0]!);
    assert.match(await greeted(data), /^220 /);
    control.end();
    await eventually("the control connection ends", () => control.fate === "ended");
    data.end("the last words\n");
    await eventually("the transfer ends", () => data.fate === "ended");
    assert.ok(data.text.endsWith("the last words\n"));
    if (bench.program.child.exitCode === null) await once(bench.program.child, "exit");
    assert.equal(bench.program.child.exitCode, 0);
    assert.ok(await isRefused(own.data[0]!));
  });
});
