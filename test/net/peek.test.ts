import assert from "node:assert/strict";
import net from "node:net";
import { suite, test } from "node:test";
import { type Parsed, PeekError, type PeekOptions, peek } from "../../src/net/peek.ts";
import { KIB, payload } from "../bench/payload.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { connecting, Peer } from "../support/net/tcp.ts";

checkLeaks();

/** Both ends of one connection. */
interface Pair extends AsyncDisposable {
  readonly client: Peer;
  /** As a listener accepts it: paused, half-open connections allowed. */
  readonly accepted: net.Socket;
}

async function pair(): Promise<Pair> {
  const { promise, resolve } = Promise.withResolvers<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    socket.read(0);
    socket.pause().on("error", () => {});
    resolve(socket);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const client = connecting((server.address() as net.AddressInfo).port);
  const accepted = await promise;
  return {
    client,
    accepted,
    [Symbol.asyncDispose]: async () => {
      client.reset();
      accepted.destroy();
      await new Promise((closed) => server.close(closed));
    },
  };
}

/** Parses the first line. The number in a line that begins with "!" is `used`. */
function line(bytes: Buffer): Parsed<string> | undefined {
  const end = bytes.indexOf("\n");
  if (end < 0) return undefined;
  const value = bytes.subarray(0, end).toString();
  return { value, used: value.startsWith("!") ? end + 1 : 0 };
}

function peeking(socket: net.Socket, options: Partial<PeekOptions<string>> = {}): Promise<string> {
  return peek(socket, { read: line, limit: 64, deadlineMs: 5_000, signal: new AbortController().signal, ...options });
}

function isPeekError(reason: string): (error: unknown) => boolean {
  return (error) => error instanceof PeekError && error.reason === reason;
}

suite("peek", () => {
  test("parses no more than its limit of received bytes", async () => {
    await using sockets = await pair();
    const found = peeking(sockets.accepted, { limit: 4 });
    sockets.client.send("12345\n");
    await assert.rejects(found, isPeekError("too_long"));
    await using others = await pair();
    const near = peeking(others.accepted, { limit: 6 });
    others.client.send("12345\n67");
    assert.equal(await near, "12345");
  });

  test("parses bytes that arrive in pieces, and puts all back", async () => {
    await using sockets = await pair();
    const found = peeking(sockets.accepted);
    for (const piece of ["GE", "T /", "\nHost", ": a"]) {
      sockets.client.send(piece);
      await eventually(
        "the bytes have arrived",
        () => sockets.accepted.bytesRead >= sockets.client.socket.bytesWritten,
      );
    }
    assert.equal(await found, "GET /");
    using accepted = new Peer(sockets.accepted);
    sockets.client.end("!");
    assert.equal(await accepted.ended(), "ended");
    assert.equal(accepted.text, "GET /\nHost: a!");
  });

  test("copies each byte at most a few times, also with small pieces", async (t) => {
    await using sockets = await pair();
    const length = 500;
    let copied = 0;
    const { copy } = Buffer.prototype;
    t.mock.method(Buffer.prototype, "copy", function count(this: Buffer, ...parameters: Parameters<typeof copy>) {
      const bytes = copy.apply(this, parameters);
      copied += bytes;
      return bytes;
    });
    const { concat } = Buffer;
    t.mock.method(Buffer, "concat", (...parameters: Parameters<typeof concat>) => {
      const all = concat(...parameters);
      copied += all.length;
      return all;
    });
    const found = peeking(sockets.accepted, { limit: length + 1, deadlineMs: 60_000 });
    for (let sent = 1; sent <= length; sent += 1) {
      sockets.client.send("a");
      await eventually(
        "it was read",
        () => sockets.accepted.bytesRead === sent && sockets.accepted.readableLength === 0,
      );
    }
    sockets.client.send("\n");
    assert.equal((await found).length, length);
    assert.ok(copied <= 4 * length, `${copied} bytes were copied`);
  });

  test("consumes the used bytes", async () => {
    await using sockets = await pair();
    sockets.client.end("!mine\nyours");
    assert.equal(await peeking(sockets.accepted), "!mine");
    using accepted = new Peer(sockets.accepted);
    assert.equal(await accepted.ended(), "ended");
    assert.equal(accepted.text, "yours");
  });

  test("parses bytes that arrived before the call, with the end of the stream", async () => {
    await using sockets = await pair();
    sockets.client.end("one\ntwo");
    await eventually("the bytes have arrived", () => sockets.accepted.bytesRead === 7);
    await new Promise((turn) => setImmediate(turn));
    assert.equal(await peeking(sockets.accepted), "one");
    assert.equal(await peeking(sockets.accepted), "one", "a second peek finds the same bytes");
    using accepted = new Peer(sockets.accepted);
    assert.equal(await accepted.ended(), "ended");
    assert.equal(accepted.text, "one\ntwo");
  });

  test("puts all bytes back before the rest of a long stream", async () => {
    await using sockets = await pair();
    const rest = payload(300 * KIB);
    sockets.client.send("first\n");
    sockets.client.end(rest);
    assert.equal(await peeking(sockets.accepted), "first");
    assert.equal(sockets.accepted.isPaused(), true);
    using accepted = new Peer(sockets.accepted);
    assert.equal(await accepted.ended(), "ended");
    assert.ok(accepted.data.equals(Buffer.concat([Buffer.from("first\n"), rest])));
  });

  test("rejects at its limit, its deadline and the end of the stream, and puts all bytes back", async () => {
    await using long = await pair();
    long.client.send("a".repeat(64));
    await assert.rejects(peeking(long.accepted), isPeekError("too_long"));
    assert.equal(long.accepted.readableLength, 64);

    await using slow = await pair();
    slow.client.send("half a li");
    await eventually("the bytes have arrived", () => slow.accepted.bytesRead === 9);
    await assert.rejects(peeking(slow.accepted, { deadlineMs: 20 }), isPeekError("too_late"));
    assert.equal(slow.accepted.readableLength, 9);

    await using brief = await pair();
    brief.client.end("half a li");
    await assert.rejects(peeking(brief.accepted), isPeekError("ended"));

    await using mute = await pair();
    mute.client.end();
    await assert.rejects(peeking(mute.accepted), isPeekError("ended"));
    await assert.rejects(peeking(mute.accepted), isPeekError("ended"), "a later peek sees the end, too");
  });

  test("rejects with the reader's error, or the signal's reason", async () => {
    await using wrong = await pair();
    wrong.client.send("x");
    const read = (): never => {
      throw new RangeError("no such thing");
    };
    await assert.rejects(peeking(wrong.accepted, { read }), RangeError);
    assert.equal(wrong.accepted.readableLength, 1);

    await using left = await pair();
    const gone = new AbortController();
    left.accepted.once("close", () => gone.abort(new Error("the client left")));
    const found = peeking(left.accepted, { signal: gone.signal });
    left.client.reset();
    await assert.rejects(found, /the client left/);
    await assert.rejects(peeking(left.accepted, { signal: gone.signal }), /the client left/);
  });
});
