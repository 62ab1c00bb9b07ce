/** The waiting page in a browser that reads the stream to its end. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { TargetError } from "../../../../src/errors.ts";
import type { Handler } from "../../../../src/proxy/handlers/handler.ts";
import { Http } from "../../../../src/proxy/protocols/http/http.ts";
import { MAX_PAGES, WaitingPages } from "../../../../src/proxy/protocols/http/waiting-pages.ts";
import type { Progress } from "../../../../src/proxy/protocols/protocol.ts";
import { eventually } from "../../../support/eventually.ts";
import { checkLeaks } from "../../../support/leaks.ts";
import { type Peer, PeerServer, pair } from "../../../support/net/tcp.ts";
import { type Answer, answerOf, navigation } from "../../../support/proxy/browser.ts";
import { type FrontOptions, TestListener } from "../../../support/proxy/listener.ts";

checkLeaks();

const SITE = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nsite";

function httpWithPage(logLines = 0): Http {
  return new Http({ page: { logLines }, graceMs: 0 });
}

/** Returns the content of the last element of a kind, which is the visible one. */
function visible(page: Answer | undefined, tag: string): string | undefined {
  return [...(page?.body ?? "").matchAll(new RegExp(`<${tag}(?: [^>]*)?>(.*?)</${tag}>`, "gs"))].at(-1)?.[1];
}

function pageOf(client: Peer): Answer | undefined {
  return answerOf(client.data);
}

