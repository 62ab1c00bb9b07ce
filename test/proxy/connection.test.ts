import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { suite, test } from "node:test";
import { scheduler } from "node:timers/promises";
import { parseNetwork } from "../../src/config/values/networks.ts";
import { TargetError } from "../../src/errors.ts";
import { formatPeer } from "../../src/net/addresses.ts";
import { smtp } from "../../src/proxy/protocols/smtp.ts";
import { KIB, MIB, payload } from "../bench/payload.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import { countDialling, deafPort, type Peer, PeerServer } from "../support/net/tcp.ts";
import { type FrontOptions, TestListener } from "../support/proxy/listener.ts";

checkLeaks();

suite("Connection to a target that is asleep", () => {
  test("delivers data and a half-close that were sent before the target was ready", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port });
    using client = await listenPort.client();
    const { localPort } = client.socket;
    client.end("request");
    await listenPort.start();
    const upstream = await server.accepted();
    assert.equal(await upstream.ended(), "ended");
    assert.equal(upstream.text, "request");
    upstream.end("answer");
    assert.equal(await client.ended(), "ended");
    assert.equal(client.text, "answer");

    const [report] = await listenPort.reported(1);
    const { waitMs, durationMs, wake, ...rest } = report!;
    assert.ok(waitMs !== undefined && waitMs <= durationMs);
    const { acceptMs = -1, dialMs = -1, firstByteMs = -1 } = wake ?? {};
    assert.ok(acceptMs >= 0 && dialMs >= 0 && firstByteMs >= 0);
    assert.ok(acceptMs + dialMs + firstByteMs <= durationMs);
    assert.deepEqual(rest, {
      service: "web",
      id: 1,
      client: `127.0.0.1:${localPort}`,
      listener: "127.0.0.1:80",
      outcome: "relayed",
      start: "cold",
      bytesIn: 7,
      bytesOut: 6,
      end: "clean",
    });
    assert.deepEqual(listenPort.traffic.meter, { in: 7, out: 6 });
  });

  test("delivers a half-close without data that was sent before the target was ready", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port });
    using client = await listenPort.client();
    client.end();
    await eventually("the half-close is received", () => listenPort.accepted[0]?.readableEnded === true);
    assert.equal(listenPort.reports.length, 0, "a half-close must not end the connection");
    await listenPort.start();
    const upstream = await server.accepted();
    assert.equal(await upstream.ended(), "ended");
    upstream.end("answer");
    assert.equal(await client.ended(), "ended");
    assert.equal(client.text, "answer");
  });

  test("reports an IPv4 client of a dual-stack listener with its IPv4 address", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.end() });
    await using both = await TestListener.open({ upstream: server.port, address: undefined });
    using overIPv4 = await both.client();
    assert.equal(both.accepted[0]?.remoteAddress, "::ffff:127.0.0.1");
    await both.start();
    const { localPort } = overIPv4.socket;
    overIPv4.end();
    const [report] = await both.reported(1);
    assert.equal(report?.client, `127.0.0.1:${localPort}`);
    // A proxy may send this notation. Without the prefix it would be another address.
    assert.equal(formatPeer({ address: "::ffff:102:304", port: 80 }), "[::ffff:102:304]:80");
  });

  test("forwards the first bytes of a server that sends first", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.send("220 welcome\r\n") });
    await using listenPort = await TestListener.open({ upstream: server.port });
    using client = await listenPort.client();
    await listenPort.start();
    await client.receives(13);
    assert.equal(client.text, "220 welcome\r\n");
  });

  test("does not start the target for a client that reset before the accept, because its address is unknown", async () => {
    await using server = await PeerServer.open();
    const probes = [parseNetwork("127.0.0.0/8")];
    await using listenPort = await TestListener.open({ upstream: server.port, admission: { monitors: probes } });
    // execFileSync blocks the event loop, so the listener accepts after the reset.
    const look = `net.connect(${listenPort.port}, "127.0.0.1").on("connect", function () { this.resetAndDestroy(); })`;
    execFileSync(process.execPath, ["-e", look]);
    const [report] = await listenPort.reported(1);
    assert.deepEqual([report?.client, report?.outcome], ["unknown:0", "client_gone"]);
    assert.deepEqual([listenPort.state, listenPort.slots.taken], ["asleep", 0]);
    assert.equal(listenPort.target.starts.length, 0);
  });

  test("releases all slots of a client that resets, and does not dial for it", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port });
    using client = await listenPort.client();
    client.send("early");
    await listenPort.starting();
    assert.equal(listenPort.activator.view.waiting, 1);
    client.reset();
    const [report] = await listenPort.reported(1);
    assert.equal(report?.outcome, "client_gone");
    assert.equal(report?.waitMs, undefined);
    assert.deepEqual(
      [listenPort.activator.view.waiting, listenPort.traffic.waiting.taken, listenPort.slots.taken],
      [0, 0, 0],
    );
    listenPort.target.finishStart();
    await listenPort.becomes("ready");
    assert.equal(server.peers.length, 0);
  });

  test("stops reading an upload at 64 KiB, and delivers all of it afterwards", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port });
    using client = await listenPort.client();
    client.end(payload(8 * MIB));
    await listenPort.starting();
    const [socket] = listenPort.accepted;
    await eventually("the buffer is full", () => socket!.readableLength >= 64 * KIB);
    assert.ok(socket!.bytesRead <= 128 * KIB, `${socket!.bytesRead} bytes were read while it waits`);
    listenPort.target.finishStart();
    const upstream = await server.accepted();
    assert.equal(await upstream.ended(), "ended");
    assert.equal(upstream.received, 8 * MIB);
    assert.ok(upstream.data.equals(payload(8 * MIB)));
    upstream.end();
    const [report] = await listenPort.reported(1);
    assert.equal(report?.bytesIn, 8 * MIB);
  });

  test("resets all waiting clients if the start fails, and reports the failure once", async () => {
    await using listenPort = await TestListener.open({ upstream: await freePort() });
    const clients = await listenPort.clients(5);
    await listenPort.starting();
    listenPort.target.failStart(new TargetError("missing", "there is no container fake"));
    for (const client of clients) assert.equal(await client.ended(), "ECONNRESET");
    const reports = await listenPort.reported(5);
    assert.deepEqual([...new Set(reports.map(({ outcome }) => outcome))], ["start_failed"]);
    assert.match(String(reports[0]?.error), /there is no container fake/);
    await eventually("the failure is reported", () => listenPort.activations.length > 0);
    assert.deepEqual(
      listenPort.activations.map(({ outcome }) => outcome),
      ["engine_error"],
    );
  });

  test("resets a client during the backoff after a failed start, without a start", async () => {
    await using listenPort = await TestListener.open({ upstream: await freePort() });
    using first = await listenPort.client();
    await listenPort.starting();
    listenPort.target.failStart(new Error("no"));
    await first.ended();
    await eventually("the failed target is being stopped", () => listenPort.target.stops.length === 1);
    listenPort.target.finishStop();
    await listenPort.becomes("asleep");
    using second = await listenPort.client();
    assert.equal(await second.ended(), "ECONNRESET");
    const reports = await listenPort.reported(2);
    assert.equal(reports[1]?.outcome, "start_failed");
    assert.equal(listenPort.target.starts.length, 1);
  });

  test("resets a client after the start timeout", async () => {
    await using listenPort = await TestListener.open({ upstream: await freePort(), startTimeoutMs: 50 });
    using client = await listenPort.client();
    assert.equal(await client.ended(), "ECONNRESET");
    const [report] = await listenPort.reported(1);
    assert.equal(report?.outcome, "start_timeout");
  });

  test("resets a waiting client if the service is closed", async () => {
    await using listenPort = await TestListener.open({ upstream: await freePort() });
    using client = await listenPort.client();
    await listenPort.starting();
    void listenPort.activator.close({ drainMs: 0, leaveRunning: true });
    assert.equal(await client.ended(), "ECONNRESET");
    const [report] = await listenPort.reported(1);
    assert.equal(report?.outcome, "start_failed");
  });
});

