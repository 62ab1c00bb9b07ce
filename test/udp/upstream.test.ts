import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Upstream } from "../../src/udp/upstream.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import { UdpServer } from "../support/net/udp.ts";

checkLeaks();

const { signal } = new AbortController();

interface Heard {
  readonly answers: string[];
  readonly losses: string[];
}

async function open(port: number, host = "127.0.0.1"): Promise<Upstream & { readonly heard: Heard }> {
  const heard: Heard = { answers: [], losses: [] };
  const upstream = await Upstream.open({
    host,
    port,
    signal,
    onAnswer: (datagram) => heard.answers.push(datagram.toString()),
    onLoss: (reason) => heard.losses.push(reason),
  });
  return Object.assign(upstream, { heard });
}

suite("Upstream", () => {
  test("tells what a knock meets: an answer, silence, a refusal", async () => {
    using answering = await UdpServer.open();
    using silent = await UdpServer.open({ answer: () => undefined });
    const ports = [answering.port, silent.port, await freePort()];
    const verdicts = ["answered", "quiet", "refused"];
    for (const [index, port] of ports.entries()) {
      using upstream = await open(port);
      assert.equal(await upstream.knock(Buffer.from("knock"), signal), verdicts[index]);
      assert.deepEqual(upstream.heard, { answers: index === 0 ? ["knock"] : [], losses: [] });
    }
  });

  test("gives a knock up when it is told to", async () => {
    using silent = await UdpServer.open({ answer: () => undefined });
    using upstream = await open(silent.port);
    await assert.rejects(upstream.knock(Buffer.from("knock"), AbortSignal.abort(new Error("gone"))), /gone/);
  });

  test("finds a host by its name, over IPv4 where there is that", async () => {
    using server = await UdpServer.open();
    using upstream = await open(server.port, "localhost");
    upstream.send(Buffer.from("word"));
    await eventually("an echo", () => upstream.heard.answers.length === 1);
  });

  test("rejects a host that has no address", async () => {
    await assert.rejects(open(1, "nothing.invalid"), { syscall: "getaddrinfo" });
  });

  test("survives refusals, and what is sent to it after its end", async () => {
    const upstream = await open(await freePort());
    upstream.send(Buffer.from("one"));
    await eventually("the refusal is told", () => upstream.heard.losses.length === 1);
    assert.deepEqual(upstream.heard.losses, ["refused"]);
    upstream.send(Buffer.from("two"));
    upstream.close();
    upstream.close();
    upstream.send(Buffer.from("three"));
  });
});
