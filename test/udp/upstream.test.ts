import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Upstream } from "../../src/udp/upstream.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import { UdpServer } from "../support/net/udp.ts";

checkLeaks();

const { signal } = new AbortController();

interface Events {
  readonly answers: string[];
  readonly losses: string[];
}

async function open(port: number, host = "127.0.0.1"): Promise<Upstream & { readonly events: Events }> {
  const events: Events = { answers: [], losses: [] };
  const upstream = await Upstream.open({
    host,
    port,
    signal,
    onAnswer: (datagram) => events.answers.push(datagram.toString()),
    onLoss: (reason) => events.losses.push(reason),
  });
  return Object.assign(upstream, { events });
}

suite("Upstream", () => {
  test("sendAndWait() returns true after an answer or a silence, and false after a refusal", async () => {
    using answering = await UdpServer.open();
    using silent = await UdpServer.open({ answer: () => undefined });
    const ports = [answering.port, silent.port, await freePort()];
    const results = [true, true, false];
    for (const [index, port] of ports.entries()) {
      using upstream = await open(port);
      assert.equal(await upstream.sendAndWait(Buffer.from("word"), signal), results[index]);
      assert.deepEqual(upstream.events, { answers: index === 0 ? ["word"] : [], losses: [] });
    }
  });

  test("sendAndWait() rejects with the reason of its signal", async () => {
    using silent = await UdpServer.open({ answer: () => undefined });
    using upstream = await open(silent.port);
    await assert.rejects(upstream.sendAndWait(Buffer.from("word"), AbortSignal.abort(new Error("gone"))), /gone/);
  });

  test("resolves a host name, and prefers IPv4", async () => {
    using server = await UdpServer.open();
    using upstream = await open(server.port, "localhost");
    upstream.send(Buffer.from("word"));
    await eventually("an echo", () => upstream.events.answers.length === 1);
  });

  test("rejects a host that has no address", async () => {
    await assert.rejects(open(1, "nothing.invalid"), { syscall: "getaddrinfo" });
  });

  test("survives refusals, and ignores datagrams after close()", async () => {
    const upstream = await open(await freePort());
    upstream.send(Buffer.from("one"));
    await eventually("the refusal is reported", () => upstream.events.losses.length === 1);
    assert.deepEqual(upstream.events.losses, ["refused"]);
    upstream.send(Buffer.from("two"));
    upstream.close();
    upstream.close();
    upstream.send(Buffer.from("three"));
  });
});
