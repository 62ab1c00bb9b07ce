import assert from "node:assert/strict";
import { getEventListeners, once } from "node:events";
import type net from "node:net";
import { getActiveResourcesInfo, memoryUsage } from "node:process";
import { suite, test } from "node:test";
import { scheduler } from "node:timers/promises";
import { ClosedError, ExitedError } from "../../src/activation/errors.ts";
import { type Meter, type RelayEnd, relay } from "../../src/net/relay.ts";
import { KIB, MIB, payload } from "../bench/payload.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { type Pair, type Peer, pair, queuedTo } from "../support/net/tcp.ts";

/** A running relay: the test holds the far end of each side. */
class Link implements AsyncDisposable {
  readonly client: Peer;
  readonly upstream: Peer;
  /** The ends that the relay holds. */
  readonly near: { readonly client: net.Socket; readonly upstream: net.Socket };
  readonly meter: Meter = { in: 0, out: 0 };
  readonly total: Meter = { in: 1_000, out: 2_000 };
  readonly lost = new AbortController();
  /** How it ended; undefined as long as it goes on. */
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

  static async open(): Promise<Link> {
    return new Link(await pair(), await pair());
  }

  /** Fills every buffer between the upstream and a client that does not read. @returns how much was sent */
  async clog(bytes = 16 * MIB): Promise<number> {
    this.client.pause();
    this.upstream.send(payload(bytes));
    await this.standsStill();
    return bytes;
  }

