/** Consecutive reloads, and reloads in which services swap their settings. */
import assert from "node:assert/strict";
import dgram from "node:dgram";
import { once } from "node:events";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { connect, connecting } from "../support/net/tcp.ts";
import { UdpClient } from "../support/net/udp.ts";
import { Bench, echoService, greeting, isAlive, isRefused } from "../support/program/reloading.ts";

const echoDatagrams = `const socket = require("dgram").createSocket("udp4");
socket.on("message", (datagram, from) => socket.send(process.argv[2] + datagram, from.port, from.address));
socket.bind(Number(process.argv[1]), "127.0.0.1");`;

function udpService(name: string, listeners: readonly number[], upstream: number, word: string): string {
  const ports = listeners.map((listenPort) => `"127.0.0.1:${listenPort}:${upstream}/udp"`).join(", ");
  const command = JSON.stringify([process.execPath, "-e", echoDatagrams, String(upstream), word]);
  return `  ${name}: { ports: [${ports}], process: { command: ${command}, listen: "127.0.0.1:${upstream}" } }\n`;
}

async function answer(port: number): Promise<string> {
  using client = await UdpClient.open(port);
  await eventually("a reply", () => {
    if (client.received.length === 0) client.send("?");
    return client.received.length > 0;
  });
  return client.received[0] ?? "";
}

suite("wakeport run, reloaded repeatedly", () => {
  test("changes a service that the previous reload left unchanged", async () => {
    const [a, b, up] = [await freePort(), await freePort(), await freePort()];
    const other = `  b: { ports: ["127.0.0.1:${b}"], builtin: echo }\n`;
    await using bench = await Bench.start(echoService("a", a, up));
    using client = await connect(a);
    await greeting(client);
    client.end();
    await bench.reload(echoService("a", a, up) + other);
    await bench.reload(echoService("a", a, up, "one", ", idle_timeout: 100ms") + other);
    await bench.program.logged("target.asleep");
  });

  test("removes a service that the previous reload left unchanged", async () => {
    const [a, b, up] = [await freePort(), await freePort(), await freePort()];
    const other = `  b: { ports: ["127.0.0.1:${b}"], builtin: echo }\n`;
    await using bench = await Bench.start(echoService("a", a, up));
    using client = await connect(a);
    const pid = Number.parseInt(await greeting(client), 10);
    client.end();
    await bench.reload(echoService("a", a, up) + other);
    await bench.reload(other);
    await eventually("the old port is closed", () => isRefused(a));
    await eventually("the old process ends", () => !isAlive(pid));
  });

  test("swaps the ports of two services", async () => {
    const [a, b, up, up2] = [await freePort(), await freePort(), await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", a, up, "one") + echoService("b", b, up2, "two"));
    await bench.reload(echoService("a", b, up, "one") + echoService("b", a, up2, "two"));
    using first = await connect(b);
    using second = await connect(a);
    assert.match(await greeting(first), / one$/);
    assert.match(await greeting(second), / two$/);
  });

  test("swaps UDP ports of two services", async () => {
    const [a, b, up, up2] = [await freePort(), await freePort(), await freePort(), await freePort()];
    await using bench = await Bench.start(udpService("a", [a], up, "one") + udpService("b", [b], up2, "two"));
    assert.equal(await answer(a), "one?");
    assert.equal(await answer(b), "two?");
    await bench.reload(udpService("a", [b], up, "one") + udpService("b", [a], up2, "two"));
    assert.equal(await answer(a), "two?");
    assert.equal(await answer(b), "one?");
  });

  test("binds a UDP port again while old flows are open", async () => {
    const [a, up, other] = [await freePort(), await freePort(), await freePort()];
    const rest = `  z: { ports: ["127.0.0.1:${other}"], builtin: echo }\n`;
    await using bench = await Bench.start(udpService("a", [a], up, "one") + rest);
    assert.equal(await answer(a), "one?");
    await bench.reload(rest);
    await bench.reload(udpService("b", [a], up, "two") + rest);
    assert.equal(await answer(a), "two?");
  });

  test("changes nothing if a UDP port cannot be bound", async () => {
    const [a, up] = [await freePort(), await freePort()];
    const taken = dgram.createSocket("udp4").bind(0, "127.0.0.1");
    await once(taken, "listening");
    try {
      await using bench = await Bench.start(udpService("a", [a], up, "one"));
      assert.equal(await answer(a), "one?");
      const wrong = udpService("a", [a, taken.address().port], up, "two");
      const { error } = await bench.reload(wrong, "config.reload_failed");
      assert.match(String(error), /service "a" cannot listen on .*\/udp: the port is in use/);
      assert.equal(await answer(a), "one?");
    } finally {
      taken.close();
    }
  });

  for (const [what, wrong] of [
    ["inetd", 'inetd: { command: ["/bin/cat"], user: no-such-user }'],
    ["a process", 'process: { command: ["/bin/cat"], user: no-such-user, listen: "127.0.0.1:1" }'],
  ] as const) {
    test(`changes nothing if the account of ${what} does not exist`, async () => {
      const [a, b, up] = [await freePort(), await freePort(), await freePort()];
      await using bench = await Bench.start(echoService("a", a, up));
      const next = `${echoService("a", a, up, "two")}  b: { ports: ["127.0.0.1:${b}"], ${wrong} }\n`;
      const { error } = await bench.reload(next, "config.reload_failed");
      assert.match(String(error), /there is no user "no-such-user"/);
      using client = await connect(a);
      assert.match(await greeting(client), / one$/);
      assert.equal(await isRefused(b), true);
      await bench.reload(echoService("a", a, up, "three"));
      client.end();
      using another = await connect(a);
      assert.match(await greeting(another), / three$/);
    });
  }

  test("starts a process after all earlier users of its port have ended", async () => {
    const [a, up] = [await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", a, up));
    using client = await connect(a);
    await greeting(client);
    await bench.reload(echoService("a", a, up, "two"));
    await bench.reload(echoService("a", a, up, "three"));
    using newcomer = connecting(a);
    await eventually("the connection is accepted", () => !newcomer.socket.connecting);
    client.send("word\n");
    await eventually("an echo", () => client.text.endsWith("word\n"));
    client.end();
    assert.match(await greeting(newcomer), / three$/);
  });

  test("serves a client that waits for a changed process from the new process", async () => {
    const [a, up] = [await freePort(), await freePort()];
    const lasting = JSON.stringify([process.execPath, "-e", "setInterval(() => {}, 1000)"]);
    const deaf = `  a: { ports: ["127.0.0.1:${a}"], process: { command: ${lasting}, listen: "127.0.0.1:${up}" } }\n`;
    await using bench = await Bench.start(deaf);
    using client = connecting(a);
    await bench.program.logged("target.starting");
    await bench.reload(echoService("a", a, up, "two"));
    assert.match(await greeting(client), / two$/);
  });

  test("serves a waiting client from the new process if the service was renamed", async () => {
    const [a, up] = [await freePort(), await freePort()];
    await using bench = await Bench.start(echoService("a", a, up));
    using client = await connect(a);
    await greeting(client);
    await bench.reload(echoService("b", a, up, "two"));
    using newcomer = connecting(a);
    await eventually("the connection is accepted", () => !newcomer.socket.connecting);
    client.send("word\n");
    await eventually("an echo", () => client.text.endsWith("word\n"));
    client.end();
    assert.match(await greeting(newcomer), / two$/);
  });
});