suite("Connection at a limit", () => {
  test("resets a client if no waiting slot is free", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port, waiting: 2 });
    const [first, second] = await listenPort.clients(2);
    using third = await listenPort.client();
    assert.equal(await third.ended(), "ECONNRESET");
    const [report] = await listenPort.reported(1);
    assert.equal(report?.outcome, "denied_limit");
    assert.equal(report?.error?.message, "clients waiting: limit of 2 reached");
    await listenPort.start();
    await server.accepted();
    await server.accepted();
    assert.deepEqual([first?.fate, second?.fate], ["open", "open"]);
    assert.equal(listenPort.traffic.waiting.taken, 0);
    first?.reset();
    second?.reset();
  });

  test("resets a client if no slot of the process is free, without a start", async () => {
    await using listenPort = await TestListener.open({ upstream: await freePort(), slots: 0 });
    using client = await listenPort.client();
    assert.equal(await client.ended(), "ECONNRESET");
    const [report] = await listenPort.reported(1);
    assert.equal(report?.outcome, "denied_limit");
    assert.equal(listenPort.target.starts.length, 0);
    assert.equal(listenPort.state, "asleep");
  });
});

suite("Waiting slots, if all are taken", () => {
  const [hog, other] = ["127.0.0.1", "127.0.0.2"];

  for (const limited of ["waiting", "slots"] as const) {
    test(`(${limited}) go to a source that has fewer: the oldest silent client is evicted`, async () => {
      await using server = await PeerServer.open({ onPeer: (peer) => peer.send("hello\n") });
      await using listenPort = await TestListener.open({ upstream: server.port, [limited]: 6 });
      const peers = await listenPort.clients(6);
      for (const speaker of peers.slice(0, 2)) speaker.send("x");
      await eventually("the bytes have arrived", () =>
        listenPort.accepted.slice(0, 2).every(({ bytesRead }) => bytesRead === 1),
      );
      const newcomers = [await listenPort.client(other), await listenPort.client(other)];
      await listenPort.reported(2);
      await eventually(
        "two clients are evicted",
        () => peers[2]?.fate === "ECONNRESET" && peers[3]?.fate === "ECONNRESET",
      );
      const reason = limited === "waiting" ? "waiting_limit" : "process_limit";
      for (const report of listenPort.reports)
        assert.deepEqual([report.outcome, report.reason], ["denied_limit", reason]);
      using tooMany = await listenPort.client(hog);
      assert.equal(await tooMany.ended(), "ECONNRESET");
      await listenPort.start();
      const served = [...peers.slice(0, 2), ...peers.slice(4), ...newcomers];
      for (const peer of served) await peer.receives(6);
      for (const peer of served) peer.reset();
      await listenPort.reported(9);
      assert.deepEqual(
        [listenPort.traffic.waiting.taken, listenPort.traffic.active, listenPort.slots.taken],
        [0, 0, 0],
      );
    });
  }

  test("are not taken from a served client", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await awake(server.port, { slots: 2 });
    const served = await listenPort.clients(2);
    await eventually("both are relayed", () => listenPort.traffic.active === 2);
    using newcomer = await listenPort.client(other);
    assert.equal(await newcomer.ended(), "ECONNRESET");
    for (const peer of served) {
      assert.equal(peer.fate, "open");
      peer.reset();
    }
  });

  test("an evicted client gets an error in its protocol", async () => {
    await using listenPort = await TestListener.open({ upstream: 1, waiting: 2, protocol: smtp({ kind: "auto" }) });
    const [first, second] = await listenPort.clients(2);
    using newcomer = await listenPort.client(other);
    assert.equal(await first?.ended(), "ended");
    assert.equal(first?.text, "421 4.3.2 web is not available, try again later\r\n");
    assert.deepEqual([second?.fate, newcomer.fate], ["open", "open"]);
    for (const peer of [first, second, newcomer]) peer?.reset();
    await listenPort.reported(3);
  });
});

