import assert from "node:assert/strict";
import { getEventListeners, once } from "node:events";
import type net from "node:net";
import { getActiveResourcesInfo, memoryUsage } from "node:process";
import { suite, test } from "node:test";
import { scheduler } from "node:timers/promises";
import { ClosedError, ExitedError, RenamedError } from "../../src/activation/errors.ts";
import { type Meter, type RelayEnd, relay } from "../../src/net/relay.ts";
import { KIB, MIB, payload } from "../bench/payload.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { type Pair, type Peer, pair, queuedTo } from "../support/net/tcp.ts";

/** A running relay, and the far end of each side. */
class Link implements AsyncDisposable {
  readonly client: Peer;
  readonly upstream: Peer;
  /** The relay's ends. */
  readonly near: { readonly client: net.Socket; readonly upstream: net.Socket };
  readonly meter: Meter = { in: 0, out: 0 };
  readonly total: Meter = { in: 1_000, out: 2_000 };
  readonly lost = new AbortController();
  /** The result of the relay; undefined while it runs. */
  end: RelayEnd | undefined;
  readonly #pairs: readonly Pair[];

  constructor(client: Pair, upstream: Pair) {
    this.#pairs = [client, upstream];
    this.client = client.far;
    this.upstream = upstream.far;
    this.near = { client: client.near, upstream: upstream.near };
    const meters = [this.meter, this.total];
    void relay({ client: client.near, upstream: upstream.near, meters, lost: this.lost.signal }).then((end) => {
      this.end = end;
    });
  }

  /** @param hasSharedReads whether the relay may read into the shared buffer */
  static async open(hasSharedReads = true): Promise<Link> {
    const [client, upstream] = [await pair(), await pair()];
    if (!hasSharedReads) for (const { near } of [client, upstream]) hideUserBuffer(near);
    return new Link(client, upstream);
  }

  /** Fills all buffers between the upstream and a client that does not read. @returns the number of sent bytes */
  async clog(bytes = 16 * MIB): Promise<number> {
    this.client.pause();
    this.upstream.send(payload(bytes));
    await this.standsStill();
    return bytes;
  }

  /** Waits until the relay buffers bytes, and no byte moves. */
  async standsStill(): Promise<void> {
    let before = -1;
    await eventually("the relay pauses the upstream", async () => {
      const stands = this.near.client.writableLength > 0 && this.meter.out === before;
      before = this.meter.out;
      await scheduler.wait(50);
      return stands;
    });
  }

  async ended(): Promise<RelayEnd> {
    await eventually("the relay ended", () => this.end !== undefined);
    return this.end!;
  }

