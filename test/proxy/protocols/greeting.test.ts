import assert from "node:assert/strict";
import type net from "node:net";
import { suite, test } from "node:test";
import fc from "fast-check";
import { TargetError } from "../../../src/errors.ts";
import { GreetingFilter } from "../../../src/proxy/protocols/greeting.ts";
import type { HeldClient, Protocol } from "../../../src/proxy/protocols/protocol.ts";
import { greetingText, smtp } from "../../../src/proxy/protocols/smtp.ts";
import { MIB, payload } from "../../bench/payload.ts";
import { randomRuns } from "../../support/activation/random.ts";
import { eventually } from "../../support/eventually.ts";
import { freePort } from "../../support/free-port.ts";
import { checkLeaks } from "../../support/leaks.ts";
import { type Peer, PeerServer, pair } from "../../support/net/tcp.ts";
import { progress as ftpProgress } from "../../support/proxy/ftp-call.ts";
import { TestListener } from "../../support/proxy/listener.ts";

checkLeaks();

const progress = { ...ftpProgress, service: "web" };
const WAIT = "220-web is starting, please wait\r\n";
const END = "220 web\r\n";
const REJECTION = "421 4.3.2 web is not available, try again later\r\n";

/** Returns what follows a started greeting if the server sends `pieces` and ends. */
function joined(...pieces: readonly string[]): string {
  const text = joinedAt(pieces, "");
  assert.equal(joinedAt(pieces.slice(0, -1), pieces.at(-1) ?? ""), text);
  return text;
}

function joinedAt(pieces: readonly string[], last: string): string {
  const written: Buffer[] = [];
  const filter = new GreetingFilter(greetingText("web"));
  const write = (bytes: Buffer): void => void written.push(bytes);
  for (const piece of pieces) filter.take(Buffer.from(piece, "latin1"), write);
  filter.end(Buffer.from(last, "latin1"), write);
  return Buffer.concat(written).toString("latin1");
}

suite("GreetingFilter", () => {
  for (const greeting of ["220 mx ESMTP\r\n", "220-mx\r\n220 ESMTP\r\n", "220\r\n"]) {
    test(`continues with ${JSON.stringify(greeting)}`, () => {
      assert.equal(joined(greeting), greeting);
      assert.equal(joined(...greeting), greeting);
    });
  }

  for (const greeting of ["554 no\r\n", "421-later\r\n421 much\r\n", "2200 x\r\n", "SSH-2.0-x\r\n", "22"]) {
    test(`ends the greeting before ${JSON.stringify(greeting)}`, () => {
      assert.equal(joined(greeting), END + greeting);
      assert.equal(joined(...greeting), END + greeting);
    });
  }

  test("rejects the client if the server ends without a greeting", () => {
    assert.equal(joined(), END + REJECTION);
  });

  test("loses and adds no other bytes, independent of the pieces", (t) => {
    const start = fc.constantFrom("", "2", "22", "220", "220 ", "220-", "220\r", "421 ", "5", "554-", "\n");
    const rest = fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString("latin1"));
    fc.assert(
      fc.property(start, rest, fc.array(fc.nat({ max: 24 })), (begin, end, cuts) => {
        const text = begin + end;
        const at = [0, ...cuts.toSorted((a, b) => a - b), text.length];
        const pieces = at.slice(1).map((to, index) => text.slice(at[index], to));
        const isWelcome = /^220[- \r\n]/.test(text);
        assert.equal(joined(...pieces), text === "" ? END + REJECTION : `${isWelcome ? "" : END}${text}`);
      }),
      randomRuns(t, 2_000),
    );
  });
});

