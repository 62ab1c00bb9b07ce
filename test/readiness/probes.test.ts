import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import type net from "node:net";
import { suite, test } from "node:test";
import { scheduler } from "node:timers/promises";
import { StartTimeoutError } from "../../src/activation/errors.ts";
import type { Target, TargetStatus } from "../../src/activation/target.ts";
import { TargetError, UnhealthyError } from "../../src/errors.ts";
import { bannerProbe } from "../../src/readiness/banner.ts";
import { healthyProbe } from "../../src/readiness/healthy.ts";
import { httpProbe } from "../../src/readiness/http.ts";
import type { NamedProbe } from "../../src/readiness/probe.ts";
import { tcpProbe } from "../../src/readiness/tcp.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import { deafPort, PeerServer } from "../support/net/tcp.ts";
import { Running } from "../support/readiness/running.ts";

checkLeaks();

suite("tcpProbe()", () => {
  test("is ready when a server accepts, and sends nothing", async () => {
    await using server = await PeerServer.open();
    assert.equal(await new Running(tcpProbe(server.port)).result(), "ready");
    const peer = await server.accepted();
    await peer.ended();
    assert.equal(peer.received, 0);
  });

  test("repeats the attempt until a server accepts", async () => {
    const port = await freePort();
    const probe = new Running(tcpProbe(port));
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(probe.state, "pending");
    await using _server = await PeerServer.open({ port });
    assert.equal(await probe.result(), "ready");
  });

  test("can be aborted between two attempts", async () => {
    const probe = new Running(tcpProbe(await freePort()));
    await probe.abort();
  });

  test("can be aborted during an attempt", async () => {
    await using deaf = await deafPort();
    await new Running(tcpProbe(deaf.port)).abort();
  });

  test("has a name for messages", () => {
    assert.equal(tcpProbe(21).name, "tcp 21");
  });
});

suite("bannerProbe()", () => {
  test("is ready when the greeting begins as expected, even one byte at a time", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => void trickle(peer.socket, "220 welcome\r\n") });
    assert.equal(await new Running(bannerProbe(server.port, "220 w")).result(), "ready");
  });

  test("repeats the attempt after another greeting", async () => {
    const greetings = ["421 too busy\r\n", "22", "220 welcome\r\n"];
    await using server = await PeerServer.open({ onPeer: (peer) => peer.end(greetings.shift()) });
    assert.equal(await new Running(bannerProbe(server.port, "220")).result(), "ready");
    assert.equal(server.peers.length, 3);
  });

  test("repeats the attempt if the server closes the connection before its greeting", async () => {
    const acts = [
      (socket: net.Socket) => socket.resetAndDestroy(),
      (socket: net.Socket) => socket.end(),
      (socket: net.Socket) => socket.end("220 welcome\r\n"),
    ];
    await using server = await PeerServer.open({ onPeer: ({ socket }) => acts.shift()?.(socket) });
    assert.equal(await new Running(bannerProbe(server.port, "220")).result(), "ready");
  });

  test("does not accept a shorter greeting with the same beginning", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send("22") });
    const probe = new Running(bannerProbe(server.port, "220"));
    const peer = await server.accepted();
    assert.equal(probe.state, "pending");
    peer.send("0 welcome");
    assert.equal(await probe.result(), "ready");
  });

  test("waits for a silent server, and ends at once when it is aborted", async () => {
    await using server = await PeerServer.open();
    const probe = new Running(bannerProbe(server.port, "220"));
    const peer = await server.accepted();
    await probe.abort();
    await peer.ended();
  });

  test("reports the last greeting of a server that does not greet the last attempt", async () => {
    let visits = 0;
    await using server = await PeerServer.open({
      onPeer: (peer) => {
        visits += 1;
        if (visits === 1) peer.end("421 too busy\r\n");
      },
    });
    const probe = new Running(bannerProbe(server.port, "220"));
    await eventually("the second attempt", () => visits === 2);
    const details = 'does not greet with "220"; the last attempt: it accepts connections, but has not greeted yet';
    assert.equal(await probe.timeOut(), `StartTimeoutError: too late: ${details}`);
  });

  test("has a name for messages", () => {
    assert.equal(bannerProbe(21, "220").name, 'banner "220" on 21');
  });
});

/** The default of `status`. */
const status = { from: 200, to: 399 };