  /** Waits for the end of the relay, so that it does not affect the next test. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#pairs) one[Symbol.dispose]();
    await this.ended();
  }
}

/** Makes the handle of a socket like a handle of another Node, so that the relay uses the reads of the stream. */
function hideUserBuffer(socket: net.Socket): void {
  Object.assign(Reflect.get(socket, "_handle"), { useUserBuffer: undefined });
}

/** Asserts that `peer` received exactly the first `bytes` bytes of the payload. */
function assertReceived(peer: Peer, bytes: number): void {
  assert.equal(peer.received, bytes);
  assert.ok(peer.data.equals(payload(bytes)), "the received bytes differ from the sent bytes");
}

checkLeaks();

suite("relay()", () => {
  test("forwards a half-close of the client, and the later answer", async () => {
    await using link = await Link.open();
    link.client.end(payload(MIB));
    assert.equal(await link.upstream.ended(), "ended");
    assertReceived(link.upstream, MIB);
    assert.equal(link.client.fate, "open");
    link.upstream.end(payload(MIB));
    assert.equal(await link.client.ended(), "ended");
    assertReceived(link.client, MIB);
    assert.equal(await link.ended(), "clean");
  });

  test("forwards a half-close of the upstream, and the later upload", async () => {
    await using link = await Link.open();
    link.upstream.end(payload(MIB));
    assert.equal(await link.client.ended(), "ended");
    assertReceived(link.client, MIB);
    assert.equal(link.upstream.fate, "open");
    link.client.end(payload(MIB));
    assert.equal(await link.upstream.ended(), "ended");
    assertReceived(link.upstream, MIB);
    assert.equal(await link.ended(), "clean");
  });

  test("delivers both directions if both sides send and half-close at once", async () => {
    await using link = await Link.open();
    link.client.end(payload(4 * MIB));
    link.upstream.end(payload(3 * MIB));
    assert.equal(await link.ended(), "clean");
    assert.deepEqual([await link.client.ended(), await link.upstream.ended()], ["ended", "ended"]);
    assertReceived(link.upstream, 4 * MIB);
    assertReceived(link.client, 3 * MIB);
  });

  test("forwards a client reset", async () => {
    await using link = await Link.open();
    link.client.reset();
    assert.equal(await link.upstream.ended(), "ECONNRESET");
    assert.equal(await link.ended(), "client_reset");
    assertReceived(link.upstream, 0);
  });

  test("forwards an upstream reset", async () => {
    await using link = await Link.open();
    link.upstream.reset();
    assert.equal(await link.client.ended(), "ECONNRESET");
    assert.equal(await link.ended(), "upstream_reset");
    assertReceived(link.client, 0);
  });

  test("forwards a reset to a side that has half-closed", async () => {
    await using link = await Link.open();
    link.client.end("request");
    assert.equal(await link.upstream.ended(), "ended");
    link.upstream.reset();
    assert.equal(await link.client.ended(), "ECONNRESET");
    assert.equal(await link.ended(), "upstream_reset");
  });

  test("delivers 100 KB before an upstream reset", async () => {
    await using link = await Link.open();
    link.upstream.send(payload(100 * KIB));
    await link.client.receives(100 * KIB);
    link.upstream.reset();
    assert.equal(await link.client.ended(), "ECONNRESET");
    assertReceived(link.client, 100 * KIB);
    assert.equal(await link.ended(), "upstream_reset");
  });

  test("delivers 100 KB before an upstream reset to a client that reads late", async () => {
    await using link = await Link.open();
    link.client.pause();
    link.upstream.send(payload(100 * KIB));
    await eventually("the relay has read all bytes", () => link.meter.out === 100 * KIB);
    link.upstream.reset();
    assert.equal(await link.ended(), "upstream_reset");
    link.client.resume();
    assert.equal(await link.client.ended(), "ECONNRESET");
    assertReceived(link.client, 100 * KIB);
  });

  test("delivers its buffered bytes before an upstream reset", async () => {
    await using link = await Link.open();
    const timers = timersActive();
    // As if the send buffer of the kernel were full.
    link.near.client.cork();
    link.upstream.send(payload(60 * KIB));
    await eventually("the relay has read all bytes", () => link.meter.out === 60 * KIB);
    link.upstream.reset();
    await eventually("the reset is received", () => link.near.upstream.closed);
    assert.equal(link.client.fate, "open");
    link.near.client.uncork();
    assert.equal(await link.client.ended(), "ECONNRESET");
    assertReceived(link.client, 60 * KIB);
    await link.ended();
    assert.equal(timersActive(), timers, "the flush timer still runs");
  });

  test("forwards the received bytes of an upstream whose reset only a write detects", async () => {
    await using link = await Link.open(false);
    await link.clog();
    const { readableLength } = link.near.upstream;
    const before = link.meter.out;
    assert.ok(readableLength > 0, "the relay must have read ahead");
    link.upstream.reset();
    link.client.send("are you there?");
    await eventually("the reset is received", () => link.near.upstream.closed);
    link.client.resume();
    assert.equal(await link.ended(), "upstream_reset");
    assert.equal(link.meter.out, before + readableLength);
  });

  test("resets a client that is behind, without a clean end", async () => {
    await using link = await Link.open();
    await link.clog();
    link.upstream.reset();
    link.client.resume();
    assert.equal(await link.client.ended(), "ECONNRESET");
    assert.equal(await link.ended(), "upstream_reset");
    assertReceived(link.client, link.client.received);
  });

  test("delivers its buffered bytes to a slow upstream before a client reset", async () => {
    await using link = await Link.open();
    link.upstream.pause();
    link.client.send(payload(100 * KIB));
    await eventually("the relay has read all bytes", () => link.meter.in === 100 * KIB);
    link.client.reset();
    assert.equal(await link.ended(), "client_reset");
    link.upstream.resume();
    assert.equal(await link.upstream.ended(), "ECONNRESET");
    assertReceived(link.upstream, 100 * KIB);
  });

  test("delivers all bytes before a client reset to an upstream that reads nothing for 900 ms", async (t) => {
    await using link = await Link.open();
    link.upstream.pause();
    const all = payload(16 * MIB);
    let sent = 0;
    // The kernel must hold bytes, and the relay none, because the relay would not notice the reset.
    while (queuedTo(link.near.upstream) < 64 * KIB) {
      link.client.send(all.subarray(sent, sent + 8 * KIB));
      sent += 8 * KIB;
      await eventually("the bytes are read", () => link.meter.in === sent);
    }
    link.client.reset();
    t.mock.timers.enable({ apis: ["setTimeout"] });
    await eventually("the reset is received", () => link.near.client.destroyed);
    for (let ms = 0; ms < 900; ms += 100) {
      t.mock.timers.tick(100);
      await scheduler.wait(5);
    }
    t.mock.timers.reset();
    link.upstream.resume();
    assert.equal(await link.upstream.ended(), "ECONNRESET");
    assert.equal(await link.ended(), "client_reset");
    assert.equal(link.meter.in, sent);
    assertReceived(link.upstream, sent);
  });

  test("resets the upstream if the client resets during a download", async () => {
    await using link = await Link.open();
    link.upstream.flood(payload(64 * KIB));
    await link.client.receives(MIB);
    link.client.reset();
    assert.match(await link.upstream.ended(), /ECONNRESET|EPIPE/);
    assert.equal(await link.ended(), "client_reset");
  });

  test("resets the client if the upstream resets during an upload", async () => {
    await using link = await Link.open();
    link.client.flood(payload(64 * KIB));
    await link.upstream.receives(MIB);
    link.upstream.reset();
    assert.match(await link.client.ended(), /ECONNRESET|EPIPE/);
    assert.equal(await link.ended(), "upstream_reset");
  });

  test("resets a client that reads nothing for 1 s after an upstream reset", async (t) => {
    await using link = await Link.open();
    await link.clog();
    t.mock.timers.enable({ apis: ["setTimeout"] });
    link.near.upstream.destroy();
    await once(link.near.upstream, "close");
    t.mock.timers.tick(999);
    await scheduler.wait(20);
    assert.equal(link.end, undefined);
    t.mock.timers.tick(1);
    await link.ended();
    link.client.resume();
    assert.equal(await link.client.ended(), "ECONNRESET");
  });

  test("ends if a side fails while the end of the other side is being forwarded", async () => {
    for (const side of ["client", "upstream"] as const) {
      await using link = await Link.open();
      link.near[side].once("end", () => link.near[side].destroy(new Error("failed in the same turn")));
      link[side].end("the last bytes");
      assert.equal(await link.ended(), `${side}_reset`);
      const other = link[side === "client" ? "upstream" : "client"];
      assert.notEqual(await other.ended(), "open");
      assert.equal(other.text, "the last bytes");
      assert.deepEqual([link.near.client.closed, link.near.upstream.closed], [true, true]);
    }
  });

  test("notices within 15 s that a side is gone after its half-close", async (t) => {
    t.mock.timers.enable({ apis: ["setInterval"] });
    for (const side of ["client", "upstream"] as const) {
      await using link = await Link.open();
      const other = link[side === "client" ? "upstream" : "client"];
      link[side].end();
      assert.equal(await other.ended(), "ended");
      link[side].reset();
      await scheduler.wait(20);
      t.mock.timers.tick(14_999);
      await scheduler.wait(20);
      assert.equal(link.end, undefined);
      t.mock.timers.tick(1);
      assert.equal(await link.ended(), `${side}_reset`);
    }
  });

  test("probes a half-closed side without an effect on it", async (t) => {
    t.mock.timers.enable({ apis: ["setInterval"] });
    await using link = await Link.open();
    link.client.end("all");
    assert.equal(await link.upstream.ended(), "ended");
    for (let looks = 0; looks < 5; looks += 1) t.mock.timers.tick(15_000);
    link.upstream.end(payload(MIB));
    assert.equal(await link.client.ended(), "ended");
    assertReceived(link.client, MIB);
    assert.equal(await link.ended(), "clean");
  });

  test("resolves only when both sides are closed", async () => {
    await using link = await Link.open();
    link.client.end();
    await link.upstream.ended();
    await scheduler.wait(20);
    assert.equal(link.end, undefined);
    link.upstream.end();
    await link.ended();
    assert.deepEqual([link.near.client.closed, link.near.upstream.closed], [true, true]);
  });

  test("forwards a half-close that was received before the relay began", async () => {
    using client = await pair();
    using upstream = await pair();
    client.far.end();
    await eventually("the half-close is noticed", () => client.near.readableEnded);
    const lost = new AbortController().signal;
    const end = relay({ client: client.near, upstream: upstream.near, meters: [], lost });
    assert.equal(await upstream.far.ended(), "ended");
    upstream.far.end();
    assert.equal(await end, "clean");
  });

  test("reports a client that failed just before the relay began as client_reset", async () => {
    using client = await pair();
    using upstream = await pair();
    client.far.reset();
    await once(client.near.resume(), "error");
    let isClosed = false;
    client.near.once("close", () => {
      isClosed = true;
    });
    const lost = new AbortController().signal;
    const end = relay({ client: client.near, upstream: upstream.near, meters: [], lost });
    assert.equal(isClosed, false, "the socket is closed already, too late for this test");
    assert.equal(await upstream.far.ended(), "ECONNRESET");
    assert.equal(await end, "client_reset");
  });
});

/** Data and a close_notify of TLS 1.3, encrypted. */
const TLS_DATA = Buffer.from(`1703030020${"ab".repeat(32)}`, "hex");
const TLS_CLOSE = Buffer.from(`1703030013${"cd".repeat(19)}`, "hex");

suite("relay() of TLS", () => {
  for (const side of ["client", "upstream"] as const) {
    const otherSide = side === "client" ? "upstream" : "client";

    test(`forwards a ${side} reset after both sides sent a TLS close, and ends clean`, async () => {
      await using link = await Link.open();
      const [one, other] = [link[side], link[otherSide]];
      one.send(Buffer.concat([TLS_DATA, TLS_CLOSE]));
      other.send(Buffer.concat([TLS_DATA, TLS_CLOSE]));
      await one.receives(TLS_DATA.length + TLS_CLOSE.length);
      await other.receives(TLS_DATA.length + TLS_CLOSE.length);
      one.reset();
      assert.equal(await other.ended(), "ECONNRESET");
      assert.equal(await link.ended(), "clean");
    });

    test(`ends with ${side}_reset if the ${side} sent no TLS close`, async () => {
      await using link = await Link.open();
      const [one, other] = [link[side], link[otherSide]];
      other.end(TLS_CLOSE);
      assert.equal(await one.ended(), "ended");
      one.send(TLS_DATA);
      await other.receives(TLS_DATA.length);
      one.reset();
      assert.equal(await other.ended(), "ECONNRESET");
      assert.equal(await link.ended(), `${side}_reset`);
    });

    test(`ends with ${side}_reset if the other side sent no TLS close`, async () => {
      await using link = await Link.open();
      const [one, other] = [link[side], link[otherSide]];
      other.send(TLS_DATA);
      one.send(TLS_CLOSE);
      await one.receives(TLS_DATA.length);
      await other.receives(TLS_CLOSE.length);
      one.reset();
      assert.equal(await link.ended(), `${side}_reset`);
    });
  }

  test("ends with upstream_reset if a TLS close of the client was not delivered", async () => {
    await using link = await Link.open();
    // As if the send buffer of the kernel were full.
    link.near.upstream.cork();
    link.client.send(Buffer.concat([payload(60 * KIB), TLS_CLOSE]));
    await eventually("the relay has read all bytes", () => link.meter.in === 60 * KIB + TLS_CLOSE.length);
    link.upstream.send(TLS_CLOSE);
    await link.client.receives(TLS_CLOSE.length);
    link.upstream.reset();
    assert.equal(await link.ended(), "upstream_reset");
  });
});

suite("relay() of many bytes", () => {
  for (const hasSharedReads of [true, false]) {
    const how = hasSharedReads ? "with" : "without";
    test(`forwards random pieces of both directions unchanged, ${how} shared reads`, async () => {
      await using link = await Link.open(hasSharedReads);
      const all = payload(8 * MIB);
      for (let sent = 0; sent < all.length; ) {
        const piece = all.subarray(sent, sent + 1 + ((sent * 7919) % (300 * KIB)));
        sent += piece.length;
        link.client.send(piece);
        link.upstream.send(piece);
        await scheduler.yield();
      }
      await link.client.receives(all.length);
      await link.upstream.receives(all.length);
      assertReceived(link.client, all.length);
      assertReceived(link.upstream, all.length);
      assert.deepEqual(link.meter, { in: all.length, out: all.length });
      link.client.end();
      link.upstream.end();
      assert.equal(await link.ended(), "clean");
    });
  }

  test("keeps the bytes of many connections apart although they share a buffer", async () => {
    await using links = new AsyncDisposableStack();
    const all = await Promise.all(Array.from({ length: 20 }, async () => links.use(await Link.open())));
    // As if the send buffers of the kernel were full, so that bytes must be kept while other connections read.
    for (const { near } of all) near.upstream.cork();
    for (const [index, { client }] of all.entries()) client.send(Buffer.alloc(2 * MIB, index));
    await eventually("each relay holds bytes", () => all.every(({ near }) => near.upstream.writableLength > 0));
    for (const { near } of all) near.upstream.uncork();
    for (const [index, { upstream }] of all.entries()) {
      await upstream.receives(2 * MIB);
      assert.ok(upstream.data.equals(Buffer.alloc(2 * MIB, index)), `connection ${index}`);
    }
  });

  test("forwards 64 MB to a slow reader with constant memory", async () => {
    await using link = await Link.open();
    const chunk = payload(64 * KIB);
    const total = 64 * MIB;
    const rss = memoryUsage.rss();
    let received = 0;
    let mostHeld = 0;
    let mostRss = 0;
    link.client.socket.removeAllListeners("data");
    link.client.socket.on("data", (data: Buffer) => {
      received += data.length;
      mostHeld = Math.max(mostHeld, link.near.client.writableLength + link.near.upstream.readableLength);
      mostRss = Math.max(mostRss, memoryUsage.rss());
      link.client.pause();
      setImmediate(() => link.client.resume());
    });
    for (let sent = 0; sent < total; sent += chunk.length) link.upstream.send(chunk);
    link.upstream.end();
    await eventually("all bytes are received", () => received === total);
    assert.ok(mostHeld > 0, "the reader was not slow");
    assert.ok(mostHeld <= 192 * KIB, `${mostHeld} bytes were held`);
    // Buffers that wait for garbage collection count as well: up to 55 MiB in a new process.
    assert.ok(mostRss - rss < total, `grew by ${(mostRss - rss) / MIB} MiB`);
  });

  test("counts each byte in all meters, continuously", async () => {
    await using link = await Link.open();
    link.client.send(payload(300 * KIB));
    link.upstream.send(payload(500 * KIB));
    await link.upstream.receives(300 * KIB);
    await link.client.receives(500 * KIB);
    assert.deepEqual(link.meter, { in: 300 * KIB, out: 500 * KIB });
    assert.deepEqual(link.total, { in: 1_000 + 300 * KIB, out: 2_000 + 500 * KIB });
    link.client.end("bye");
    link.upstream.end();
    await link.ended();
    assert.deepEqual(link.meter, { in: 300 * KIB + 3, out: 500 * KIB });
  });
});

suite("relay() after the loss of the target", () => {
  test("delivers the last bytes of an exited target to a client that reads late", async (t) => {
    await using link = await Link.open();
    const sent = await link.clog();
    link.upstream.end();
    t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    link.lost.abort(new ExitedError("container a", { code: 0 }));
    t.mock.timers.tick(20_000);
    link.client.resume();
    assert.equal(await link.client.ended(), "ended");
    assertReceived(link.client, sent);
    await eventually("the upstream is closed", () => link.near.upstream.closed);
    assert.equal(link.end, undefined);
    link.client.end();
    assert.equal(await link.ended(), "clean");
  });

  test("delivers the last bytes to a client of any speed", async (t) => {
    await using link = await Link.open();
    const sent = await link.clog(32 * MIB);
    t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    link.lost.abort(new ExitedError("container a", { code: 0 }));
    t.mock.timers.tick(20_000);
    link.client.socket.on("data", () => {
      if (link.client.received > 5 * MIB && !link.upstream.socket.writableEnded) link.client.pause();
    });
    link.client.resume();
    await link.client.receives(5 * MIB);
    await link.standsStill();
    t.mock.timers.tick(20_000);
    link.upstream.end();
    link.client.resume();
    await link.client.ended();
    assertReceived(link.client, sent);
  });

  test("continues for a silent client of a renamed container, until that container is down", async (t) => {
    await using link = await Link.open();
    const down = new AbortController();
    t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    link.lost.abort(new RenamedError("container a", down.signal));
    t.mock.timers.tick(60_000);
    link.client.send("still here");
    await link.upstream.receives(10);
    link.upstream.send("yes");
    await link.client.receives(3);
    assert.equal(link.end, undefined);
    down.abort();
    t.mock.timers.tick(60_000);
    assert.equal(await link.ended(), "target_gone");
  });

  test("delivers the last bytes of an upstream that ended before the exit", async () => {
    await using link = await Link.open();
    link.upstream.end("bye");
    assert.equal(await link.client.ended(), "ended");
    link.lost.abort(new ExitedError("container a", { code: 0 }));
    await eventually("the upstream is closed", () => link.near.upstream.closed);
    link.client.end();
    assert.equal(await link.ended(), "clean");
    assert.equal(link.client.text, "bye");
  });

  test("resets a client that still sends after the target's exit", async () => {
    await using link = await Link.open();
    link.upstream.end();
    assert.equal(await link.client.ended(), "ended");
    link.lost.abort(new ExitedError("container a", { code: 0 }));
    await eventually("the upstream is closed", () => link.near.upstream.closed);
    link.client.flood(payload(64 * KIB));
    assert.equal(await link.ended(), "target_gone");
    await eventually("the client is reset", () => /ECONNRESET|EPIPE/.test(link.client.fate));
    assert.equal(link.meter.in, 0, "discarded bytes must not be counted");
  });

  test("delivers the last bytes to a client that still sends, and then resets it", async () => {
    await using link = await Link.open();
    const sent = await link.clog();
    link.upstream.end();
    link.lost.abort(new ExitedError("container a", { code: 0 }));
    link.client.send("are you there?");
    await eventually("the bytes are read", () => link.near.client.bytesRead > 0);
    link.client.resume();
    assert.equal(await link.client.ended(), "ended");
    assertReceived(link.client, sent);
    await eventually("the upstream is closed", () => link.near.upstream.closed);
    link.client.end("what is lost");
    assert.equal(await link.ended(), "target_gone");
  });

  test("resets a client whose bytes did not all reach the upstream", async () => {
    await using link = await Link.open();
    link.upstream.pause();
    link.client.send(payload(16 * MIB));
    await eventually("the relay buffers bytes", () => link.near.upstream.writableLength > 0);
    link.upstream.end();
    assert.equal(await link.client.ended(), "ended");
    link.lost.abort(new ExitedError("container a", { code: 0 }));
    assert.equal(await link.ended(), "target_gone");
  });

  test("resets a client that does not close within 30 s after the last bytes", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    await using link = await Link.open();
    link.upstream.end("bye");
    assert.equal(await link.client.ended(), "ended");
    link.lost.abort(new ExitedError("container a", { code: 0 }));
    await eventually("the upstream is closed", () => link.near.upstream.closed);
    await scheduler.wait(20);
    t.mock.timers.tick(29_999);
    await scheduler.wait(20);
    assert.equal(link.end, undefined);
    t.mock.timers.tick(1);
    assert.equal(await link.ended(), "target_gone");
    // A socket whose stream has ended detects the reset only by a write.
    link.client.send("?");
    await eventually("the client is reset", () => link.client.fate !== "ended");
  });

  test("resets both sides if the upstream is silent for 1 s", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    await using link = await Link.open();
    link.upstream.send("half a sen");
    await link.client.receives(10);
    link.lost.abort(new ExitedError("container a", { code: 137 }));
    t.mock.timers.tick(999);
    await scheduler.wait(20);
    assert.deepEqual([link.client.fate, link.upstream.fate], ["open", "open"]);
    t.mock.timers.tick(1);
    assert.equal(await link.ended(), "target_gone");
    assert.deepEqual([await link.client.ended(), await link.upstream.ended()], ["ECONNRESET", "ECONNRESET"]);
  });