  /** Waits until the relay holds something back, and nothing moves. */
  async standsStill(): Promise<void> {
    let before = -1;
    await eventually("the relay holds back the upstream", async () => {
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

  /** Waits until it is over: no relay of one test reaches into the next. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#pairs) one[Symbol.dispose]();
    await this.ended();
  }
}

/** That `peer` received the beginning of the payload and nothing else, `bytes` of it. */
function assertReceived(peer: Peer, bytes: number): void {
  assert.equal(peer.received, bytes);
  assert.ok(peer.data.equals(payload(bytes)), "what arrived differs from what was sent");
}

checkLeaks();

suite("relay()", () => {
  test("passes a half-close of the client on, and the answer that comes after it", async () => {
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

  test("passes a half-close of the upstream on, and the upload that comes after it", async () => {
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

  test("delivers both directions when both sides send and half-close at once", async () => {
    await using link = await Link.open();
    link.client.end(payload(4 * MIB));
    link.upstream.end(payload(3 * MIB));
    assert.equal(await link.ended(), "clean");
    assert.deepEqual([await link.client.ended(), await link.upstream.ended()], ["ended", "ended"]);
    assertReceived(link.upstream, 4 * MIB);
    assertReceived(link.client, 3 * MIB);
  });

  test("passes a reset of the client on as a reset", async () => {
    await using link = await Link.open();
    link.client.reset();
    assert.equal(await link.upstream.ended(), "ECONNRESET");
    assert.equal(await link.ended(), "client_reset");
    assertReceived(link.upstream, 0);
  });

  test("passes a reset of the upstream on as a reset", async () => {
    await using link = await Link.open();
    link.upstream.reset();
    assert.equal(await link.client.ended(), "ECONNRESET");
    assert.equal(await link.ended(), "upstream_reset");
    assertReceived(link.client, 0);
  });

  test("passes a reset on to a side that has half-closed", async () => {
    await using link = await Link.open();
    link.client.end("request");
    assert.equal(await link.upstream.ended(), "ended");
    link.upstream.reset();
    assert.equal(await link.client.ended(), "ECONNRESET");
    assert.equal(await link.ended(), "upstream_reset");
  });

  test("delivers 100 KB, and then the reset that followed them", async () => {
    await using link = await Link.open();
    link.upstream.send(payload(100 * KIB));
    await link.client.receives(100 * KIB);
    link.upstream.reset();
    assert.equal(await link.client.ended(), "ECONNRESET");
    assertReceived(link.client, 100 * KIB);
    assert.equal(await link.ended(), "upstream_reset");
  });

  test("delivers 100 KB, and then the reset, to a client that reads late", async () => {
    await using link = await Link.open();
    link.client.pause();
    link.upstream.send(payload(100 * KIB));
    await eventually("the relay has read it all", () => link.meter.out === 100 * KIB);
    link.upstream.reset();
    assert.equal(await link.ended(), "upstream_reset");
    link.client.resume();
    assert.equal(await link.client.ended(), "ECONNRESET");
    assertReceived(link.client, 100 * KIB);
  });

  test("delivers what it still holds itself before it passes a reset on", async () => {
    await using link = await Link.open();
    const timers = timersActive();
    // As when the kernel takes no more for the moment.
    link.near.client.cork();
    link.upstream.send(payload(60 * KIB));
    await eventually("the relay has read it all", () => link.meter.out === 60 * KIB);
    link.upstream.reset();
    await eventually("the reset is noticed", () => link.near.upstream.closed);
    assert.equal(link.client.fate, "open");
    link.near.client.uncork();
    assert.equal(await link.client.ended(), "ECONNRESET");
    assertReceived(link.client, 60 * KIB);
    await link.ended();
    assert.equal(timersActive(), timers, "it still waits to give the client up");
  });

  test("passes on what a broken upstream had sent, also when only a write shows that it broke", async () => {
    await using link = await Link.open();
    await link.clog();
    const { readableLength } = link.near.upstream;
    const before = link.meter.out;
    assert.ok(readableLength > 0, "the relay should have read ahead");
    link.upstream.reset();
    link.client.send("are you there?");
    await eventually("the reset is noticed", () => link.near.upstream.closed);
    link.client.resume();
    assert.equal(await link.ended(), "upstream_reset");
    assert.equal(link.meter.out, before + readableLength);
  });

  test("lets no reset look like an end to a client that lags behind", async () => {
    await using link = await Link.open();
    await link.clog();
    link.upstream.reset();
    link.client.resume();
    assert.equal(await link.client.ended(), "ECONNRESET");
    assert.equal(await link.ended(), "upstream_reset");
    assertReceived(link.client, link.client.received);
  });

  test("delivers what it holds for a slow upstream before it passes a reset of the client on", async () => {
    await using link = await Link.open();
    link.upstream.pause();
    link.client.send(payload(100 * KIB));
    await eventually("the relay has read it all", () => link.meter.in === 100 * KIB);
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
      await eventually("it has been read", () => link.meter.in === sent);
    }
    link.client.reset();
    t.mock.timers.enable({ apis: ["setTimeout"] });
    await eventually("the reset is noticed", () => link.near.client.destroyed);
    for (let ms = 0; ms < 900; ms += 100) {
      t.mock.timers.tick(100);
      await scheduler.wait(5);
    }
    t.mock.timers.reset();
    link.upstream.resume();
    assert.equal(await link.upstream.ended(), "ECONNRESET");
    assert.equal(await link.ended(), "client_reset");
    assert.equal(link.near.upstream.bytesWritten, sent);
    assertReceived(link.upstream, sent);
  });

  test("resets an upstream that the client left in the middle of a download", async () => {
    await using link = await Link.open();
    link.upstream.flood(payload(64 * KIB));
    await link.client.receives(MIB);
    link.client.reset();
    assert.match(await link.upstream.ended(), /ECONNRESET|EPIPE/);
    assert.equal(await link.ended(), "client_reset");
  });

  test("resets a client whose upstream breaks off in the middle of an upload", async () => {
    await using link = await Link.open();
    link.client.flood(payload(64 * KIB));
    await link.upstream.receives(MIB);
    link.upstream.reset();
    assert.match(await link.client.ended(), /ECONNRESET|EPIPE/);
    assert.equal(await link.ended(), "upstream_reset");
  });

  test("gives up after a second on a client that reads nothing of what it holds after a reset", async (t) => {
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

  test("is over when a side breaks while the end of the other one is on its way", async () => {
    for (const side of ["client", "upstream"] as const) {
      await using link = await Link.open();
      link.near[side].once("end", () => link.near[side].destroy(new Error("broken in the same turn")));
      link[side].end("the last words");
      assert.equal(await link.ended(), `${side}_reset`);
      const other = link[side === "client" ? "upstream" : "client"];
      assert.notEqual(await other.ended(), "open");
      assert.equal(other.text, "the last words");
      assert.deepEqual([link.near.client.closed, link.near.upstream.closed], [true, true]);
    }
  });

  test("notices within 15 s that a side is gone which had ended before", async (t) => {
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

  test("looks at a side that has ended without doing it any harm", async (t) => {
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

  test("passes a half-close on that was seen before it began", async () => {
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

  test("takes a client that broke a moment before it began for a reset", async () => {
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
    assert.equal(isClosed, false, "too late for this test: it is closed already");
    assert.equal(await upstream.far.ended(), "ECONNRESET");
    assert.equal(await end, "client_reset");
  });
});

/** Data and a close_notify of TLS 1.3, as an observer sees them. */
const TLS_DATA = Buffer.from(`1703030020${"ab".repeat(32)}`, "hex");
const TLS_CLOSE = Buffer.from(`1703030013${"cd".repeat(19)}`, "hex");

suite("relay() of TLS", () => {
  for (const side of ["client", "upstream"] as const) {
    const otherSide = side === "client" ? "upstream" : "client";

    test(`passes a reset of the ${side} on that comes after both closed, and ends clean`, async () => {
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

    test(`ends with a reset of the ${side} if it did not close its stream before`, async () => {
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

    test(`ends with a reset of the ${side} if the other one had not closed`, async () => {
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

  test("ends with a reset of an upstream that had not been sent all", async () => {
    await using link = await Link.open();
    // As when the kernel takes no more for the moment.
    link.near.upstream.cork();
    link.client.send(Buffer.concat([payload(60 * KIB), TLS_CLOSE]));
    await eventually("the relay has read it all", () => link.meter.in === 60 * KIB + TLS_CLOSE.length);
    link.upstream.send(TLS_CLOSE);
    await link.client.receives(TLS_CLOSE.length);
    link.upstream.reset();
    assert.equal(await link.ended(), "upstream_reset");
  });
});

suite("relay() of much data", () => {
  test("carries 64 MB to a slow reader in flat memory", async () => {
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
    await eventually("all is received", () => received === total);
    assert.ok(mostHeld > 0, "the reader was not slow");
    assert.ok(mostHeld <= 192 * KIB, `${mostHeld} bytes were held`);
    assert.ok(mostRss - rss < 32 * MIB, `grew by ${(mostRss - rss) / MIB} MiB`);
  });

  test("counts every byte, in all meters, while it flows", async () => {
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

suite("relay() when the target is lost", () => {
  test("delivers the last words of an upstream that ended to a client that reads late", async (t) => {
    await using link = await Link.open();
    const sent = await link.clog();
    link.upstream.end();
    t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    link.lost.abort(new ExitedError("container a", { code: 0 }));
    t.mock.timers.tick(20_000);
    link.client.resume();
    assert.equal(await link.client.ended(), "ended");
    assertReceived(link.client, sent);
    await eventually("the upstream is let go", () => link.near.upstream.closed);
    assert.equal(link.end, undefined);
    link.client.end();
    assert.equal(await link.ended(), "clean");
  });

  test("lets a client take the last words as slowly as it likes", async (t) => {
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

  test("delivers the last words of an upstream whose end had been seen before", async () => {
    await using link = await Link.open();
    link.upstream.end("bye");
    assert.equal(await link.client.ended(), "ended");
    link.lost.abort(new ExitedError("container a", { code: 0 }));
    await eventually("the upstream is let go", () => link.near.upstream.closed);
    link.client.end();
    assert.equal(await link.ended(), "clean");
    assert.equal(link.client.text, "bye");
  });

  test("resets a client that goes on speaking when nobody hears it any more", async () => {
    await using link = await Link.open();
    link.upstream.end();
    assert.equal(await link.client.ended(), "ended");
    link.lost.abort(new ExitedError("container a", { code: 0 }));
    await eventually("the upstream is let go", () => link.near.upstream.closed);
    link.client.flood(payload(64 * KIB));
    assert.equal(await link.ended(), "target_gone");
    await eventually("the client is reset", () => /ECONNRESET|EPIPE/.test(link.client.fate));
    assert.equal(link.meter.in, 0, "what nobody receives is not counted");
  });

  test("lets a client read the last words first that goes on speaking, and resets it at the end", async () => {
    await using link = await Link.open();
    const sent = await link.clog();
    link.upstream.end();
    link.lost.abort(new ExitedError("container a", { code: 0 }));
    link.client.send("are you there?");
    await eventually("it is read", () => link.near.client.bytesRead > 0);
    link.client.resume();
    assert.equal(await link.client.ended(), "ended");
    assertReceived(link.client, sent);
    await eventually("the upstream is let go", () => link.near.upstream.closed);
    link.client.end("what is lost");
    assert.equal(await link.ended(), "target_gone");
  });

  test("resets a client of which something had not reached the upstream", async () => {
    await using link = await Link.open();
    link.upstream.pause();
    link.client.send(payload(16 * MIB));
    await eventually("the relay holds it back", () => link.near.upstream.writableLength > 0);
    link.upstream.end();
    assert.equal(await link.client.ended(), "ended");
    link.lost.abort(new ExitedError("container a", { code: 0 }));
    assert.equal(await link.ended(), "target_gone");
  });

  test("resets a client that does not hang up within 30 s of the last words", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    await using link = await Link.open();
    link.upstream.end("bye");
    assert.equal(await link.client.ended(), "ended");
    link.lost.abort(new ExitedError("container a", { code: 0 }));
    await eventually("the upstream is let go", () => link.near.upstream.closed);
    await scheduler.wait(20);
    t.mock.timers.tick(29_999);
    await scheduler.wait(20);
    assert.equal(link.end, undefined);
    t.mock.timers.tick(1);
    assert.equal(await link.ended(), "target_gone");
    // A side that has seen the end of the stream notices only when it writes.
    link.client.send("?");
    await eventually("the client is reset", () => link.client.fate !== "ended");
  });

  test("resets both when the upstream stays silent for a second", async (t) => {
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

  test("waits on for as long as the upstream goes on talking", async (t) => {
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

  test("does not take it for silence that a slow client still has to be given something", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    await using link = await Link.open();
    // As when the kernel takes no more for the moment, with less to hold than it takes to stop the upstream.
    link.near.client.cork();
    link.upstream.send("the last of it");
    await eventually("the relay has it", () => link.meter.out === 14);
    link.lost.abort(new ExitedError("container a", {}));
    t.mock.timers.tick(3_000);
    link.near.client.uncork();
    await link.client.receives(14);
    await eventually("nothing is held", () => link.near.client.writableLength === 0);
    t.mock.timers.tick(2_000);
    t.mock.timers.tick(1_000);
    assert.equal(await link.ended(), "target_gone");
    assert.equal(link.client.text, "the last of it");
  });

  test("resets a client that reads nothing of the last words for 30 s", async (t) => {
    await using link = await Link.open();
    await link.clog();
    link.upstream.end();
    t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    link.lost.abort(new ExitedError("container a", { code: 0 }));
    t.mock.timers.tick(31_000);
    assert.equal(await link.ended(), "target_gone");
  });

  test("resets both at once for any other reason", async () => {
    await using link = await Link.open();
    link.client.send("hello");
    await link.upstream.receives(5);
    link.lost.abort(new ClosedError("drained"));
    assert.equal(await link.ended(), "drained");
    assert.deepEqual([await link.client.ended(), await link.upstream.ended()], ["ECONNRESET", "ECONNRESET"]);
  });

  test("resets both when the target was lost before it began", async () => {
    using client = await pair();
    using upstream = await pair();
    const lost = AbortSignal.abort(new ClosedError("drained"));
    const options = { client: client.near, upstream: upstream.near, meters: [], lost };
    assert.equal(await relay(options), "drained");
    assert.deepEqual([await client.far.ended(), await upstream.far.ended()], ["ECONNRESET", "ECONNRESET"]);
  });
});

suite("relay() when it is over", () => {
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
    test(`leaves no timer and no listener on the target's signal after ${how}`, async () => {
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
