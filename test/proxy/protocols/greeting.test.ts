import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { TargetError } from "../../../src/errors.ts";
import { Greeting, Splice } from "../../../src/proxy/protocols/greeting.ts";
import type { Protocol } from "../../../src/proxy/protocols/protocol.ts";
import { messagesOf, smtp } from "../../../src/proxy/protocols/smtp.ts";
import { MIB, payload } from "../../bench/payload.ts";
import { randomRuns } from "../../support/activation/random.ts";
import { eventually } from "../../support/eventually.ts";
import { freePort } from "../../support/free-port.ts";
import { checkLeaks } from "../../support/leaks.ts";
import { type Peer, PeerServer, pair } from "../../support/net/tcp.ts";
import { TestListener } from "../../support/proxy/listener.ts";

checkLeaks();

const WAIT = "220-web is starting, please wait\r\n";
const END = "220 web\r\n";
const REFUSAL = "421 4.3.2 web is not available, try again later\r\n";

/** What the client hears behind the begun greeting of a server that says `pieces` and ends, the last one as it breaks. */
function spliced(...pieces: readonly string[]): string {
  const told = splicedAt(pieces, "");
  assert.equal(splicedAt(pieces.slice(0, -1), pieces.at(-1) ?? ""), told);
  return told;
}

function splicedAt(pieces: readonly string[], last: string): string {
  const heard: Buffer[] = [];
  const splice = new Splice(messagesOf("web"));
  const write = (bytes: Buffer): void => void heard.push(bytes);
  for (const piece of pieces) splice.take(Buffer.from(piece, "latin1"), write);
  splice.end(Buffer.from(last, "latin1"), write);
  return Buffer.concat(heard).toString("latin1");
}

suite("Splice", () => {
  for (const greeting of ["220 mx ESMTP\r\n", "220-mx\r\n220 ESMTP\r\n", "220\r\n"]) {
    test(`goes on with ${JSON.stringify(greeting)}`, () => {
      assert.equal(spliced(greeting), greeting);
      assert.equal(spliced(...greeting), greeting);
    });
  }

  for (const greeting of ["554 no\r\n", "421-later\r\n421 much\r\n", "2200 x\r\n", "SSH-2.0-x\r\n", "22"]) {
    test(`ends what was begun before ${JSON.stringify(greeting)}`, () => {
      assert.equal(spliced(greeting), END + greeting);
      assert.equal(spliced(...greeting), END + greeting);
    });
  }

  test("refuses in the place of a server that ends without a word", () => {
    assert.equal(spliced(), END + REFUSAL);
  });

  test("loses and adds nothing else, however it is cut", (t) => {
    const start = fc.constantFrom("", "2", "22", "220", "220 ", "220-", "220\r", "421 ", "5", "554-", "\n");
    const rest = fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString("latin1"));
    fc.assert(
      fc.property(start, rest, fc.array(fc.nat({ max: 24 })), (begin, end, cuts) => {
        const text = begin + end;
        const at = [0, ...cuts.toSorted((a, b) => a - b), text.length];
        const pieces = at.slice(1).map((to, index) => text.slice(at[index], to));
        const isWelcome = /^220[- \r\n]/.test(text);
        assert.equal(spliced(...pieces), text === "" ? END + REFUSAL : `${isWelcome ? "" : END}${text}`);
      }),
      randomRuns(t, 2_000),
    );
  });
});