  test("waits while the upstream still sends", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    await using link = await Link.open();
    link.lost.abort(new ExitedError("container a", {}));
    for (let second = 1; second <= 5; second += 1) {
      link.upstream.send("word ");
      await link.client.receives(5 * second);
      t.mock.timers.tick(1_000);
    }
    link.upstream.end();
    assert.equal(await link.client.ended(), "ended");
    assert.equal(link.client.received, 25);
  });

  test("does not end while a slow client still has bytes to receive", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    await using link = await Link.open();
    // As if the send buffer of the kernel were full, with too few bytes to pause the upstream.
    link.near.client.cork();
    link.upstream.send("the last of it");
    await eventually("the relay has the bytes", () => link.meter.out === 14);
    link.lost.abort(new ExitedError("container a", {}));
    t.mock.timers.tick(3_000);
    link.near.client.uncork();
    await link.client.receives(14);
    await eventually("no byte is buffered", () => link.near.client.writableLength === 0);
    t.mock.timers.tick(2_000);
    t.mock.timers.tick(1_000);
    assert.equal(await link.ended(), "target_gone");
    assert.equal(link.client.text, "the last of it");
  });

  test("resets a client that reads none of the last bytes for 30 s", async (t) => {
    await using link = await Link.open();
    await link.clog();
    link.upstream.end();
    t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    link.lost.abort(new ExitedError("container a", { code: 0 }));
    t.mock.timers.tick(31_000);
    assert.equal(await link.ended(), "target_gone");
  });

  test("resets both sides at once for any other reason", async () => {
    await using link = await Link.open();
    link.client.send("hello");
    await link.upstream.receives(5);
    link.lost.abort(new ClosedError("drained"));
    assert.equal(await link.ended(), "drained");
    assert.deepEqual([await link.client.ended(), await link.upstream.ended()], ["ECONNRESET", "ECONNRESET"]);
  });

  test("resets both sides if the target was lost before the relay began", async () => {
    using client = await pair();
    using upstream = await pair();
    const lost = AbortSignal.abort(new ClosedError("drained"));
    const options = { client: client.near, upstream: upstream.near, meters: [], lost };
    assert.equal(await relay(options), "drained");
    assert.deepEqual([await client.far.ended(), await upstream.far.ended()], ["ECONNRESET", "ECONNRESET"]);
  });
});

suite("relay() after its end", () => {
  const endings: readonly { readonly how: string; readonly play: (link: Link) => void }[] = [
    {
      how: "a clean end",
      play: ({ client, upstream }) => {
        client.end("a");
        upstream.end("b");
      },
    },
    { how: "a reset by the client", play: ({ client }) => client.reset() },
    { how: "a reset by the upstream", play: ({ upstream }) => upstream.reset() },
    { how: "a drain", play: ({ lost }) => lost.abort(new ClosedError("drained")) },
    {
      how: "a target that exited",
      play: ({ upstream, client, lost }) => {
        upstream.end();
        lost.abort(new ExitedError("container a", {}));
        client.end();
      },
    },
  ];
  for (const { how, play } of endings) {
    test(`leaves no timer and no listener on the signal after ${how}`, async () => {
      const timers = timersActive();
      await using link = await Link.open();
      play(link);
      await link.ended();
      await eventually("no timer is left", () => timersActive() <= timers);
      assert.equal(getEventListeners(link.lost.signal, "abort").length, 0);
    });
  }
});

function timersActive(): number {
  return getActiveResourcesInfo().filter((name) => name === "Timeout").length;
}