suite("a client that waits for a greeting", () => {
  const protocol: Protocol = smtp({ kind: "auto" }, { firstMs: 5, everyMs: 20 });

  function hold(socket: net.Socket): HeldClient {
    return smtp({ kind: "auto" }).hold({ socket, signal: new AbortController().signal, progress });
  }

  async function rejectionOf(held: HeldClient): Promise<string> {
    return String(await held.rejectionReply(new Error("the start failed")));
  }

  async function waiting(listenPort: TestListener, lines: number): Promise<Peer> {
    const client = await listenPort.client();
    await client.receives(lines * WAIT.length);
    return client;
  }

  test("gets lines, and then the server's greeting", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send("220-mx\r\n220 ESMTP\r\n") });
    await using listenPort = await TestListener.open({ upstream: server.port, protocol });
    using client = await waiting(listenPort, 3);
    await listenPort.start();
    const upstream = await server.accepted();
    await eventually("the greeting is there", () => client.text.endsWith("220 ESMTP\r\n"));
    assert.match(client.text, new RegExp(`^(?:${WAIT}){3,}220-mx\r\n220 ESMTP\r\n$`));
    client.end("QUIT\r\n");
    await upstream.ended();
    assert.equal(upstream.text, "QUIT\r\n");
    upstream.end("221 bye\r\n");
    await client.ended();
    assert.match(client.text, /220 ESMTP\r\n221 bye\r\n$/, "no more lines are sent while it is served");
    const [report] = await listenPort.reported(1);
    assert.deepEqual([report?.outcome, report?.bytesOut], ["relayed", "220-mx\r\n220 ESMTP\r\n221 bye\r\n".length]);
  });

  test("gets the end of its greeting before a rejection by the server", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send("554 no\r\n") });
    await using listenPort = await TestListener.open({ upstream: server.port, protocol });
    using client = await waiting(listenPort, 1);
    await listenPort.start();
    await eventually("the rejection is there", () => client.text.endsWith("554 no\r\n"));
    assert.match(client.text, new RegExp(`^(?:${WAIT})+${END}554 no\r\n$`));
  });

  test("gets the end of its greeting and a rejection if the start fails", async () => {
    await using listenPort = await TestListener.open({ upstream: await freePort(), protocol });
    using client = await waiting(listenPort, 1);
    client.send("EHLO spam\r\n");
    await listenPort.starting();
    listenPort.target.failStart(new TargetError("failed", "no"));
    assert.equal(await client.ended(), "ended");
    assert.match(client.text, new RegExp(`^(?:${WAIT})+${END}${REJECTION}$`));
  });

  test("gets only the server's greeting after a quick start, and with hold: silent", async () => {
    for (const protocolWithoutLines of [smtp({ kind: "auto" }), smtp({ kind: "silent" }, { firstMs: 0, everyMs: 1 })]) {
      await using server = await PeerServer.open({ onPeer: (peer) => peer.send("554 no\r\n") });
      await using listenPort = await TestListener.open({ upstream: server.port, protocol: protocolWithoutLines });
      using client = await listenPort.client();
      await listenPort.start();
      await client.receives(8);
      assert.equal(client.text, "554 no\r\n");
    }
  });

  test("gets no more lines than it reads", async (t) => {
    using two = await pair();
    two.far.pause();
    two.near.write(payload(16 * MIB));
    t.mock.timers.enable({ apis: ["setTimeout"] });
    using held = hold(two.near);
    const before = two.near.writableLength;
    t.mock.timers.tick(60_000);
    assert.equal(two.near.writableLength, before);
    assert.equal(await rejectionOf(held), REJECTION);
    two.far.resume();
    await two.far.receives(16 * MIB);
    t.mock.timers.tick(10_000);
    await two.far.receives(16 * MIB + WAIT.length);
    assert.ok(two.far.text.endsWith(WAIT));
    assert.equal(await rejectionOf(held), END + REJECTION);
  });

  test("gets a line after a second, and then every ten, and keeps its started greeting if it waits again", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    using two = await pair();
    const held = hold(two.near);
    const hasLines = async (lines: number): Promise<void> => {
      await two.far.receives(lines * WAIT.length);
      assert.equal(two.far.text, WAIT.repeat(lines));
    };
    t.mock.timers.tick(999);
    assert.equal(two.near.bytesWritten, 0);
    assert.equal(await rejectionOf(held), REJECTION);
    t.mock.timers.tick(1);
    await hasLines(1);
    t.mock.timers.tick(9_999);
    assert.equal(two.near.bytesWritten, WAIT.length);
    t.mock.timers.tick(1);
    await hasLines(2);
    held[Symbol.dispose]();
    t.mock.timers.tick(60_000);
    assert.equal(two.near.bytesWritten, 2 * WAIT.length);
    using next = hold(two.near);
    assert.equal(await rejectionOf(next), END + REJECTION);
  });
});
