/** First bytes, between real sockets. */
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
  /** As a front has it: half-open allowed, paused. */
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

/** Up to and with the first newline; of it, `used` is what a line says that begins with "!". */
function line(bytes: Buffer): Parsed<string> | undefined {
  const end = bytes.indexOf("\n");
  if (end < 0) return undefined;
  const value = bytes.subarray(0, end).toString();
  return { value, used: value.startsWith("!") ? end + 1 : 0 };
}

function peeking(socket: net.Socket, options: Partial<PeekOptions<string>> = {}): Promise<string> {
  return peek(socket, { read: line, limit: 64, deadlineMs: 5_000, signal: new AbortController().signal, ...options });
}

function troubled(trouble: string): (error: unknown) => boolean {
  return (error) => error instanceof PeekError && error.reason === trouble;
}

suite("peek", () => {
  test("reads no more than the bound, however much has come at once", async () => {
    await using sockets = await pair();
    const found = peeking(sockets.accepted, { limit: 4 });
    sockets.client.send("12345\n");
    await assert.rejects(found, troubled("too_long"));
    await using others = await pair();
    const near = peeking(others.accepted, { limit: 6 });
    others.client.send("12345\n67");
    assert.equal(await near, "12345");
  });

  test("finds what comes in pieces, and gives all of it back", async () => {
    await using sockets = await pair();
    const found = peeking(sockets.accepted);
    for (const piece of ["GE", "T /", "\nHost", ": a"]) {
      sockets.client.send(piece);
      await eventually("it has arrived", () => sockets.accepted.bytesRead >= sockets.client.socket.bytesWritten);
    }
    assert.equal(await found, "GET /");
    using accepted = new Peer(sockets.accepted);
    sockets.client.end("!");
    assert.equal(await accepted.ended(), "ended");
    assert.equal(accepted.text, "GET /\nHost: a!");
  });

  test("copies each byte a few times at most, however small the pieces are", async (t) => {
    await using sockets = await pair();
    const most = 500;
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
    const found = peeking(sockets.accepted, { limit: most + 1, deadlineMs: 60_000 });
    for (let sent = 1; sent <= most; sent += 1) {
      sockets.client.send("a");
      await eventually(
        "it was read",
        () => sockets.accepted.bytesRead === sent && sockets.accepted.readableLength === 0,
      );
    }
    sockets.client.send("\n");
    assert.equal((await found).length, most);
    assert.ok(copied <= 4 * most, `${copied} bytes were copied`);
  });

  test("keeps what is for wakeport alone", async () => {
    await using sockets = await pair();
    sockets.client.end("!mine\nyours");
    assert.equal(await peeking(sockets.accepted), "!mine");
    using accepted = new Peer(sockets.accepted);
    assert.equal(await accepted.ended(), "ended");
    assert.equal(accepted.text, "yours");
  });

  test("finds what arrived with the end of the stream, before anybody looked", async () => {
    await using sockets = await pair();
    sockets.client.end("one\ntwo");
    await eventually("it has arrived", () => sockets.accepted.bytesRead === 7);
    await new Promise((turn) => setImmediate(turn));
    assert.equal(await peeking(sockets.accepted), "one");
    assert.equal(await peeking(sockets.accepted), "one", "and again");
    using accepted = new Peer(sockets.accepted);
    assert.equal(await accepted.ended(), "ended");
    assert.equal(accepted.text, "one\ntwo");
  });

  test("leaves a long stream whole that goes on behind the first line", async () => {
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

  test("gives up at its bound, its deadline and the end, and gives back what there is", async () => {
    await using long = await pair();
    long.client.send("a".repeat(64));
    await assert.rejects(peeking(long.accepted), troubled("too_long"));
    assert.equal(long.accepted.readableLength, 64);

    await using slow = await pair();
    slow.client.send("half a li");
    await eventually("it has arrived", () => slow.accepted.bytesRead === 9);
    await assert.rejects(peeking(slow.accepted, { deadlineMs: 20 }), troubled("too_late"));
    assert.equal(slow.accepted.readableLength, 9);

    await using brief = await pair();
    brief.client.end("half a li");
    await assert.rejects(peeking(brief.accepted), troubled("ended"));

    await using mute = await pair();
    mute.client.end();
    await assert.rejects(peeking(mute.accepted), troubled("ended"));
    await assert.rejects(peeking(mute.accepted), troubled("ended"), "which is over for those who come later");
  });

  test("throws what the reader throws, and what the signal says", async () => {
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