async function open(
  options: Partial<FrontOptions> & { protocol: Http },
): Promise<{ listenPort: TestListener; server: PeerServer } & AsyncDisposable> {
  const server = await PeerServer.open({
    onPeer: (peer) => peer.socket.once("data", () => peer.end(SITE)),
  });
  const listenPort = await TestListener.open({ upstream: server.port, ...options });
  return {
    listenPort,
    server,
    [Symbol.asyncDispose]: async () => {
      await listenPort[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

async function browser(listenPort: TestListener, request: string = navigation()): Promise<Peer> {
  const client = await listenPort.client();
  client.send(request);
  await eventually("a page", () => pageOf(client) !== undefined);
  return client;
}

suite("a waiting page", () => {
  test("appears while the target starts, and then reloads", async () => {
    await using all = await open({ protocol: httpWithPage() });
    const { listenPort, server } = all;
    using client = await browser(listenPort, navigation("/list?page=2"));
    const page = pageOf(client);
    assert.equal(page?.status, "HTTP/1.1 503 Service Unavailable");
    assert.equal(page?.fields.get("cache-control"), "no-store");
    assert.equal(page?.fields.get("retry-after"), "10");
    assert.equal(page?.fields.get("x-robots-tag"), "noindex");
    assert.equal(page?.fields.get("x-frame-options"), "SAMEORIGIN");
    assert.equal(page?.fields.get("referrer-policy"), "same-origin");
    assert.equal(page?.fields.get("x-content-type-options"), "nosniff");
    assert.match(page?.fields.get("content-security-policy") ?? "", /default-src 'none'.*; frame-ancestors 'self'/);
    assert.equal(page?.isWhole, false);
    assert.equal(visible(page, "title"), "Starting web…");
    assert.equal(visible(page, "h1"), "Starting web…");
    assert.equal(visible(page, "pre"), undefined, "no output unless it is configured");
    assert.equal(listenPort.activator.view.waiting, 1, "the browser is a waiting client");
    assert.equal(listenPort.traffic.waiting.taken, 1);

    await listenPort.start();
    assert.equal(await client.ended(), "ended");
    const whole = pageOf(client);
    assert.equal(whole?.isWhole, true);
    assert.deepEqual([visible(whole, "h1"), visible(whole, "time")], ["Reloading…", ""]);
    // An open connection would block a server that serves one client at a time.
    await eventually("the connection to the target is closed", () => server.peers[0]?.fate === "ended");
    assert.match(
      whole?.body ?? "",
      /<script>location\.reload\(\)<\/script><noscript><meta http-equiv="refresh" content="0">/,
    );
    client.end();
    const [report] = await listenPort.reported(1);
    assert.deepEqual([report?.outcome, report?.end], ["served", "page"]);
    assert.equal(listenPort.activator.view.held, 1, "the target stays up for the browser that reloads");
    assert.equal(
      server.peers.every((peer) => peer.received === 0),
      true,
      "the target got no request",
    );

    using again = await listenPort.client();
    again.send(navigation("/list?page=2"));
    assert.equal(await again.ended(), "ended");
    assert.equal(again.text, SITE);
    again.end();
    assert.equal((await listenPort.reported(2))[1]?.outcome, "relayed");
    await eventually("the target may sleep then", () => listenPort.activator.view.held === 0);
  });

  test("shows the missing conditions, the time and the target's output", async () => {
    const probing = Promise.withResolvers<void>();
    await using all = await open({ protocol: httpWithPage(2), probe: () => probing.promise });
    const { listenPort } = all;
    using client = await browser(listenPort);
    assert.match(visible(pageOf(client), "p") ?? "", /^It is (being )?start/);
    await listenPort.start();
    listenPort.target.lines = ["one", "two <b>", "\x1b[1mthree</pre><script>alert(1)</script>"];
    await eventually("its last lines", () => visible(pageOf(client), "pre")?.includes("three") ?? false);
    assert.equal(
      visible(pageOf(client), "pre"),
      "two &lt;b&gt;\nthree&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;",
    );
    await eventually("the time is updated", () => visible(pageOf(client), "time") === "2 s");
    assert.equal(
      pageOf(client)?.body.match(/<p>It is being started/g)?.length ?? 0,
      1,
      "an unchanged piece is sent once",
    );
    probing.resolve();
    assert.equal(await client.ended(), "ended");
  });

  test("shows a failed start, its reason and the time of the next attempt", async () => {
    await using all = await open({ protocol: httpWithPage(10) });
    const { listenPort } = all;
    using client = await browser(listenPort);
    await listenPort.starting();
    listenPort.target.lines = ["reading /etc/app.conf", "no database"];
    listenPort.target.failStart(new TargetError("failed", "OCI runtime error: 0123456789ab"));
    assert.equal(await client.ended(), "ended");
    const page = pageOf(client);
    assert.equal(page?.isWhole, true);
    assert.equal(visible(page, "h1"), "web did not start");
    assert.equal(visible(page, "p"), "It could not be started. Try again in 1 s.");
    assert.equal(visible(page, "pre"), "reading /etc/app.conf\nno database");
    assert.match(page?.body ?? "", /<a href="">Try again<\/a>/);
    assert.doesNotMatch(page?.body ?? "", /reload|http-equiv|OCI/);
    client.end();
    assert.equal((await listenPort.reported(1))[0]?.outcome, "start_failed");
    assert.equal(all.listenPort.traffic.waiting.taken, 0);
  });

  test("has no origin if another site opened it", async () => {
    await using all = await open({ protocol: httpWithPage() });
    using own = await browser(all.listenPort);
    using foreign = await browser(all.listenPort, navigation("/", { "Sec-Fetch-Site": "cross-site" }));
    const policyOf = (client: Peer): string => pageOf(client)?.fields.get("content-security-policy") ?? "";
    assert.doesNotMatch(policyOf(own), /sandbox/);
    assert.match(policyOf(foreign), /; sandbox allow-scripts$/);
  });

  test("appears only in browsers: other clients wait, and reach the target", async () => {
    await using all = await open({ protocol: httpWithPage() });
    const { listenPort } = all;
    const requests = [
      "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n",
      navigation("/", { "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty" }),
      navigation("/", { "Sec-Purpose": "prefetch" }),
      navigation().replace("GET", "POST"),
      "\x16\x03\x01 not HTTP",
    ];
    const clients = await listenPort.clients(requests.length);
    for (const [index, client] of clients.entries()) {
      client.send(requests[index] ?? "");
      await eventually(
        "it has arrived",
        () => listenPort.accepted[index]?.bytesRead === Buffer.byteLength(requests[index] ?? ""),
      );
    }
    // A later browser has its page, so the other clients have waited long enough.
    using client = await browser(listenPort);
    await eventually("a second update", () => visible(pageOf(client), "time") === "1 s");
    assert.deepEqual(
      clients.map(({ received }) => received),
      [0, 0, 0, 0, 0],
    );
    await listenPort.start();
    for (const [index, each] of clients.entries()) {
      assert.equal(await each.ended(), "ended");
      assert.equal(each.text, SITE);
      each.end();
      assert.ok(
        all.server.peers.some((peer) => peer.text === requests[index]),
        requests[index],
      );
    }
    client.end();
    assert.equal((await listenPort.reported(6)).filter(({ outcome }) => outcome === "relayed").length, 5);
  });

  test("does not appear for a target that is ready within the grace time", async () => {
    await using all = await open({ protocol: new Http({ page: { logLines: 0 }, graceMs: 60_000 }) });
    for (const isCold of [true, false]) {
      using client = await all.listenPort.client();
      client.send(navigation());
      if (isCold) await all.listenPort.start();
      assert.equal(await client.ended(), "ended");
      assert.equal(client.text, SITE);
      client.end();
    }
    assert.deepEqual(
      (await all.listenPort.reported(2)).map(({ outcome }) => outcome),
      ["relayed", "relayed"],
    );
  });

  test("ends when the browser disconnects", async () => {
    const http = httpWithPage();
    await using all = await open({ protocol: http });
    using stays = await browser(all.listenPort);
    const leaves = await browser(all.listenPort);
    assert.equal(http.pages, 2);
    leaves.socket.destroy();
    await all.listenPort.reported(1);
    assert.equal(all.listenPort.reports[0]?.outcome, "client_gone");
    assert.equal(http.pages, 1);
    assert.equal(all.listenPort.activator.view.waiting, 1);
    await all.listenPort.start();
    assert.equal(await stays.ended(), "ended");
  });

  test("answers one request, and discards later bytes", async () => {
    await using all = await open({ protocol: httpWithPage() });
    const { listenPort } = all;
    using client = await browser(listenPort, navigation() + navigation("/second"));
    client.send(Buffer.alloc(5_000_000, "x"));
    await eventually("the bytes are read", () => (listenPort.accepted[0]?.bytesRead ?? 0) > 5_000_000);
    assert.equal(listenPort.accepted[0]?.readableLength, 0);
    await listenPort.start();
    assert.equal(await client.ended(), "ended");
    assert.equal(pageOf(client)?.isWhole, true);
    assert.equal(
      all.server.peers.every((peer) => peer.received === 0),
      true,
    );
  });

  test("reloads if the service was changed; clients without a page are routed to the new one", async () => {
    await using all = await open({ protocol: httpWithPage() });
    const { listenPort } = all;
    using held = await listenPort.client();
    using client = await browser(listenPort);
    const served: unknown[] = [];
    listenPort.successor = {
      isCold: false,
      serve: async ({ socket }): Promise<{ outcome: "served"; end: string }> => {
        served.push(socket);
        socket.end("moved");
        return { outcome: "served", end: "clean" };
      },
    } satisfies Handler;
    await listenPort.starting();
    void listenPort.activator.close({ drainMs: 0, leaveRunning: true });
    assert.equal(await held.ended(), "ended");
    assert.equal(held.text, "moved");
    assert.equal(await client.ended(), "ended");
    assert.match(pageOf(client)?.body ?? "", /<script>location\.reload\(\)<\/script>/);
    assert.equal(pageOf(client)?.isWhole, true);
    assert.deepEqual(served, [listenPort.accepted[0]]);
  });

  test("shows that wakeport ends", async () => {
    await using all = await open({ protocol: httpWithPage() });
    using client = await browser(all.listenPort);
    await all.listenPort.starting();
    void all.listenPort.activator.close({ drainMs: 0, leaveRunning: true });
    assert.equal(await client.ended(), "ended");
    assert.match(visible(pageOf(client), "p") ?? "", /^It is being shut down, or changed\./);
  });

  test("appears in 100 browsers at a time, which share one reading of the output", async () => {
    const http = httpWithPage(5);
    await using all = await open({ protocol: http, slots: 300, waiting: 300 });
    const { listenPort } = all;
    let readings = 0;
    const { lastLines } = listenPort.target;
    listenPort.target.lastLines = () => {
      readings += 1;
      return lastLines.call(listenPort.target);
    };
    listenPort.target.lines = ["at work"];
    const began = performance.now();
    const clients = await listenPort.clients(200);
    for (const client of clients) client.send(navigation());
    await eventually("pages", () => http.pages === MAX_PAGES);
    const hasUpdates = (client: Peer): boolean => {
      const page = pageOf(client);
      return visible(page, "pre") === "at work" && (page?.body.match(/<time/g)?.length ?? 0) > 3;
    };
    await eventually("updates for all", () => clients.filter(hasUpdates).length === MAX_PAGES);
    assert.equal(clients.filter((client) => client.received > 0).length, MAX_PAGES, "the others are held");
    // One at the beginning, one for each 950 ms, and one for a change of state.
    const limit = 2 + (performance.now() - began) / 950;
    assert.ok(readings <= limit, `${readings} readings, ${limit} at most`);
    await listenPort.start();
    for (const client of clients) {
      assert.equal(await client.ended(), "ended");
      client.end();
    }
    const reports = await listenPort.reported(200);
    assert.equal(reports.filter(({ outcome }) => outcome === "served").length, MAX_PAGES);
    assert.equal(reports.filter(({ outcome }) => outcome === "relayed").length, 200 - MAX_PAGES);
    assert.equal(http.pages, 0);
  });
});

suite("a browser that does not read", () => {
  test("needs memory for one update, and gets the newest one when it reads again", async () => {
    using sockets = await pair();
    const { near, far } = sockets;
    near.pause().on("error", () => {});
    far.pause();
    let reads = 0;
    const progress: Progress = {
      service: "web",
      state: "starting",
      pending: [],
      since: Date.now(),
      lastLines: async () => {
        reads += 1;
        return Array.from({ length: 100 }, () => `${reads} ${"x".repeat(190)}`);
      },
    };
    const pages = new WaitingPages({ logLines: 100, updateMs: 1 });
    const page = pages.open({ socket: near, signal: new AbortController().signal, progress, isOwn: true });
    assert.ok(page);
    await eventually("the send buffer is full", () => near.writableLength > 0);
    const stuckAt = reads;
    let longest = 0;
    await eventually("a thousand more updates", () => {
      longest = Math.max(longest, near.writableLength);
      return reads > stuckAt + 1_000;
    });
    assert.ok(longest < 64 * 1024, `${longest} bytes`);
    far.resume();
    const newest = reads;
    await eventually("the newest", () => {
      const [, last] =
        /(\d+) x+<\/pre>\s*(?:<time.*?<\/time>\s*)*$/s.exec(answerOf(far.data)?.body.slice(-50_000) ?? "") ?? [];
      return Number(last) >= newest;
    });
    await page.replace();
    assert.equal(pages.size, 0);
    assert.equal(answerOf(far.data)?.isWhole, true);
  });
});
