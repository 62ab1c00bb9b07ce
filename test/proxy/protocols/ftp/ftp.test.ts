/** What clients hear while the server starts, and when it does not. */
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

/** Time that passes when the test says so. The real one is back before anything ends. */
class Clock implements Disposable {
  readonly #timers: TestContext["mock"]["timers"];

  constructor({ mock: { timers } }: TestContext) {
    this.#timers = timers;
    timers.enable({ apis: ["setTimeout"] });
  }

  passes(ms: number): void {
    this.#timers.tick(ms);
  }

  [Symbol.dispose](): void {
    this.#timers.reset();
  }
}

const greeting = "220 (real) hello\r\n";

suite("a client of FTP that waits", () => {
  test("hears nothing of a quick start but the server's greeting", async (t) => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send(greeting) });
    await using listenPort = await TestListener.open({
      upstream: server.port,
      startTimeoutMs: 120_000,
      protocol: ftp(),
    });
    using clock = new Clock(t);
    using client = await listenPort.client();
    await listenPort.starting();
    clock.passes(999);
    listenPort.target.finishStart();
    await client.receives(greeting.length);
    assert.equal(client.text, greeting);
    clock.passes(60_000);
    client.send("NOOP\r\n");
    await eventually("the server is asked", () => server.peers[0]?.text === "NOOP\r\n");
    assert.equal(client.text, greeting);
  });

  test("is told what is going on after a second, then every five, until the server greets it", async (t) => {
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
      clock.passes(ms);
      await eventually(`there are ${count + 1} lines`, () => lines().length === count + 1);
    }
    for (const line of lines()) assert.match(line, /^220-web is starting, please wait: \d+ s so far$/);
    listenPort.target.finishStart();
    await eventually("it is greeted", () => client.text.endsWith(greeting));
    assert.equal(lines().length, 4);
    await eventually("what it said early is there", () => server.peers[0]?.text === "USER early\r\n");
  });

  test("hears nothing where it is held in silence", async (t) => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send(greeting) });
    await using listenPort = await TestListener.open({
      upstream: server.port,
      startTimeoutMs: 120_000,
      protocol: ftp({ hold: { kind: "silent" } }),
    });
    using clock = new Clock(t);
    using client = await listenPort.client();
    await listenPort.starting();
    clock.passes(30_000);
    listenPort.target.finishStart();
    await client.receives(greeting.length);
    assert.equal(client.text, greeting);
  });

  test("is not told more than it reads", async (t) => {
    using clock = new Clock(t);
    using addresses = await pair();
    addresses.far.pause();
    const chunk = Buffer.alloc(1 << 20);
    while (addresses.near.write(chunk) || addresses.near.writableLength < 8 * chunk.length);
    const written = addresses.near.writableLength;
    using _conversation = ftp().hold({ socket: addresses.near, signal: new AbortController().signal, progress });
    clock.passes(1_000);
    clock.passes(5_000);
    assert.equal(addresses.near.writableLength, written);
  });

  test("is remembered as greeted where it meets another conversation", async (t) => {
    using clock = new Clock(t);
    using addresses = await pair();
    const waitingClient = { socket: addresses.near, signal: new AbortController().signal, progress };
    const first = ftp().hold(waitingClient);
    clock.passes(1_000);
    first[Symbol.dispose]();
    using second = ftp().hold(waitingClient);
    assert.match(String(await second.refuse(new Error("of the inside: /run/secret"))), /^220 .*\r\n421 [^/]*\r\n$/);
  });
});

suite("a client of FTP that is gone", () => {
  test("leaves no PORT behind that leads its server to somebody else", async () => {
    await using call = await Call.open();
    call.client.send("AUTH TLS\r\n");
    await eventually("the server is asked", () => call.server.text === "AUTH TLS\r\n");
    const behind = "NOOP\r\nPORT 10,9,9,9,0,25\r\nNOOP\r\n";
    call.client.send(behind);
    await eventually("it waits for the answer", () => call.near.readableLength === behind.length);
    call.client.reset();
    await call.server.ended();
    assert.equal(call.server.text, "AUTH TLS\r\nNOOP\r\nNOOP\r\n");
    await call.addresses();
  });
});

suite("a client of FTP whose server does not start", () => {
  test("is told so after the end of what was begun, when the server resets at once", async (t) => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.reset() });
    await using listenPort = await TestListener.open({
      upstream: server.port,
      startTimeoutMs: 120_000,
      protocol: ftp(),
    });
    using clock = new Clock(t);
    using client = await listenPort.client();
    await listenPort.starting();
    clock.passes(1_000);
    await eventually("it is told to wait", () => client.text !== "");
    clock[Symbol.dispose]();
    listenPort.target.finishStart();
    await client.ended();
    assert.match(client.text, /^220-.*\r\n220 .*\r\n421 .*\r\n$/);
    await listenPort.reported(1);
  });

  for (const [name, waitedMs, expected] of [
    ["is told so", 0, /^421 web is not available.*\r\n$/],
    [
      "is told so after the end of what was begun",
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
        clock.passes(waitedMs);
        await eventually("it is told to wait", () => client.text !== "");
      }
      clock[Symbol.dispose]();
      // Unread bytes would make a reset of the end.
      client.send("USER early\r\n");
      listenPort.target.failStart(new TargetError("missing", "there is no container /run/secret"));
      assert.equal(await client.ended(), "ended");
      assert.match(client.text, expected);
      client.end();
      await listenPort.reported(1);
    });
  }
});
