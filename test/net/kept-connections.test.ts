import assert from "node:assert/strict";
import type net from "node:net";
import { suite, test } from "node:test";
import { dial } from "../../src/net/dial.ts";
import { keepConnection, takeConnection } from "../../src/net/kept-connections.ts";
import { tcpProbe } from "../../src/readiness/tcp.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { Peer, PeerServer } from "../support/net/tcp.ts";

checkLeaks();

const host = "127.0.0.1";
const signal = new AbortController().signal;

async function kept(port: number): Promise<net.Socket> {
  const socket = await dial({ host, port, timeoutMs: 10_000, signal, isProbe: true });
  keepConnection(host, port, socket);
  return socket;
}

suite("a kept connection", () => {
  test("is the next one that dial() returns, with the bytes that arrived meanwhile", async () => {
    await using server = await PeerServer.open();
    await tcpProbe(server.port).check({ address: host }, signal);
    const peer = await server.accepted();
    peer.send("greeting");
    const socket = await dial({ host, port: server.port, timeoutMs: 10_000, signal });
    const own = new Peer(socket);
    await own.receives("greeting".length);
    assert.equal(own.text, "greeting");
    assert.equal(socket.localPort, peer.socket.remotePort);
    assert.equal(takeConnection(host, server.port), undefined);
    socket.destroy();
  });

  test("is not taken by a probe, by another port or for another source address", async () => {
    await using server = await PeerServer.open();
    const socket = await kept(server.port);
    assert.equal(takeConnection(host, server.port + 1), undefined);
    for (const more of [{ isProbe: true }, { localAddress: "127.0.0.9" }]) {
      const other = await dial({ host, port: server.port, timeoutMs: 10_000, signal, ...more });
      assert.notEqual(other, socket);
      other.destroy();
    }
    takeConnection(host, server.port)?.destroy();
  });

  test("is closed if no client takes it", async () => {
    await using server = await PeerServer.open();
    const socket = await kept(server.port);
    const peer = await server.accepted();
    assert.equal(await peer.ended(), "ended");
    peer.end();
    await eventually("it is closed", () => socket.destroyed);
    assert.equal(takeConnection(host, server.port), undefined);
  });

  test("is closed if another one to the same port is kept", async () => {
    await using server = await PeerServer.open();
    await kept(server.port);
    const first = await server.accepted();
    const second = await kept(server.port);
    assert.equal(await first.ended(), "ended");
    first.end();
    assert.equal(takeConnection(host, server.port), second);
    second.destroy();
  });

  test("is not taken after the server has reset it", async () => {
    await using server = await PeerServer.open();
    const socket = await kept(server.port);
    (await server.accepted()).socket.resetAndDestroy();
    await eventually("the reset arrived", () => socket.destroyed);
    assert.equal(takeConnection(host, server.port), undefined);
  });
});