suite("httpProbe()", () => {
  test("repeats the request until the answer has status 200", async () => {
    await using server = await WebServer.open([503, 404, 500, 200]);
    assert.equal(await new Running(httpProbe(server.port, { path: "/health?deep=1", status })).result(), "ready");
    assert.deepEqual(server.requests, Array(4).fill("GET /health?deep=1"));
  });

  for (const answer of [204, 301, 399]) {
    test(`is ready after ${answer}, and follows no redirect`, async () => {
      await using server = await WebServer.open([answer]);
      assert.equal(await new Running(httpProbe(server.port, { path: "/", status })).result(), "ready");
      assert.equal(server.requests.length, 1);
    });
  }

  test("repeats the request until the status is as configured, and reports another status", async () => {
    await using server = await WebServer.open([200, 500, 301, 204]);
    assert.equal(
      await new Running(httpProbe(server.port, { path: "/", status: { from: 204, to: 204 } })).result(),
      "ready",
    );
    assert.equal(server.requests.length, 4);
    const limit = new AbortController();
    await using refusing = await WebServer.open([401, 401, 401]);
    const rejected = assert.rejects(
      httpProbe(refusing.port, { path: "/health", status }).check({ address: "127.0.0.1" }, limit.signal),
      /^StartTimeoutError: too late: \/health answered (401|500), not 200-399(; the last attempt: .*)?$/,
    );
    await eventually("the second attempt", () => refusing.requests.length > 1);
    limit.abort(new StartTimeoutError("too late"));
    await rejected;
  });

  test("reports that the server did not answer", async () => {
    await using server = await PeerServer.open();
    const probe = new Running(httpProbe(server.port, { path: "/health", status }));
    await (await server.accepted()).receives(10);
    const details = "StartTimeoutError: too late: it accepts connections, but has not answered /health yet";
    assert.equal(await probe.timeOut(), details);
  });

  test("sends the configured headers instead of its own", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send("HTTP/1.1 200 OK\r\n\r\n") });
    const headers = { host: "app.test", "X-Probe": "wakeport" };
    assert.equal(await new Running(httpProbe(server.port, { path: "/", status, headers })).result(), "ready");
    const peer = await server.accepted();
    await peer.receives(30);
    const lines = peer.text.split("\r\n");
    assert.deepEqual(lines.slice(0, 3), ["GET / HTTP/1.1", "host: app.test", "X-Probe: wakeport"]);
    assert.doesNotMatch(peer.text, /127\.0\.0\.1/);
    peer.end();
  });

  test("reports the last status when the attempt under way has not been answered", async () => {
    let visits = 0;
    await using server = await PeerServer.open({
      onPeer: (peer) => {
        visits += 1;
        if (visits === 1) peer.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
      },
    });
    const probe = new Running(httpProbe(server.port, { path: "/health", status }));
    await eventually("the second attempt", () => visits === 2);
    const underWay = "it accepts connections, but has not answered /health yet";
    const details = `/health answered 401, not 200-399; the last attempt: ${underWay}`;
    assert.equal(await probe.timeOut(), `StartTimeoutError: too late: ${details}`);
  });

  test("does not wait for the end of the answer", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send("HTTP/1.1 200 OK\r\n\r\nfor ever and") });
    const began = performance.now();
    assert.equal(await new Running(httpProbe(server.port, { path: "/", status })).result(), "ready");
    await (await server.accepted()).ended();
    assert.ok(performance.now() - began < 3_000, "the connection was closed at its deadline");
  });

  test("waits for a server that does not answer, and ends at once when it is aborted", async () => {
    await using server = await PeerServer.open();
    const probe = new Running(httpProbe(server.port, { path: "/", status }));
    const peer = await server.accepted();
    await peer.receives(10);
    await probe.abort();
    await peer.ended();
  });

  test("repeats the request after an answer that is not HTTP", async () => {
    const answers = ["220 welcome\r\n", "HTTP/1.1 200 OK\r\n\r\n"];
    await using server = await PeerServer.open({ onPeer: (peer) => peer.end(answers.shift()) });
    assert.equal(await new Running(httpProbe(server.port, { path: "/", status })).result(), "ready");
  });
});