suite("a client that waits for a greeting", () => {
  const protocol: Protocol = smtp({ kind: "auto" }, { firstMs: 5, everyMs: 20 });

  async function waiting(listenPort: TestListener, lines: number): Promise<Peer> {
    const client = await listenPort.client();
    await client.receives(lines * WAIT.length);
    return client;
  }

  test("gets its beginning, line by line, and then the real one", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send("220-mx\r\n220 ESMTP\r\n") });
    await using listenPort = await TestListener.open({ upstream: server.port, protocol });
    using client = await waiting(listenPort, 3);
    await listenPort.start();
    const upstream = await server.accepted();
    await eventually("it is greeted", () => client.text.endsWith("220 ESMTP\r\n"));
    assert.match(client.text, new RegExp(`^(?:${WAIT}){3,}220-mx\r\n220 ESMTP\r\n$`));
    client.end("QUIT\r\n");
    await upstream.ended();
    assert.equal(upstream.text, "QUIT\r\n");
    upstream.end("221 bye\r\n");
    await client.ended();
    assert.match(client.text, /220 ESMTP\r\n221 bye\r\n$/, "nothing more is said while it is served");
    const [report] = await listenPort.reported(1);
    assert.deepEqual([report?.outcome, report?.bytesOut], ["relayed", "220-mx\r\n220 ESMTP\r\n221 bye\r\n".length]);
  });

  test("gets it ended before a refusal of the real server", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send("554 no\r\n") });
    await using listenPort = await TestListener.open({ upstream: server.port, protocol });
    using client = await waiting(listenPort, 1);
    await listenPort.start();
    await eventually("it is told", () => client.text.endsWith("554 no\r\n"));
    assert.match(client.text, new RegExp(`^(?:${WAIT})+${END}554 no\r\n$`));
  });

  test("gets it ended before it is refused, and what it said meanwhile is not read", async () => {
    await using listenPort = await TestListener.open({ upstream: await freePort(), protocol });
    using client = await waiting(listenPort, 1);
    client.send("EHLO spam\r\n");
    await listenPort.starting();
    listenPort.target.failStart(new TargetError("failed", "no"));
    assert.equal(await client.ended(), "ended");
    assert.match(client.text, new RegExp(`^(?:${WAIT})+${END}${REFUSAL}$`));
  });

  test("hears only the real one when it is there at once, or when it shall hear nothing", async () => {
    for (const quiet of [smtp({ kind: "auto" }), smtp({ kind: "silent" }, { firstMs: 0, everyMs: 1 })]) {
      await using server = await PeerServer.open({ onPeer: (peer) => peer.send("554 no\r\n") });
      await using listenPort = await TestListener.open({ upstream: server.port, protocol: quiet });
      using client = await listenPort.client();
      await listenPort.start();
      await client.receives(8);
      assert.equal(client.text, "554 no\r\n");
    }
  });

  test("is not told more than it reads", async (t) => {
    using two = await pair();
    two.far.pause();
    two.near.write(payload(16 * MIB));
    t.mock.timers.enable({ apis: ["setTimeout"] });
    using greeting = new Greeting(two.near, messagesOf("web"));
    const before = two.near.writableLength;
    t.mock.timers.tick(60_000);
    assert.deepEqual([two.near.writableLength, greeting.splice], [before, undefined]);
    two.far.resume();
    await two.far.receives(16 * MIB);
    t.mock.timers.tick(10_000);
    await two.far.receives(16 * MIB + WAIT.length);
    assert.ok(two.far.text.endsWith(WAIT));
    assert.equal(greeting.rejectionReply.toString(), END + REFUSAL);
  });

  test("is told after a second, and then every ten, also when its service is another one by then", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    using two = await pair();
    const words = messagesOf("web");
    const greeting = new Greeting(two.near, words);
    const told = async (lines: number): Promise<void> => {
      await two.far.receives(lines * WAIT.length);
      assert.equal(two.far.text, WAIT.repeat(lines));
    };
    t.mock.timers.tick(999);
    assert.equal(two.near.bytesWritten, 0);
    assert.equal(greeting.rejectionReply.toString(), REFUSAL);
    t.mock.timers.tick(1);
    await told(1);
    t.mock.timers.tick(9_999);
    assert.equal(two.near.bytesWritten, WAIT.length);
    t.mock.timers.tick(1);
    await told(2);
    greeting[Symbol.dispose]();
    t.mock.timers.tick(60_000);
    assert.equal(two.near.bytesWritten, 2 * WAIT.length);
    using next = new Greeting(two.near, words);
    assert.equal(next.rejectionReply.toString(), END + REFUSAL);
  });
});
