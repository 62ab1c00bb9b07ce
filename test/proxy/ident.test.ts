/** Questions to real ident servers, good ones and others. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { addressesOf, type SocketAddresses } from "../../src/net/addresses.ts";
import { Ident, MAX_QUERIES, readAnswer } from "../../src/proxy/ident.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { PeerServer, pair } from "../support/net/tcp.ts";

const addresses: SocketAddresses = {
  peer: { address: "127.0.0.1", port: 6193 },
  local: { address: "127.0.0.1", port: 23 },
};

suite("Ident", () => {
  test("asks from the address that the client talks to, and tells what is answered", async () => {
    await using server = await PeerServer.open({ host: "127.0.0.1" });
    const asked = new Ident(server.port).query({ ...addresses, local: { address: "::ffff:127.0.0.9", port: 23 } });
    const peer = await server.accepted();
    await peer.receives("6193,23\r\n".length);
    assert.equal(peer.text, "6193,23\r\n");
    assert.equal(peer.socket.remoteAddress, "127.0.0.9");
    peer.send("6193, 23 : USERID : UNIX : al");
    peer.send("ice\r\n");
    assert.deepEqual(await asked, { answer: "UNIX : alice" });
    assert.equal(await peer.ended(), "ended");
  });

  for (const [what, answer, trouble] of [
    ["nothing", "", "no answer"],
    ["an error", "6193,23:ERROR:HIDDEN-USER\r\n", "6193,23:ERROR:HIDDEN-USER"],
    ["nonsense", "hello\r\n", "not an answer of RFC 1413: hello"],
    [
      "for somebody else",
      "6193,24:USERID:UNIX:bob\r\n",
      "the answer is about another connection: 6193,24:USERID:UNIX:bob",
    ],
    ["more than there is to say", "x".repeat(1_001), "the answer is longer than 1000 bytes"],
    ["a line that is too long", `6193,23:USERID:UNIX:${"x".repeat(1_000)}\r\n`, "the answer is longer than 1000 bytes"],
  ] as const) {
    test(`a machine that says ${what} has not told`, async () => {
      await using server = await PeerServer.open({ onPeer: (peer) => peer.end(answer) });
      assert.deepEqual(await new Ident(server.port).query(addresses), { trouble });
    });
  }

  test("an answer may end with the connection", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.end("6193,23:USERID:OTHER:st") });
    assert.deepEqual(await new Ident(server.port).query(addresses), { answer: "OTHER:st" });
  });

  test("a machine without an ident server has not told", async () => {
    assert.deepEqual(await new Ident(await freePort()).query(addresses), { trouble: "ECONNREFUSED" });
  });

  test("waits no longer than it may", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send("6193,23") });
    const { trouble } = (await new Ident(server.port, 50).query(addresses)) as { trouble: string };
    assert.equal(trouble, "no answer within 0.05 s");
  });

  test("asks no more than so many questions at a time, and again when there is room", async () => {
    await using server = await PeerServer.open();
    const ident = new Ident(server.port);
    const asked = Array.from({ length: MAX_QUERIES }, () => ident.query(addresses));
    assert.deepEqual(await ident.query(addresses), { trouble: "not queried: limit of 15 open queries reached" });
    await eventually("all are asked", () => server.peers.length === MAX_QUERIES);
    server.peers[0]?.end("6193,23:USERID:UNIX:alice\r\n");
    await Promise.race(asked);
    const another = ident.query(addresses);
    await eventually("one more is asked", () => server.peers.length === MAX_QUERIES + 1);
    ident.close();
    assert.deepEqual(await another, { trouble: "no answer" });
    await Promise.all(asked);
  });

  test("a question about a client of another address evicts the oldest one", async () => {
    await using server = await PeerServer.open({ host: "0.0.0.0" });
    const ident = new Ident(server.port);
    const asked = Array.from({ length: MAX_QUERIES }, () => ident.query(addresses));
    await eventually("all are asked", () => server.peers.length === MAX_QUERIES);
    const other = ident.query({ ...addresses, peer: { ...addresses.peer, address: "127.0.0.2" } });
    assert.deepEqual(await asked[0], { trouble: "evicted for a query about another client" });
    await eventually("it is asked", () => server.peers.length === MAX_QUERIES + 1);
    server.peers.at(-1)?.end("6193,23:USERID:UNIX:bob\r\n");
    assert.deepEqual(await other, { answer: "UNIX:bob" });
    ident.close();
    await Promise.all(asked);
  });

  test("endsOf() knows a connection, but none that is gone before it is asked", async () => {
    using connection = await pair();
    const { localPort } = connection.far.socket;
    assert.equal(addressesOf(connection.near).peer.port, localPort);
    using lost = await pair();
    lost.near.destroy();
    assert.deepEqual(addressesOf(lost.near).peer, { address: "", port: 0 });
  });
});

suite("readAnswer()", () => {
  test("keeps what it quotes to one line of plain characters, whatever was sent", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        for (const line of [text, `6193,23:USERID:UNIX:${text}`]) {
          const answer = readAnswer(line, addresses);
          assert.match("answer" in answer ? answer.answer : answer.trouble, /^[\x20-\x7e]*$/);
        }
      }),
      { numRuns: 10_000 },
    );
  });
});