suite("Connection to a ready target", () => {
  test("is warm, and releases its lease at the end", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await awake(server.port);
    using client = await listenPort.client();
    const upstream = await server.accepted();
    await eventually("the client is relayed", () => listenPort.traffic.active === 1);
    assert.equal(listenPort.activator.view.held, 1);
    client.end();
    await upstream.ended();
    upstream.end();
    const [report] = await listenPort.reported(1);
    assert.deepEqual([report?.outcome, report?.start, report?.end], ["relayed", "warm", "clean"]);
    assert.deepEqual([listenPort.activator.view.held, listenPort.traffic.active, listenPort.slots.taken], [0, 0, 0]);
  });

  test("makes no call to the target", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.end() });
    await using listenPort = await awake(server.port);
    const inspections = listenPort.target.inspections.length;
    for (let round = 0; round < 3; round += 1) {
      using client = await listenPort.client();
      client.end();
      await client.ended();
    }
    await listenPort.reported(3);
    assert.deepEqual([listenPort.target.starts.length, listenPort.target.inspections.length], [0, inspections]);
  });

  test("that refuses: probes once for all clients, and serves them if the probe succeeds", async (t) => {
    const port = await freePort();
    const answers = Promise.withResolvers<void>();
    let probes = 0;
    const probe = (): Promise<void> => {
      probes += 1;
      return probes === 1 ? Promise.resolve() : answers.promise;
    };
    await using listenPort = await awake(port, { probe });
    const verify = t.mock.method(listenPort.activator, "verify");
    const [first, second] = await listenPort.clients(2);
    first?.send("hello");
    await eventually("both dials were refused", () => verify.mock.callCount() === 2 && probes === 2);
    await using server = await PeerServer.open({ port });
    answers.resolve();
    const upstreams = [await server.accepted(), await server.accepted()];
    await eventually("the data has arrived", () => upstreams.some(({ text }) => text === "hello"));
    assert.equal(probes, 2, "one probe is enough for all clients");
    first?.reset();
    second?.reset();
    const reports = await listenPort.reported(2);
    assert.deepEqual(
      reports.map(({ outcome, end }) => [outcome, end]),
      [
        ["relayed", "client_reset"],
        ["relayed", "client_reset"],
      ],
    );
  });

  test("that refuses: probes once, and resets the client if the target refuses again", async () => {
    let probes = 0;
    const probe = async (): Promise<void> => {
      probes += 1;
    };
    await using listenPort = await awake(await freePort(), { probe });
    using client = await listenPort.client();
    assert.equal(await client.ended(), "ECONNRESET");
    const [report] = await listenPort.reported(1);
    assert.equal(report?.outcome, "dial_failed");
    assert.equal(probes, 2, "one at the start, one for the client");
    assert.match(String(report?.error), /ECONNREFUSED/);
    assert.equal(listenPort.state, "ready");
    assert.equal(listenPort.activator.view.held, 0);
  });

  test("that went down unnoticed: the next activation serves the client", async () => {
    const port = await freePort();
    await using listenPort = await awake(port);
    listenPort.target.hintsChanges = false;
    listenPort.target.goDown({ code: 0 });
    using client = await listenPort.client();
    client.send("hello");
    await listenPort.starting();
    assert.equal(client.fate, "open");
    await using server = await PeerServer.open({ port });
    listenPort.target.finishStart();
    const upstream = await server.accepted();
    await upstream.receives(5);
  });

  test("that goes down between the grant and the dial: the next activation serves the client", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await awake(server.port, { pace: 1 });
    const place = await listenPort.pace.acquire(new AbortController().signal);
    using client = await listenPort.client();
    await eventually("the lease is granted", () => listenPort.activator.view.held === 1);
    listenPort.target.goDown({ code: 137 });
    await listenPort.start();
    await listenPort.becomes("ready");
    place[Symbol.dispose]();
    const upstream = await server.accepted();
    upstream.send("served");
    await client.receives(6);
    assert.equal(server.peers.length, 1);
  });

  test("that goes down each time before the dial: gives up after the third activation", async () => {
    await using listenPort = await awake(await freePort(), { pace: 1 });
    using _place = await listenPort.pace.acquire(new AbortController().signal);
    using client = await listenPort.client();
    for (let incarnation = 1; incarnation <= 3; incarnation += 1) {
      await eventually("the lease is granted", () => listenPort.activator.view.held === 1);
      listenPort.target.goDown({ code: 1 });
      if (incarnation < 3) await listenPort.start();
    }
    assert.equal(await client.ended(), "ECONNRESET");
    const [report] = await listenPort.reported(1);
    assert.equal(report?.outcome, "start_failed");
    assert.equal(listenPort.target.starts.length, 2);
  });

  const addresses = {
    "ends the connection": (upstream: Peer) => upstream.end(),
    "resets the connection": (upstream: Peer) => upstream.reset(),
    "leaves it as it is": () => {},
  } as const;
  for (const [how, end] of Object.entries(addresses)) {
    test(`that dies before a byte was relayed and ${how}: the next activation serves the client`, async () => {
      await using server = await PeerServer.open();
      await using listenPort = await awake(server.port);
      using client = await listenPort.client();
      const first = await server.accepted();
      await eventually("the client is relayed", () => listenPort.traffic.active === 1);
      end(first);
      await scheduler.wait(20);
      listenPort.target.goDown({ code: 1 });
      await listenPort.starting();
      assert.deepEqual([client.fate, listenPort.traffic.active, listenPort.traffic.waiting.taken], ["open", 0, 1]);
      client.send("hello");
      listenPort.target.finishStart();
      const second = await server.accepted();
      await second.receives(5);
      second.end("served");
      assert.equal(await client.ended(), "ended");
      assert.equal(client.text, "served");
      client.end();
      const [report] = await listenPort.reported(1);
      assert.deepEqual([report?.outcome, report?.end, report?.bytesIn], ["relayed", "clean", 5]);
      assert.equal(first.received, 0);
      assert.deepEqual([listenPort.traffic.active, listenPort.traffic.waiting.taken], [0, 0]);
    });
  }

  test("that dies each time before a byte was relayed: gives up after the third activation", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await awake(server.port);
    using client = await listenPort.client();
    for (let incarnation = 1; incarnation <= 3; incarnation += 1) {
      (await server.accepted()).reset();
      listenPort.target.goDown({ code: 1 });
      if (incarnation < 3) await listenPort.start();
    }
    assert.equal(await client.ended(), "ECONNRESET");
    const [report] = await listenPort.reported(1);
    assert.deepEqual([report?.outcome, report?.waitMs], ["start_failed", undefined]);
    assert.match(String(report?.error), /exited with code 1/);
    assert.equal(listenPort.target.starts.length, 2);
  });

  test("that dies before a byte was relayed: the next start is limited by the rest of the client's timeout", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port, startTimeoutMs: 800 });
    using client = await listenPort.client();
    await listenPort.starting();
    await scheduler.wait(600);
    listenPort.target.finishStart();
    (await server.accepted()).reset();
    listenPort.target.goDown({ code: 1 });
    await listenPort.starting();
    assert.equal(await client.ended(), "ECONNRESET");
    assert.equal(listenPort.state, "starting", "the start of the target keeps its own timeout");
    const [report] = await listenPort.reported(1);
    assert.equal(report?.outcome, "start_timeout");
  });

  test("that is up and closes without a byte: forwards the close, without a start", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await awake(server.port);
    for (const [end, fate] of [
      [addresses["ends the connection"], "ended"],
      [addresses["resets the connection"], "ECONNRESET"],
    ] as const) {
      using client = await listenPort.client();
      end(await server.accepted());
      assert.equal(await client.ended(), fate);
      client.end();
    }
    const reports = await listenPort.reported(2);
    assert.deepEqual(
      reports.map(({ outcome, end }) => `${outcome} ${end}`),
      ["relayed clean", "relayed upstream_reset"],
    );
    assert.deepEqual([listenPort.target.starts.length, server.peers.length], [0, 2]);
  });

  test("that dies after a byte of the client was relayed: resets the client, because the target may have acted on it", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await awake(server.port);
    using client = await listenPort.client();
    client.send("x");
    const upstream = await server.accepted();
    await upstream.receives(1);
    upstream.reset();
    listenPort.target.goDown({ code: 1 });
    assert.equal(await client.ended(), "ECONNRESET");
    await listenPort.reported(1);
    assert.equal(listenPort.target.starts.length, 0);
  });

  test("that is drained before a byte was relayed: resets the client at once", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await awake(server.port);
    using client = await listenPort.client();
    await server.accepted();
    await eventually("the client is relayed", () => listenPort.traffic.active === 1);
    const closed = listenPort.activator.close({ drainMs: 0, leaveRunning: true });
    assert.equal(await client.ended(), "ECONNRESET");
    await closed;
    const [report] = await listenPort.reported(1);
    assert.deepEqual([report?.outcome, report?.end], ["relayed", "drained"]);
  });

  test("resets a client that waits for a dial longer than its start timeout", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    await using listenPort = await awake(await freePort(), { pace: 1, startTimeoutMs: 30_000 });
    using _place = await listenPort.pace.acquire(new AbortController().signal);
    using client = await listenPort.client();
    await eventually("the lease is granted", () => listenPort.activator.view.held === 1);
    t.mock.timers.tick(29_999);
    assert.equal(client.fate, "open");
    t.mock.timers.tick(1);
    assert.equal(await client.ended(), "ECONNRESET");
    const [report] = await listenPort.reported(1);
    assert.deepEqual([report?.outcome, listenPort.activator.view.held], ["start_timeout", 0]);
  });

  test("that does not answer a dial: probes the target, and resets the client after one start timeout in total", async () => {
    await using deaf = await deafPort();
    let probes = 0;
    const probe = (): Promise<void> => {
      probes += 1;
      return probes === 1 ? Promise.resolve() : new Promise(() => {});
    };
    await using listenPort = await awake(deaf.port, { probe, startTimeoutMs: 500 });
    using client = await listenPort.client();
    assert.equal(await client.ended(), "ECONNRESET");
    const [report] = await listenPort.reported(1);
    assert.equal(report?.outcome, "start_timeout");
    const message = new RegExp(
      `^fake was not ready within 0.5 s: 127.0.0.1:${deaf.port} did not accept within 0.2\\d? s$`,
    );
    assert.match(report?.error?.message ?? "", message);
    assert.equal(probes, 2);
  });

  test("that goes down before the dial: its next start ends with the first deadline of the client", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    await using listenPort = await awake(await freePort(), { pace: 1, startTimeoutMs: 10_000 });
    using _place = await listenPort.pace.acquire(new AbortController().signal);
    using client = await listenPort.client();
    await eventually("the lease is granted", () => listenPort.activator.view.held === 1);
    t.mock.timers.tick(6_000);
    listenPort.target.goDown({ code: 137 });
    await listenPort.starting();
    t.mock.timers.tick(4_000);
    assert.equal(await client.ended(), "ECONNRESET");
    const [report] = await listenPort.reported(1);
    assert.equal(report?.outcome, "start_timeout");
    assert.equal(listenPort.state, "starting", "the start of the target keeps its own timeout");
  });

  test("that dies during a connection: forwards its last bytes", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await awake(server.port);
    using client = await listenPort.client();
    const upstream = await server.accepted();
    upstream.end("bye");
    listenPort.target.goDown({ code: 0 });
    assert.equal(await client.ended(), "ended");
    assert.equal(client.text, "bye");
    client.end();
    const [report] = await listenPort.reported(1);
    assert.deepEqual([report?.outcome, report?.end], ["relayed", "clean"]);
  });

  test("resets both sides on reset()", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await awake(server.port);
    using client = await listenPort.client();
    const upstream = await server.accepted();
    await eventually("the client is relayed", () => listenPort.traffic.active === 1);
    listenPort.connections[0]?.reset();
    assert.equal(await client.ended(), "ECONNRESET");
    assert.equal(await upstream.ended(), "ECONNRESET");
    await listenPort.reported(1);
  });
});

