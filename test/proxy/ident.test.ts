/** Queries to real ident servers, with valid and invalid answers. */
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
  test("queries from the address that the client connected to, and returns the answer", async () => {
    await using server = await PeerServer.open({ host: "127.0.0.1" });
    const answer = new Ident(server.port).query({ ...addresses, local: { address: "::ffff:127.0.0.9", port: 23 } });
    const peer = await server.accepted();
    await peer.receives("6193,23\r\n".length);
    assert.equal(peer.text, "6193,23\r\n");
    assert.equal(peer.socket.remoteAddress, "127.0.0.9");
    peer.send("6193, 23 : USERID : UNIX : al");
    peer.send("ice\r\n");
    assert.deepEqual(await answer, { answer: "UNIX : alice" });
    assert.equal(await peer.ended(), "ended");
  });

  for (const [what, answer, failure] of [
    ["nothing", "", "no answer"],
    ["an error", "6193,23:ERROR:HIDDEN-USER\r\n", "6193,23:ERROR:HIDDEN-USER"],
    ["nonsense", "hello\r\n", "not an answer of RFC 1413: hello"],
    [
      "an answer about another connection",
      "6193,24:USERID:UNIX:bob\r\n",
      "the answer is about another connection: 6193,24:USERID:UNIX:bob",
    ],
    ["a long answer without a line end", "x".repeat(1_001), "the answer is longer than 1000 bytes"],
    ["a line that is too long", `6193,23:USERID:UNIX:${"x".repeat(1_000)}\r\n`, "the answer is longer than 1000 bytes"],
  ] as const) {
    test(`returns the failure if the server sends ${what}`, async () => {
      await using server = await PeerServer.open({ onPeer: (peer) => peer.end(answer) });
      assert.deepEqual(await new Ident(server.port).query(addresses), { failure });
    });
  }

  test("accepts an answer without a line end before the close", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.end("6193,23:USERID:OTHER:st") });
    assert.deepEqual(await new Ident(server.port).query(addresses), { answer: "OTHER:st" });
  });

  test("returns the failure if no ident server listens", async () => {
    assert.deepEqual(await new Ident(await freePort()).query(addresses), { failure: "ECONNREFUSED" });
  });

  test("ends after its timeout", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send("6193,23") });
    const { failure } = (await new Ident(server.port, 50).query(addresses)) as { failure: string };
    assert.equal(failure, "no answer within 0.05 s");
  });

  test("limits open queries, and queries again after one ends", async () => {
    await using server = await PeerServer.open();
    const ident = new Ident(server.port);
    const answers = Array.from({ length: MAX_QUERIES }, () => ident.query(addresses));
    assert.deepEqual(await ident.query(addresses), { failure: "not queried: limit of 15 open queries reached" });
    await eventually("all queries are sent", () => server.peers.length === MAX_QUERIES);
    server.peers[0]?.end("6193,23:USERID:UNIX:alice\r\n");
    await Promise.race(answers);
    const another = ident.query(addresses);
    await eventually("one more query is sent", () => server.peers.length === MAX_QUERIES + 1);
    ident.close();
    assert.deepEqual(await another, { failure: "no answer" });
    await Promise.all(answers);
  });

  test("a query about a client of another address evicts the oldest query", async () => {
    await using server = await PeerServer.open({ host: "0.0.0.0" });
    const ident = new Ident(server.port);
    const answers = Array.from({ length: MAX_QUERIES }, () => ident.query(addresses));
    await eventually("all queries are sent", () => server.peers.length === MAX_QUERIES);
    const other = ident.query({ ...addresses, peer: { ...addresses.peer, address: "127.0.0.2" } });
    assert.deepEqual(await answers[0], { failure: "evicted for a query about another client" });
    await eventually("the query is sent", () => server.peers.length === MAX_QUERIES + 1);
    server.peers.at(-1)?.end("6193,23:USERID:UNIX:bob\r\n");
    assert.deepEqual(await other, { answer: "UNIX:bob" });
    ident.close();
    await Promise.all(answers);
  });

  test("addressesOf() returns the addresses of an open connection, and empty ones after its close", async () => {
    using connection = await pair();
    const { localPort } = connection.far.socket;
    assert.equal(addressesOf(connection.near).peer.port, localPort);
    using lost = await pair();
    lost.near.destroy();
    assert.deepEqual(addressesOf(lost.near).peer, { address: "", port: 0 });
  });
});

suite("readAnswer()", () => {
  test("returns one line of printable ASCII for any input", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        for (const line of [text, `6193,23:USERID:UNIX:${text}`]) {
          const answer = readAnswer(line, addresses);
          assert.match("answer" in answer ? answer.answer : answer.failure, /^[\x20-\x7e]*$/);
        }
      }),
      { numRuns: 10_000 },
    );
  });
});
