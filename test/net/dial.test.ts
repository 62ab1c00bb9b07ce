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
  test("answers a socket that survives a half-close of the other side", async () => {
    await using server = await PeerServer.open();
    const socket = await dial({ host, port: server.port, timeoutMs: 10_000, signal: never });
    const peer = await server.accepted();
    peer.end();
    await new Promise((resolve) => socket.resume().once("end", resolve));
    socket.end("still here");
    await peer.receives(10);
    assert.equal(await peer.ended(), "ended");
  });

  test("comes from the address that it is told to", async () => {
    await using server = await PeerServer.open();
    const socket = await dial({ host, port: server.port, localAddress: "127.0.0.9", timeoutMs: 10_000, signal: never });
    const peer = await server.accepted();
    assert.equal(peer.socket.remoteAddress, "127.0.0.9");
    socket.destroy();
  });

  test("rejects with the system's error when nobody listens", async () => {
    await assert.rejects(dialling(await freePort()), { code: "ECONNREFUSED" });
  });

  test("rejects with a DeadlineError when nobody answers in time", async () => {
    await using deaf = await deafPort();
    const others = countDialling(deaf.port);
    await assert.rejects(dialling(deaf.port, { timeoutMs: 50 }), (error: unknown) => {
      assert.ok(error instanceof DeadlineError);
      assert.equal(error.message, `127.0.0.1:${deaf.port} did not accept within 0.05 s`);
      return true;
    });
    await eventually("it no longer tries", () => countDialling(deaf.port) <= others);
  });

  test("rejects with the signal's reason when it is aborted on the way", async () => {
    await using deaf = await deafPort();
    const abort = new AbortController();
    const others = countDialling(deaf.port);
    const reason = new Error("the client left");
    const rejected = assert.rejects(dialling(deaf.port, { signal: abort.signal }), reason);
    await eventually("it is on the way", () => countDialling(deaf.port) > others);
    abort.abort(reason);
    await rejected;
    await eventually("it no longer tries", () => countDialling(deaf.port) <= others);
  });

  test("does not even try when the signal is aborted before", async () => {
    await using server = await PeerServer.open();
    const reason = new Error("too late");
    await assert.rejects(dialling(server.port, { signal: AbortSignal.abort(reason) }), reason);
    using _next = await connect(server.port);
    await server.accepted();
    assert.equal(server.peers.length, 1);
  });

  test("lets go of the signal once it is connected", async () => {
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

  test("lets go of the signal once it failed", async () => {
    const abort = new AbortController();
    await assert.rejects(dialling(await freePort(), { signal: abort.signal }));
    assert.equal(getEventListeners(abort.signal, "abort").length, 0);
  });
});
