import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { suite, test } from "node:test";
import { DeadlineError } from "../../src/errors.ts";
import { type DialOptions, dial } from "../../src/net/dial.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import { connect, countDialling, deafPort, PeerServer } from "../support/net/tcp.ts";

checkLeaks();

const host = "127.0.0.1";
const never = new AbortController().signal;

function dialling(port: number, rest: Partial<DialOptions> = {}): Promise<unknown> {
  return dial({ host, port, timeoutMs: 10_000, signal: never, ...rest });
}

suite("dial()", () => {
  test("returns a socket that stays open after a half-close of the other side", async () => {
    await using server = await PeerServer.open();
    const socket = await dial({ host, port: server.port, timeoutMs: 10_000, signal: never });
    const peer = await server.accepted();
    peer.end();
    await new Promise((resolve) => socket.resume().once("end", resolve));
    socket.end("still here");
    await peer.receives(10);
    assert.equal(await peer.ended(), "ended");
  });

  test("connects from the given source address", async () => {
    await using server = await PeerServer.open();
    const socket = await dial({ host, port: server.port, localAddress: "127.0.0.9", timeoutMs: 10_000, signal: never });
    const peer = await server.accepted();
    assert.equal(peer.socket.remoteAddress, "127.0.0.9");
    socket.destroy();
  });

  test("rejects with the system's error if nothing listens", async () => {
    await assert.rejects(dialling(await freePort()), { code: "ECONNREFUSED" });
  });

  test("rejects with a DeadlineError after its timeout", async () => {
    await using deaf = await deafPort();
    const others = countDialling(deaf.port);
    await assert.rejects(dialling(deaf.port, { timeoutMs: 50 }), (error: unknown) => {
      assert.ok(error instanceof DeadlineError);
      assert.equal(error.message, `127.0.0.1:${deaf.port} did not accept within 0.05 s`);
      return true;
    });
    await eventually("the dial has ended", () => countDialling(deaf.port) <= others);
  });

  test("rejects with the signal's reason if that is aborted during the dial", async () => {
    await using deaf = await deafPort();
    const abort = new AbortController();
    const others = countDialling(deaf.port);
    const reason = new Error("the client left");
    const rejected = assert.rejects(dialling(deaf.port, { signal: abort.signal }), reason);
    await eventually("the dial has begun", () => countDialling(deaf.port) > others);
    abort.abort(reason);
    await rejected;
    await eventually("the dial has ended", () => countDialling(deaf.port) <= others);
  });

  test("does not connect if the signal is aborted already", async () => {
    await using server = await PeerServer.open();
    const reason = new Error("too late");
    await assert.rejects(dialling(server.port, { signal: AbortSignal.abort(reason) }), reason);
    using _next = await connect(server.port);
    await server.accepted();
    assert.equal(server.peers.length, 1);
  });

  test("leaves no listener on the signal after the connect", async () => {
    await using server = await PeerServer.open();
    const abort = new AbortController();
    const socket = await dial({ host, port: server.port, timeoutMs: 10_000, signal: abort.signal });
    assert.equal(getEventListeners(abort.signal, "abort").length, 0);
    abort.abort(new Error("later"));
    socket.write("hello");
    const peer = await server.accepted();
    await peer.receives(5);
    socket.destroy();
  });

  test("leaves no listener on the signal after a failure", async () => {
    const abort = new AbortController();
    await assert.rejects(dialling(await freePort(), { signal: abort.signal }));
    assert.equal(getEventListeners(abort.signal, "abort").length, 0);
  });
});
