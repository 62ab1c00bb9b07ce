import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { constants } from "node:os";
import { suite, test } from "node:test";
import type { CoreOptions } from "../../src/dataplane/core.ts";
import { detachBoth } from "../../src/dataplane/detach.ts";
import { loadSyscalls, type Syscalls } from "../../src/dataplane/syscalls.ts";
import { loadLibc } from "../../src/ffi/libc.ts";
import { socketFd } from "../../src/net/socket-fd.ts";
import { KIB, MIB, payload } from "../bench/payload.ts";
import { CoreLink, CoreLoop } from "../support/dataplane/core-link.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { type Peer, pair, queuedTo } from "../support/net/tcp.ts";

const syscalls = loadSyscalls();

const MSG_OOB = 1;
const send = loadLibc().find("long send(int, void*, size_t, int)");

/** Sends one byte of urgent data, which is not part of the stream. */
function sendUrgent({ socket }: Peer): void {
  assert.equal(send(socketFd(socket), Buffer.from("!"), 1, MSG_OOB), 1);
}

/** Asserts that `peer` received exactly the first `bytes` bytes of the payload. */
function assertReceived(peer: Peer, bytes: number): void {
  assert.equal(peer.received, bytes);
  assert.ok(peer.data.equals(payload(bytes)), "the received bytes differ from the sent bytes");
}

/** The system calls with some replaced. */
function replaced(calls: Partial<Syscalls>): Pick<CoreOptions, "syscalls"> {
  return { syscalls: { ...syscalls, ...calls } };
}

checkLeaks();

const variants: readonly (readonly [name: string, options: Partial<CoreOptions>])[] = [
  ["with pipes of 256 KiB", {}],
  ["with pipes of 4 KiB", { pipeBytes: 4 * KIB }],
  ["without pipes", replaced({ pipe: () => -24 })],
];

for (const [name, options] of variants) {
  suite(`a core ${name}`, () => {
    test("forwards half-closes in both directions, and all bytes before them", async () => {
      using loop = new CoreLoop(options);
      using link = await CoreLink.open(loop);
      link.client.end(payload(MIB));
      assert.equal(await link.upstream.ended(), "ended");
      assertReceived(link.upstream, MIB);
      assert.equal(link.client.fate, "open");
      link.upstream.end(payload(3 * MIB));
      assert.equal(await link.client.ended(), "ended");
      assertReceived(link.client, 3 * MIB);
      assert.equal(await link.ended(), "clean");
      assert.deepEqual(link.meter, { in: MIB, out: 3 * MIB });
    });

    test("delivers both directions if both sides send and half-close at once", async () => {
      using loop = new CoreLoop(options);
      using link = await CoreLink.open(loop);
      link.client.end(payload(4 * MIB));
      link.upstream.end(payload(3 * MIB));
      assert.equal(await link.ended(), "clean");
      assert.deepEqual([await link.client.ended(), await link.upstream.ended()], ["ended", "ended"]);
      assertReceived(link.upstream, 4 * MIB);
      assertReceived(link.client, 3 * MIB);
    });

    test("forwards many small messages in both directions", async () => {
      using loop = new CoreLoop(options);
      using link = await CoreLink.open(loop);
      for (let sent = 1; sent <= 50; sent += 1) {
        link.client.send("request");
        await link.upstream.receives(sent * 7);
        link.upstream.send("answer");
        await link.client.receives(sent * 6);
      }
      assert.equal(link.client.text, "answer".repeat(50));
    });

    test("forwards all bytes around urgent data", async () => {
      using loop = new CoreLoop(options);
      using link = await CoreLink.open(loop);
      link.client.send("before");
      sendUrgent(link.client);
      link.client.send("after");
      await link.upstream.receives("beforeafter".length);
      link.upstream.pause();
      link.client.send(payload(MIB));
      await link.standsStill();
      sendUrgent(link.client);
      link.client.end(payload(MIB));
      link.upstream.resume();
      assert.equal(await link.upstream.ended(), "ended");
      assert.equal(link.upstream.received, "beforeafter".length + 2 * MIB);
    });

    test("delivers 8 MiB to a client that begins to read late", async () => {
      using loop = new CoreLoop(options);
      using link = await CoreLink.open(loop);
      link.client.pause();
      link.upstream.end(payload(8 * MIB));
      await link.standsStill();
      link.client.resume();
      assert.equal(await link.client.ended(), "ended");
      assertReceived(link.client, 8 * MIB);
      link.client.end();
      assert.equal(await link.ended(), "clean");
    });

    test("delivers received bytes before an upstream reset to a client that begins to read late", async () => {
      using loop = new CoreLoop(options);
      using link = await CoreLink.open(loop);
      link.client.pause();
      link.upstream.send(payload(MIB));
      // A reset discards what is not acknowledged.
      await eventually("all bytes have left the upstream", () => queuedTo(link.upstream.socket) === 0);
      link.upstream.reset();
      link.client.resume();
      assert.equal(await link.client.ended(), "ECONNRESET");
      assertReceived(link.client, MIB);
      assert.equal(await link.ended(), "upstream_reset");
    });
  });
}

