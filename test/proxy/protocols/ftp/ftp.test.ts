/** Bytes that clients get while the server starts, and if it does not. */
import assert from "node:assert/strict";
import { suite, type TestContext, test } from "node:test";
import { TargetError } from "../../../../src/errors.ts";
import { Slots } from "../../../../src/proxy/admission/slots.ts";
import { Ftp, type FtpOptions } from "../../../../src/proxy/protocols/ftp/ftp.ts";
import { observer } from "../../../../src/telemetry/observer.ts";
import { eventually } from "../../../support/eventually.ts";
import { checkLeaks } from "../../../support/leaks.ts";
import { PeerServer, pair } from "../../../support/net/tcp.ts";
import { Call, progress } from "../../../support/proxy/ftp-call.ts";
import { TestListener } from "../../../support/proxy/listener.ts";

checkLeaks();

function ftp(options: Partial<FtpOptions> = {}): Ftp {
  return new Ftp({
    hold: { kind: "auto" },
    service: "ftp",
    slots: new Slots({ limit: 10, what: "slots" }),
    observer: observer(),
    ...options,
  });
}

/** Mocked time. Disposing restores the real time. */
class Clock implements Disposable {
  readonly #timers: TestContext["mock"]["timers"];

  constructor({ mock: { timers } }: TestContext) {
    this.#timers = timers;
    timers.enable({ apis: ["setTimeout"] });
  }

  advance(ms: number): void {
    this.#timers.tick(ms);
  }

  [Symbol.dispose](): void {
    this.#timers.reset();
  }
}

const greeting = "220 (real) hello\r\n";

suite("an FTP client that waits", () => {
  test("gets only the server's greeting after a quick start", async (t) => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send(greeting) });
    await using listenPort = await TestListener.open({
      upstream: server.port,
      startTimeoutMs: 120_000,
      protocol: ftp(),
    });
    using clock = new Clock(t);
    using client = await listenPort.client();
    await listenPort.starting();
    clock.advance(999);
    listenPort.target.finishStart();
    await client.receives(greeting.length);
    assert.equal(client.text, greeting);
    clock.advance(60_000);
    client.send("NOOP\r\n");
    await eventually("the server received the command", () => server.peers[0]?.text === "NOOP\r\n");
    assert.equal(client.text, greeting);
  });

  test("gets a line after a second, and then every five, until the server's greeting", async (t) => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send(greeting) });
    await using listenPort = await TestListener.open({
      upstream: server.port,
      startTimeoutMs: 120_000,
      protocol: ftp(),
    });
    using clock = new Clock(t);
    using client = await listenPort.client();
    await listenPort.starting();
    client.send("USER early\r\n");
    const lines = (): string[] => client.text.split("\r\n").slice(0, -1);
    for (const [count, ms] of [1_000, 5_000, 5_000].entries()) {
      clock.advance(ms);
      await eventually(`there are ${count + 1} lines`, () => lines().length === count + 1);
    }
    for (const line of lines()) assert.match(line, /^220-web is starting, please wait: \d+ s so far$/);
    listenPort.target.finishStart();
    await eventually("the greeting is there", () => client.text.endsWith(greeting));
    assert.equal(lines().length, 4);
    await eventually("the early command is there", () => server.peers[0]?.text === "USER early\r\n");
  });

  test("gets no lines with hold: silent", async (t) => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send(greeting) });
    await using listenPort = await TestListener.open({
      upstream: server.port,
      startTimeoutMs: 120_000,
      protocol: ftp({ hold: { kind: "silent" } }),
    });
    using clock = new Clock(t);
    using client = await listenPort.client();
    await listenPort.starting();
    clock.advance(30_000);
    listenPort.target.finishStart();
    await client.receives(greeting.length);
    assert.equal(client.text, greeting);
  });

  test("gets no more lines than it reads", async (t) => {
    using clock = new Clock(t);
    using sockets = await pair();
    sockets.far.pause();
    const chunk = Buffer.alloc(1 << 20);
    while (sockets.near.write(chunk) || sockets.near.writableLength < 8 * chunk.length);
    const written = sockets.near.writableLength;
    using _held = ftp().hold({ socket: sockets.near, signal: new AbortController().signal, progress });
    clock.advance(1_000);
    clock.advance(5_000);
    assert.equal(sockets.near.writableLength, written);
  });

  test("keeps its started greeting if it waits again", async (t) => {
    using clock = new Clock(t);
    using sockets = await pair();
    const waitingClient = { socket: sockets.near, signal: new AbortController().signal, progress };
    const first = ftp().hold(waitingClient);
    clock.advance(1_000);
    first[Symbol.dispose]();
    using second = ftp().hold(waitingClient);
    assert.match(String(await second.rejectionReply(new Error("internal: /run/secret"))), /^220 .*\r\n421 [^/]*\r\n$/);
  });
});

suite("an FTP client that has gone", () => {
  test("leaves no PORT command for the server", async () => {
    await using call = await Call.open();
    call.client.send("AUTH TLS\r\n");
    await eventually("the server received the command", () => call.server.text === "AUTH TLS\r\n");
    const rest = "NOOP\r\nPORT 10,9,9,9,0,25\r\nNOOP\r\n";
    call.client.send(rest);
    await eventually("the commands wait for the reply", () => call.near.readableLength === rest.length);
    call.client.reset();
    await call.server.ended();
    assert.equal(call.server.text, "AUTH TLS\r\nNOOP\r\nNOOP\r\n");
    await call.ended();
  });
});

suite("an FTP client whose server does not start", () => {
  test("gets the end of its greeting and a rejection if the server resets at once", async (t) => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.reset() });
    await using listenPort = await TestListener.open({
      upstream: server.port,
      startTimeoutMs: 120_000,
      protocol: ftp(),
    });
    using clock = new Clock(t);
    using client = await listenPort.client();
    await listenPort.starting();
    clock.advance(1_000);
    await eventually("the first line is there", () => client.text !== "");
    clock[Symbol.dispose]();
    listenPort.target.finishStart();
    await client.ended();
    assert.match(client.text, /^220-.*\r\n220 .*\r\n421 .*\r\n$/);
    await listenPort.reported(1);
  });

  for (const [name, waitedMs, expected] of [
    ["gets a rejection", 0, /^421 web is not available.*\r\n$/],
    [
      "gets the end of its greeting and a rejection",
      6_000,
      /^220-.*\r\n(220-.*\r\n)*220 .*\r\n421 web is not available.*\r\n$/,
    ],
  ] as const) {
    test(name, async (t) => {
      await using listenPort = await TestListener.open({ upstream: 1, protocol: ftp() });
      using clock = new Clock(t);
      using client = await listenPort.client();
      await listenPort.starting();
      if (waitedMs > 0) {
        clock.advance(waitedMs);
        await eventually("the first line is there", () => client.text !== "");
      }
      clock[Symbol.dispose]();
      // Unread bytes would turn the end into a reset.
      client.send("USER early\r\n");
      listenPort.target.failStart(new TargetError("missing", "there is no container /run/secret"));
      assert.equal(await client.ended(), "ended");
      assert.match(client.text, expected);
      client.end();
      await listenPort.reported(1);
    });
  }
});
