import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { peek } from "../../../src/net/peek.ts";
import { LingeringClose } from "../../../src/proxy/admission/lingering-close.ts";
import { eventually } from "../../support/eventually.ts";
import { type Pair, pair } from "../../support/net/tcp.ts";

const BANNER = Buffer.from("421 Too many users.\r\n");

/** A client with unread bytes. */
async function withUnread(bytes = 64 * 1024): Promise<Pair> {
  const two = await pair();
  two.near.pause();
  two.far.send(Buffer.alloc(bytes, "x"));
  await eventually("the bytes have arrived", () => two.near.readableLength > 0);
  return two;
}

suite("LingeringClose", () => {
  test("closes in good order, also a client with unread bytes", async () => {
    using two = await withUnread();
    const done = new LingeringClose().start(two.near, { how: "close" });
    assert.equal(await two.far.ended(), "ended");
    two.far.end();
    await done;
    assert.equal(two.far.fate, "ended");
  });

  test("resets at once without a banner", async () => {
    using two = await withUnread();
    await new LingeringClose().start(two.near, { how: "reset" });
    assert.equal(await two.far.ended(), "ECONNRESET");
  });

  for (const way of ["close", "reset"] as const) {
    test(`delivers a banner before a ${way}, although the client has sent bytes and still sends`, async () => {
      using two = await withUnread();
      const banner = Buffer.alloc(64 * 1024, "no ");
      two.far.flood(Buffer.alloc(64 * 1024, "y"));
      const done = new LingeringClose({ limit: 8, timeoutMs: 500 }).start(two.near, { banner, how: way });
      await two.far.ended();
      assert.ok(two.far.data.equals(banner));
      await done;
      assert.ok(two.near.destroyed);
    });
  }

  test("resets after the client's end of stream", async () => {
    using two = await pair();
    const began = performance.now();
    const done = new LingeringClose({ limit: 8, timeoutMs: 60_000 }).start(two.near, { banner: BANNER, how: "reset" });
    await two.far.receives(BANNER.length);
    assert.equal(two.far.fate, "open");
    two.far.end();
    await done;
    assert.ok(performance.now() - began < 5_000);
  });

  test("delivers bytes that were written before", async () => {
    using two = await withUnread();
    two.near.write(BANNER);
    const done = new LingeringClose({ limit: 8, timeoutMs: 200 }).start(two.near, { how: "reset" });
    assert.equal(await two.far.ended(), "ECONNRESET");
    assert.equal(two.far.text, BANNER.toString());
    await done;
  });

  test("ends after its timeout", async () => {
    using two = await pair();
    const lingering = new LingeringClose({ limit: 8, timeoutMs: 100 });
    await lingering.start(two.near, { banner: BANNER, how: "close" });
    assert.equal(lingering.size, 0);
    assert.ok(two.near.destroyed);
    assert.equal(two.far.text, BANNER.toString());
  });

  test("ends the oldest close at its limit", async () => {
    const lingering = new LingeringClose({ limit: 2, timeoutMs: 60_000 });
    using stack = new DisposableStack();
    const pairs: Pair[] = [];
    const closes: Promise<void>[] = [];
    for (let count = 0; count < 4; count += 1) {
      const two = stack.use(await pair());
      pairs.push(two);
      closes.push(lingering.start(two.near, { banner: BANNER, how: "close" }));
      assert.ok(lingering.size <= 2);
    }
    await Promise.all(closes.slice(0, 2));
    assert.equal(pairs[3]!.near.destroyed, false);
    lingering.close();
    await Promise.all(closes);
    await eventually("all have the banner", () => pairs.every(({ far }) => far.text === BANNER.toString()));
  });

  test("ends the oldest close of the source with most, although another one is older", async () => {
    const lingering = new LingeringClose({ limit: 3, timeoutMs: 60_000 });
    using early = await pair("127.0.0.2");
    using first = await pair();
    using second = await pair();
    using late = await pair("127.0.0.3");
    const closes = [early, first, second, late].map(({ near }) =>
      lingering.start(near, { banner: BANNER, how: "close" }),
    );
    await closes[1];
    assert.deepEqual(
      [early, first, second, late].map(({ near }) => near.destroyed),
      [false, true, false, false],
    );
    lingering.close();
    await Promise.all(closes);
    assert.equal(lingering.size, 0);
  });

  test("counts a client whose reply is pending, and may end it at the limit", async () => {
    const lingering = new LingeringClose({ limit: 1, timeoutMs: 60_000 });
    using first = await pair();
    using second = await pair();
    const reply = Promise.withResolvers<Buffer | undefined>();
    first.near.once("close", () => reply.resolve(undefined));
    const pending = lingering.startAfterReply(first.near, reply.promise);
    await eventually("the close has begun", () => lingering.size === 1);
    const other = lingering.startAfterReply(second.near, Promise.resolve(BANNER));
    await pending;
    assert.ok(first.near.destroyed);
    assert.equal(await second.far.ended(), "ended");
    assert.equal(second.far.text, BANNER.toString());
    second.far.end();
    await other;
    assert.equal(lingering.size, 0);
  });

  test("needs no slot for a reply that depends on received bytes only", async () => {
    const lingering = new LingeringClose({ limit: 1, timeoutMs: 60_000 });
    const clients = await Promise.all(Array.from({ length: 4 }, () => withUnread(8)));
    const options = { limit: 8, deadlineMs: 60_000, signal: new AbortController().signal };
    const read = (): { value: Buffer; used: number } => ({ value: BANNER, used: 0 });
    const closes = clients.map(({ near }) => lingering.startAfterReply(near, peek(near, { read, ...options })));
    await eventually("all have the banner", () => clients.every(({ far }) => far.text === BANNER.toString()));
    lingering.close();
    await Promise.all(closes);
    for (const client of clients) client[Symbol.dispose]();
  });

  test("resets a client without a reply, and needs no slot", async () => {
    const lingering = new LingeringClose({ limit: 1, timeoutMs: 60_000 });
    using first = await pair();
    using second = await pair();
    const close = lingering.start(first.near, { banner: BANNER, how: "close" });
    await lingering.startAfterReply(second.near, Promise.resolve(undefined));
    assert.equal(await second.far.ended(), "ECONNRESET");
    assert.equal(first.near.destroyed, false);
    lingering.close();
    await close;
  });

  test("does nothing for a closed socket", async () => {
    using two = await pair();
    two.near.destroy();
    await new LingeringClose().start(two.near, { banner: BANNER, how: "close" });
  });

  test("ends when the client resets", async () => {
    using two = await pair();
    const done = new LingeringClose({ limit: 8, timeoutMs: 60_000 }).start(two.near, { banner: BANNER, how: "close" });
    two.far.reset();
    await done;
  });
});