suite("a core", () => {
  for (const side of ["client", "upstream"] as const) {
    const otherSide = side === "client" ? "upstream" : "client";

    test(`forwards a reset of the ${side}`, async () => {
      using loop = new CoreLoop();
      using link = await CoreLink.open(loop);
      link[side].reset();
      assert.equal(await link[otherSide].ended(), "ECONNRESET");
      assert.equal(await link.ended(), `${side}_reset`);
      assert.equal(link[otherSide].received, 0);
    });

    test(`forwards a reset of the ${side} to a side that has half-closed`, async () => {
      using loop = new CoreLoop();
      using link = await CoreLink.open(loop);
      link[otherSide].end("request");
      assert.equal(await link[side].ended(), "ended");
      link[side].reset();
      assert.equal(await link[otherSide].ended(), "ECONNRESET");
      assert.equal(await link.ended(), `${side}_reset`);
    });

    test(`forwards a reset of the ${side} that follows a half-close`, async () => {
      using loop = new CoreLoop();
      using link = await CoreLink.open(loop);
      link[side].end("request");
      assert.equal(await link[otherSide].ended(), "ended");
      link[side].reset();
      await eventually("the other side is reset", () => link[otherSide].socket.destroyed || link.end !== undefined);
      assert.equal(await link.ended(), `${side}_reset`);
    });

    test(`ends if the ${side} resets while the other side sends`, async () => {
      using loop = new CoreLoop();
      using link = await CoreLink.open(loop);
      link[otherSide].flood(payload(64 * KIB));
      await link[side].receives(MIB);
      link[side].reset();
      assert.match(await link[otherSide].ended(), /ECONNRESET|EPIPE/);
      assert.equal(await link.ended(), `${side}_reset`);
    });
  }

  test("resets a client that reads nothing for 1 s after an upstream reset", async () => {
    let now = 0;
    using loop = new CoreLoop({ now: () => now });
    using link = await CoreLink.open(loop);
    link.client.pause();
    link.upstream.send(payload(16 * MIB));
    await link.standsStill();
    link.upstream.reset();
    await loop.hasTurned(10);
    assert.equal(link.end, undefined);
    now = 999;
    await loop.hasTurned(10);
    assert.equal(link.end, undefined);
    now = 1_000;
    assert.equal(await link.ended(), "upstream_reset");
  });

  test("continues while a slow client receives the bytes before an upstream reset", async () => {
    let now = 0;
    using loop = new CoreLoop({ now: () => now });
    using link = await CoreLink.open(loop);
    link.client.pause();
    link.upstream.send(payload(2 * MIB));
    await link.standsStill();
    await eventually("all bytes have left the upstream", () => queuedTo(link.upstream.socket) === 0);
    link.upstream.reset();
    while (link.client.received < 2 * MIB) {
      await loop.hasTurned(5);
      now += 900;
      if (now > 20_000) now = 20_000;
      const before = link.client.received;
      link.client.resume();
      await eventually("the client receives", () => link.client.received > before);
      link.client.pause();
    }
    link.client.resume();
    assert.equal(await link.client.ended(), "ECONNRESET");
    assertReceived(link.client, 2 * MIB);
  });

  test("sends the bytes that Node had read first", async () => {
    using loop = new CoreLoop();
    const [client, upstream] = [await pair(), await pair()];
    client.near.pause().read(0);
    client.far.send("early ");
    await eventually("Node has read", () => client.near.readableLength > 0);
    const [one, other] = detachBoth(syscalls, [client.near, upstream.near])!;
    client.far.end("late");
    const early = { client: { bytes: one.bytes }, upstream: { bytes: other.bytes } };
    loop.core.add({ slot: 1, client: one.fd, upstream: other.fd, early });
    assert.equal(await upstream.far.ended(), "ended");
    assert.equal(upstream.far.text, "early late");
    upstream.far.end();
    await eventually("the pair ended", () => loop.ends.get(1) === "clean");
  });

  test("forwards an end that Node had read before", async () => {
    using loop = new CoreLoop();
    const [client, upstream] = [await pair(), await pair()];
    client.near.resume();
    client.far.end();
    await eventually("Node has read the end", () => client.near.readableEnded);
    const [one, other] = detachBoth(syscalls, [client.near, upstream.near])!;
    loop.core.add({ slot: 1, client: one.fd, upstream: other.fd });
    assert.equal(await upstream.far.ended(), "ended");
    upstream.far.end("answer");
    assert.equal(await client.far.ended(), "ended");
    assert.equal(client.far.text, "answer");
    await eventually("the pair ended", () => loop.ends.get(1) === "clean");
  });

  test("ends a pair whose upstream had failed before", async () => {
    using loop = new CoreLoop();
    const [client, upstream] = [await pair(), await pair()];
    const [one, other] = detachBoth(syscalls, [client.near, upstream.near])!;
    upstream.far.reset();
    // The kernel reports an error once only.
    const byte = Buffer.alloc(1);
    await eventually("a send fails", () => syscalls.send(other.fd, byte, 1) === -constants.errno.ECONNRESET);
    loop.core.add({ slot: 1, client: one.fd, upstream: other.fd, early: { upstream: { isBroken: true } } });
    assert.equal(await client.far.ended(), "ECONNRESET");
    assert.equal(loop.ends.get(1), "upstream_reset");
  });

  test("ignores events of a closed descriptor whose number another connection has now", async () => {
    const others: (readonly [number, number])[] = [];
    let added = 0;
    using loop = new CoreLoop({
      // The numbers that were closed a moment ago are the lowest free ones.
      onEnd: () => {
        const next = others.shift();
        if (next === undefined) return;
        const [client, upstream] = next.map((fd) => syscalls.duplicate(fd)) as [number, number];
        for (const fd of next) syscalls.close(fd);
        added += 1;
        loop.core.add({ slot: 1_000 + added, client, upstream });
      },
    });
    const links = await Promise.all(Array.from({ length: 20 }, () => CoreLink.open(loop)));
    const later = await Promise.all(Array.from({ length: 20 }, async () => [await pair(), await pair()] as const));
    for (const [client, upstream] of later) {
      const [one, other] = detachBoth(syscalls, [client.near, upstream.near])!;
      others.push([one.fd, other.fd]);
    }
    for (const { client, upstream } of links) {
      client.reset();
      upstream.reset();
    }
    await eventually("all were replaced", () => added === 20);
    for (const [index, [client, upstream]] of later.entries()) {
      client.far.end("request");
      assert.equal(await upstream.far.ended(), "ended", `connection ${index}`);
      upstream.far.end();
      assert.equal(await client.far.ended(), "ended", `connection ${index}`);
    }
    for (const link of links) link[Symbol.dispose]();
  });

  test("leaves no descriptor open", async () => {
    const open = (): number => readdirSync("/proc/self/fd").length;
    const before = open();
    {
      using loop = new CoreLoop();
      for (const how of ["end", "reset", "cut"] as const) {
        using link = await CoreLink.open(loop);
        link.client.send(payload(2 * MIB));
        link.upstream.send(payload(2 * MIB));
        await link.client.receives(MIB);
        if (how === "cut") loop.core.cut(link.slot, "drained");
        else if (how === "reset") link.client.reset();
        else {
          link.client.end();
          link.upstream.end();
        }
        await link.ended();
      }
      using open = await CoreLink.open(loop);
      open.client.send("bytes");
    }
    await eventually("all descriptors are closed", () => open() <= before);
  });
});

