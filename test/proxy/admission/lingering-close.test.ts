import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { peek } from "../../../src/net/peek.ts";
import { LingeringClose } from "../../../src/proxy/admission/lingering-close.ts";
import { eventually } from "../../support/eventually.ts";
import { type Pair, pair } from "../../support/net/tcp.ts";

const BANNER = Buffer.from("421 Too many users.\r\n");

/** A client whose bytes have arrived, and lie there unread. */
async function speaking(bytes = 64 * 1024): Promise<Pair> {
  const two = await pair();
  two.near.pause();
  two.far.send(Buffer.alloc(bytes, "x"));
  await eventually("the bytes are there", () => two.near.readableLength > 0);
  return two;
}

suite("Farewell", () => {
  test("a close is one in good order, even of a client that has sent what nobody read", async () => {
    using two = await speaking();
    const done = new LingeringClose().start(two.near, { how: "close" });
    assert.equal(await two.far.ended(), "ended");
    two.far.end();
    await done;
    assert.equal(two.far.fate, "ended");
  });

  test("a reset without words is one at once", async () => {
    using two = await speaking();
    await new LingeringClose().start(two.near, { how: "reset" });
    assert.equal(await two.far.ended(), "ECONNRESET");
  });

  for (const way of ["close", "reset"] as const) {
    test(`a banner arrives whole before a ${way}, whatever the client has sent and still sends`, async () => {
      using two = await speaking();
      const banner = Buffer.alloc(64 * 1024, "no ");
      two.far.flood(Buffer.alloc(64 * 1024, "y"));
      const done = new LingeringClose({ limit: 8, timeoutMs: 500 }).start(two.near, { banner, how: way });
      await two.far.ended();
      assert.ok(two.far.data.equals(banner));
      await done;
      assert.ok(two.near.destroyed);
    });
  }

  test("a reset comes as soon as the client has ended", async () => {
    using two = await pair();
    const began = performance.now();
    const done = new LingeringClose({ limit: 8, timeoutMs: 60_000 }).start(two.near, { banner: BANNER, how: "reset" });
    await two.far.receives(BANNER.length);
    assert.equal(two.far.fate, "open");
    two.far.end();
    await done;
    assert.ok(performance.now() - began < 5_000);
  });

  test("what was written before is no less safe than a banner", async () => {
    using two = await speaking();
    two.near.write(BANNER);
    const done = new LingeringClose({ limit: 8, timeoutMs: 200 }).start(two.near, { how: "reset" });
    assert.equal(await two.far.ended(), "ECONNRESET");
    assert.equal(two.far.text, BANNER.toString());
    await done;
  });

  test("nobody stays longer than the patience", async () => {
    using two = await pair();
    const lingering = new LingeringClose({ limit: 8, timeoutMs: 100 });
    await lingering.start(two.near, { banner: BANNER, how: "close" });
    assert.equal(lingering.size, 0);
    assert.ok(two.near.destroyed);
    assert.equal(two.far.text, BANNER.toString());
  });

  test("only so many take leave at a time, and it is the first that makes room", async () => {
    const lingering = new LingeringClose({ limit: 2, timeoutMs: 60_000 });
    using stack = new DisposableStack();
    const pairs: Pair[] = [];
    const bids: Promise<void>[] = [];
    for (let count = 0; count < 4; count += 1) {
      const two = stack.use(await pair());
      pairs.push(two);
      bids.push(lingering.start(two.near, { banner: BANNER, how: "close" }));
      assert.ok(lingering.size <= 2);
    }
    await Promise.all(bids.slice(0, 2));
    assert.equal(pairs[3]!.near.destroyed, false);
    lingering.close();
    await Promise.all(bids);
    await eventually("all were told", () => pairs.every(({ far }) => far.text === BANNER.toString()));
  });

  test("the source with most slots loses its oldest, though another one began earlier", async () => {
    const lingering = new LingeringClose({ limit: 3, timeoutMs: 60_000 });
    using early = await pair("127.0.0.2");
    using first = await pair();
    using second = await pair();
    using late = await pair("127.0.0.3");
    const bids = [early, first, second, late].map(({ near }) =>
      lingering.start(near, { banner: BANNER, how: "close" }),
    );
    await bids[1];
    assert.deepEqual(
      [early, first, second, late].map(({ near }) => near.destroyed),
      [false, true, false, false],
    );
    lingering.close();
    await Promise.all(bids);
    assert.equal(lingering.size, 0);
  });

  test("who is still listened to takes leave already, and may have to make room", async () => {
    const lingering = new LingeringClose({ limit: 1, timeoutMs: 60_000 });
    using first = await pair();
    using second = await pair();
    const told = Promise.withResolvers<Buffer | undefined>();
    first.near.once("close", () => told.resolve(undefined));
    const parting = lingering.startAfterReply(first.near, told.promise);
    await eventually("it takes leave", () => lingering.size === 1);
    const other = lingering.startAfterReply(second.near, Promise.resolve(BANNER));
    await parting;
    assert.ok(first.near.destroyed);
    assert.equal(await second.far.ended(), "ended");
    assert.equal(second.far.text, BANNER.toString());
    second.far.end();
    await other;
    assert.equal(lingering.size, 0);
  });

  test("who has said already what its words depend on is told them, however many take leave", async () => {
    const lingering = new LingeringClose({ limit: 1, timeoutMs: 60_000 });
    const clients = await Promise.all(Array.from({ length: 4 }, () => speaking(8)));
    const options = { limit: 8, deadlineMs: 60_000, signal: new AbortController().signal };
    const read = (): { value: Buffer; used: number } => ({ value: BANNER, used: 0 });
    const partings = clients.map(({ near }) => lingering.startAfterReply(near, peek(near, { read, ...options })));
    await eventually("all were told", () => clients.every(({ far }) => far.text === BANNER.toString()));
    lingering.close();
    await Promise.all(partings);
    for (const client of clients) client[Symbol.dispose]();
  });

  test("who is told nothing is reset, and takes nobody's place", async () => {
    const lingering = new LingeringClose({ limit: 1, timeoutMs: 60_000 });
    using first = await pair();
    using second = await pair();
    const bid = lingering.start(first.near, { banner: BANNER, how: "close" });
    await lingering.startAfterReply(second.near, Promise.resolve(undefined));
    assert.equal(await second.far.ended(), "ECONNRESET");
    assert.equal(first.near.destroyed, false);
    lingering.close();
    await bid;
  });

  test("a client that is gone needs none", async () => {
    using two = await pair();
    two.near.destroy();
    await new LingeringClose().start(two.near, { banner: BANNER, how: "close" });
  });

  test("a client that resets in the middle ends it", async () => {
    using two = await pair();
    const done = new LingeringClose({ limit: 8, timeoutMs: 60_000 }).start(two.near, { banner: BANNER, how: "close" });
    two.far.reset();
    await done;
  });
});
