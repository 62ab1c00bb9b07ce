/** HTTP between real sockets: waiting clients, and responses if the start fails. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { TargetError } from "../../../../src/errors.ts";
import { Http } from "../../../../src/proxy/protocols/http/http.ts";
import { eventually } from "../../../support/eventually.ts";
import { checkLeaks } from "../../../support/leaks.ts";
import { type Peer, PeerServer } from "../../../support/net/tcp.ts";
import { type Answer, answerOf, navigation } from "../../../support/proxy/browser.ts";
import { TestListener } from "../../../support/proxy/listener.ts";

checkLeaks();

const API = "GET /api HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";

async function answerTo(client: Peer): Promise<Answer> {
  assert.equal(await client.ended(), "ended");
  const answer = answerOf(client.data);
  assert.ok(answer, `an answer: ${client.text}`);
  return answer;
}

/** Returns a listener whose target fails to start after the clients have sent these requests. */
async function rejected(
  ...requests: readonly string[]
): Promise<{ peers: Peer[]; listenPort: TestListener } & AsyncDisposable> {
  const listenPort = await TestListener.open({ upstream: 1, protocol: new Http() });
  const peers = await listenPort.clients(requests.length);
  for (const [index, peer] of peers.entries()) {
    if (requests[index] !== "") peer.send(requests[index] ?? "");
    await eventually(
      "it has arrived",
      () => listenPort.accepted[index]?.bytesRead === Buffer.byteLength(requests[index] ?? ""),
    );
  }
  await listenPort.starting();
  listenPort.target.lines = ["password=secret"];
  listenPort.target.failStart(new TargetError("failed", "no such file /var/lib/docker/overlay2/0123456789ab"));
  return {
    peers,
    listenPort,
    [Symbol.asyncDispose]: async () => {
      for (const peer of peers) peer[Symbol.dispose]();
      await listenPort[Symbol.asyncDispose]();
    },
  };
}

suite("an HTTP client whose target starts", () => {
  test("waits without a response, and its request reaches the target unchanged", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port, protocol: new Http() });
    using client = await listenPort.client();
    const request = `POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello${navigation("/next")}`;
    client.send(request);
    await listenPort.start();
    const upstream = await server.accepted();
    await upstream.receives(request.length);
    assert.equal(upstream.text, request);
    assert.equal(client.received, 0);
    upstream.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    client.end();
    assert.equal(await client.ended(), "ended");
    assert.equal((await listenPort.reported(1))[0]?.outcome, "relayed");
  });
});

suite("an HTTP client whose target does not start", () => {
  test("gets 503 with Retry-After, and no internal details", async () => {
    await using all = await rejected(API);
    const { status, fields, body, isWhole } = await answerTo(all.peers[0]!);
    assert.equal(status, "HTTP/1.1 503 Service Unavailable");
    assert.equal(fields.get("retry-after"), "1", "the cooldown after one failed start");
    assert.equal(fields.get("cache-control"), "no-store");
    assert.equal(fields.get("connection"), "close");
    assert.equal(fields.get("content-type"), "text/plain; charset=utf-8");
    assert.equal(isWhole, true);
    assert.equal(body, "Service unavailable. It could not be started. Try again in 1 s.\n");
    assert.equal((await all.listenPort.reported(1))[0]?.outcome, "start_failed");
  });

  test("gets a page if it is a browser", async () => {
    await using all = await rejected(navigation());
    const { status, fields, body, isWhole } = await answerTo(all.peers[0]!);
    assert.match(status, / 503 /);
    assert.equal(fields.get("content-type"), "text/html; charset=utf-8");
    assert.match(fields.get("content-security-policy") ?? "", /^default-src 'none'/);
    assert.doesNotMatch(fields.get("content-security-policy") ?? "", /sandbox/);
    assert.equal(isWhole, true);
    assert.match(
      body,
      /web is not available.*It could not be started\. Try again in 1 s\..*<a href="">Try again<\/a>/s,
    );
    assert.doesNotMatch(body, /overlay2|secret|http-equiv|reload/);
  });

  test("gets no body for HEAD, even if the head is incomplete", async () => {
    await using all = await rejected(API.replace("GET", "HEAD"), "HEAD / HTTP/1.1\r\nHost:");
    for (const peer of all.peers) {
      const { status, fields, body } = await answerTo(peer);
      assert.match(status, / 503 /);
      assert.ok(Number(fields.get("content-length")) > 0);
      assert.equal(body, "");
    }
  });

  test("gets a response to an incomplete, shortened or endless request", async () => {
    const endless = `GET /${"a".repeat(70_000)}`;
    const upload = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n${"x".repeat(2_000)}`;
    await using all = await rejected("GET / HTTP/1.1\r\nHost: a", upload);
    for (const peer of all.peers)
      assert.equal((await answerTo(peer)).fields.get("content-type"), "text/plain; charset=utf-8");
    await using listenPort = await TestListener.open({ upstream: 1, protocol: new Http() });
    using client = await listenPort.client();
    await listenPort.starting();
    listenPort.target.failStart(new TargetError("failed", "no"));
    client.send(endless);
    assert.match((await answerTo(client)).status, / 503 /);
  });

  test("gets a response to a request that arrives later during the cooldown", async () => {
    await using listenPort = await TestListener.open({ upstream: 1, protocol: new Http() });
    using first = await listenPort.client();
    await listenPort.starting();
    listenPort.target.failStart(new TargetError("failed", "no"));
    first.send(API);
    assert.match((await answerTo(first)).body, /It could not be started/);
    using second = await listenPort.client();
    await listenPort.reported(2);
    second.send(API);
    assert.match((await answerTo(second)).body, /It failed to start a moment ago\. Try again in \d s\./);
  });

  test("gets an end of the connection if it sent no HTTP request", async () => {
    const tls = "\x16\x03\x01\x02\x00\x01\x00";
    await using all = await rejected("", tls, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH-2.0-x\r\n", "HELO a b\r\n");
    for (const peer of all.peers) {
      assert.equal(await peer.ended(), "ended");
      assert.equal(peer.received, 0);
    }
  });

  test("gets a response even if many clients are rejected at once", async () => {
    await using all = await rejected(...Array.from({ length: 90 }, () => API));
    for (const peer of all.peers) assert.match((await answerTo(peer)).status, / 503 /);
  });
});