/** Data and a close_notify of TLS 1.3, encrypted. */
const TLS_DATA = Buffer.from(`1703030020${"ab".repeat(32)}`, "hex");
const TLS_CLOSE = Buffer.from(`1703030013${"cd".repeat(19)}`, "hex");

suite("a core with TLS", () => {
  for (const records of [1, 40_000]) {
    const data = Buffer.alloc(records * TLS_DATA.length, TLS_DATA);

    test(`reports a reset after both sides sent a TLS close as clean, after ${data.length} bytes`, async () => {
      using loop = new CoreLoop();
      using link = await CoreLink.open(loop);
      link.upstream.send(Buffer.concat([data, TLS_CLOSE]));
      await link.client.receives(data.length + TLS_CLOSE.length);
      link.client.send(Buffer.concat([TLS_DATA, TLS_CLOSE]));
      await link.upstream.receives(TLS_DATA.length + TLS_CLOSE.length);
      link.client.reset();
      assert.equal(await link.upstream.ended(), "ECONNRESET");
      assert.equal(await link.ended(), "clean");
    });

    test(`reports a reset without a TLS close, after ${data.length} bytes`, async () => {
      using loop = new CoreLoop();
      using link = await CoreLink.open(loop);
      link.upstream.send(data);
      await link.client.receives(data.length);
      link.client.send(Buffer.concat([TLS_DATA, TLS_CLOSE]));
      await link.upstream.receives(TLS_DATA.length + TLS_CLOSE.length);
      link.client.reset();
      assert.equal(await link.ended(), "client_reset");
    });
  }
});