suite("a probe of a server that sends more than the probe reads", () => {
  const probes: Readonly<Record<string, (port: number) => NamedProbe>> = {
    tcp: (port) => tcpProbe(port),
    banner: (port) => bannerProbe(port, "220"),
    http: (port) => httpProbe(port, { path: "/", status }),
  };
  for (const [kind, probe] of Object.entries(probes)) {
    test(`${kind}: does not reset the connection`, async () => {
      const bodyBytes = 1_000_000;
      const begin = kind === "http" ? `HTTP/1.1 200 OK\r\nContent-Length: ${2 * bodyBytes}\r\n\r\n` : "220-welcome\r\n";
      await using server = await PeerServer.open({
        onPeer: (peer) => {
          peer.send(begin);
          peer.send(Buffer.alloc(bodyBytes, "."));
        },
      });
      assert.equal(await new Running(probe(server.port)).result(), "ready");
      const peer = await server.accepted();
      // The kernel answers data after a close with a reset.
      for (let part = 0; part < 10; part += 1) {
        peer.send(Buffer.alloc(bodyBytes / 10, "."));
        await scheduler.wait(5);
      }
      assert.notEqual(peer.fate, "ECONNRESET");
      await eventually("all of it is read", () => peer.socket.writableLength === 0);
      peer.end();
      await peer.closes();
      assert.equal(peer.fate, "ended");
    });
  }
});

suite("healthyProbe()", () => {
  test("is ready when the health check is healthy", async () => {
    const target = new SelfReporting(["down", "starting", "starting", "healthy"]);
    assert.equal(await new Running(healthyProbe(target)).result(), "ready");
    assert.equal(target.inspections, 4);
  });

  test("fails at once if the container is unhealthy", async () => {
    const target = new SelfReporting(["starting", "unhealthy"]);
    const probe = new Running(healthyProbe(target));
    assert.equal(await probe.result(), "failed");
    assert.ok(probe.error instanceof UnhealthyError);
    assert.equal(probe.error.message, "container db is unhealthy: HEALTHCHECK failed");
    assert.equal(target.inspections, 2);
  });

  test("fails at once with a remedy if the container has no health check", async () => {
    const target = new SelfReporting(["none"]);
    const probe = new Running(healthyProbe(target));
    assert.equal(await probe.result(), "failed");
    assert.ok(probe.error instanceof TargetError);
    assert.equal(probe.error.message, "container db has no HEALTHCHECK, so it is never healthy");
    assert.match(probe.error.remedy ?? "", /ready: tcp/);
  });

  test("inspects again after an error of the engine", async () => {
    const target = new SelfReporting(["away", "away", "healthy"]);
    assert.equal(await new Running(healthyProbe(target)).result(), "ready");
  });

  test("can be aborted while the container is starting", async () => {
    const target = new SelfReporting(["starting"]);
    const probe = new Running(healthyProbe(target));
    await eventually("the third inspection", () => target.inspections > 2);
    await probe.abort();
  });
});

type Health = "down" | "none" | "away" | "starting" | "healthy" | "unhealthy";

/** A container with a sequence of health states. The last one stays. */
class SelfReporting implements Target {
  readonly name = "container db";
  readonly graceMs = 0;
  inspections = 0;
  readonly #story: readonly [Health, ...Health[]];

  constructor(story: readonly [Health, ...Health[]]) {
    this.#story = story;
  }

  async inspect(): Promise<TargetStatus> {
    const health = this.#story[Math.min(this.inspections, this.#story.length - 1)] ?? "none";
    this.inspections += 1;
    if (health === "away") throw new TargetError("unreachable", "the engine does not answer");
    if (health === "down") return { up: false };
    const status = { up: true, address: "127.0.0.1", incarnation: "1" } as const;
    return health === "none" ? status : { ...status, health };
  }

  async start(): Promise<"already"> {
    return "already";
  }

  async sleep(): Promise<void> {}

  async lastLines(): Promise<readonly string[]> {
    return [];
  }

  async follow(): Promise<void> {}

  watch(): Disposable {
    return { [Symbol.dispose]: () => {} };
  }
}

/** Answers each request with the next status. */
class WebServer implements AsyncDisposable {
  /** Method and path of each request. */
  readonly requests: string[] = [];
  readonly #server: http.Server;

  private constructor(statuses: readonly number[]) {
    this.#server = http.createServer((request, response) => {
      response.statusCode = statuses[this.requests.length] ?? 500;
      this.requests.push(`${request.method} ${request.url}`);
      response.end();
    });
  }

  static async open(statuses: readonly number[]): Promise<WebServer> {
    const server = new WebServer(statuses);
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    return server;
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}

/** Sends each byte of `text` in its own packet. */
async function trickle(socket: net.Socket, text: string): Promise<void> {
  for (const byte of Buffer.from(text)) {
    if (!socket.writable) return;
    socket.write(Buffer.of(byte));
    await new Promise((resolve) => setImmediate(resolve));
  }
}