suite("Connections of many waiting clients", () => {
  test("are dialled in the order of their accept", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({ upstream: server.port, pace: 1 });
    const clients = await listenPort.clients(20);
    for (const [index, client] of clients.entries()) client.send(String(index));
    await listenPort.start();
    await eventually(
      "all are served",
      () => server.peers.every(({ text }) => text !== "") && server.peers.length === 20,
    );
    assert.deepEqual(
      server.peers.map(({ text }) => Number(text)),
      clients.map((_, index) => index),
    );
    resetAll(clients);
  });

  test("are dialled at the pace", async () => {
    await using deaf = await deafPort();
    const others = countDialling(deaf.port);
    await using listenPort = await TestListener.open({ upstream: deaf.port, pace: 4 });
    const clients = await listenPort.clients(12);
    await listenPort.start();
    await listenPort.becomes("ready");
    await eventually("four dials are under way", () => countDialling(deaf.port) - others === 4);
    for (const [index, client] of clients.entries()) {
      client.reset();
      await listenPort.reported(index + 1);
      assert.ok(countDialling(deaf.port) - others <= 4);
    }
    await eventually("all dials have ended", () => countDialling(deaf.port) <= others);
  });

  test("are reported exactly once each, in all kinds of end", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.end("served") });
    await using listenPort = await TestListener.open({ upstream: server.port, waiting: 30 });
    const clients = await listenPort.clients(40);
    await listenPort.starting();
    resetAll(clients.slice(0, 10));
    for (const client of clients.slice(10, 20)) client.end();
    await listenPort.reported(20);
    listenPort.target.finishStart();
    for (const client of clients.slice(20, 30)) client.end("bye");
    const reports = await listenPort.reported(40);
    await eventually("no slot is taken", () => listenPort.slots.taken === 0);
    assert.equal(reports.length, 40);
    assert.deepEqual(
      reports.map(({ id }) => id).toSorted((a, b) => a - b),
      clients.map((_, index) => index + 1),
    );
    assert.deepEqual(countOutcomes(listenPort), { client_gone: 10, denied_limit: 10, relayed: 20 });
  });
});

/** A service whose target is up and ready. */
async function awake(upstream: number, rest: Omit<FrontOptions, "upstream"> = {}): Promise<TestListener> {
  const listenPort = await TestListener.open({ upstream, ...rest });
  listenPort.target.comeUp();
  await listenPort.becomes("ready");
  return listenPort;
}

function resetAll(clients: readonly Peer[]): void {
  for (const client of clients) client.reset();
}

function countOutcomes({ reports }: TestListener): Record<string, number> {
  const groups = Object.entries(Object.groupBy(reports, ({ outcome }) => outcome));
  return Object.fromEntries(groups.map(([outcome, all]) => [outcome, all.length]).toSorted());
}