suite("a core after the loss of the target", () => {
  test("delivers the last bytes, and ends clean after the client's FIN", async () => {
    using loop = new CoreLoop();
    using link = await CoreLink.open(loop);
    link.client.pause();
    link.upstream.end(payload(4 * MIB));
    loop.core.targetGone(link.slot);
    link.client.resume();
    assert.equal(await link.client.ended(), "ended");
    assertReceived(link.client, 4 * MIB);
    link.client.end();
    assert.equal(await link.ended(), "clean");
  });

  test("resets a client that still sends, after it has the last bytes", async () => {
    using loop = new CoreLoop();
    using link = await CoreLink.open(loop);
    link.upstream.end("last");
    loop.core.targetGone(link.slot);
    assert.equal(await link.client.ended(), "ended");
    link.client.end("lost");
    assert.equal(await link.ended(), "target_gone");
    assert.equal(link.client.text, "last");
  });

  test("resets a client that sends to a target that sent nothing", async () => {
    using loop = new CoreLoop();
    using link = await CoreLink.open(loop);
    link.upstream.end();
    loop.core.targetGone(link.slot);
    assert.equal(await link.client.ended(), "ended");
    link.client.send("lost");
    assert.equal(await link.ended(), "target_gone");
  });

  test("resets a client whose bytes did not all reach the upstream", async () => {
    using loop = new CoreLoop();
    using link = await CoreLink.open(loop);
    link.upstream.pause();
    link.client.end(payload(16 * MIB));
    await link.standsStill();
    link.upstream.end();
    loop.core.targetGone(link.slot);
    assert.equal(await link.ended(), "target_gone");
  });

  test("resets both sides if the upstream is silent for 1 s", async () => {
    let now = 0;
    using loop = new CoreLoop({ now: () => now });
    using link = await CoreLink.open(loop);
    link.upstream.send("bytes");
    await link.client.receives(5);
    loop.core.targetGone(link.slot);
    await loop.hasTurned(10);
    now = 999;
    await loop.hasTurned(10);
    assert.equal(link.end, undefined);
    link.upstream.send("more");
    await link.client.receives(9);
    now = 1_998;
    await loop.hasTurned(10);
    assert.equal(link.end, undefined);
    now = 3_000;
    assert.equal(await link.ended(), "target_gone");
    assert.equal(await link.client.ended(), "ECONNRESET");
  });

  test("resets a client that does not close within 30 s after the last bytes", async () => {
    let now = 0;
    using loop = new CoreLoop({ now: () => now });
    using link = await CoreLink.open(loop);
    link.upstream.end("last");
    loop.core.targetGone(link.slot);
    assert.equal(await link.client.ended(), "ended");
    // A late acknowledgement would be progress.
    await link.isDelivered();
    now = 29_999;
    await loop.hasTurned(10);
    assert.equal(link.end, undefined);
    now = 30_001;
    assert.equal(await link.ended(), "target_gone");
  });

  test("resets both sides at once if the connection is cut", async () => {
    using loop = new CoreLoop();
    using link = await CoreLink.open(loop);
    loop.core.cut(link.slot, "drained");
    assert.equal(link.end, "drained");
    assert.equal(await link.client.ended(), "ECONNRESET");
    assert.equal(await link.upstream.ended(), "ECONNRESET");
  });
});
