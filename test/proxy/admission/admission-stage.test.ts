/** Admission with real sockets, and a target that the test controls. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { parseTimes } from "../../../src/config/values/access-times.ts";
import { parseNetwork } from "../../../src/config/values/networks.ts";
import { parseRate } from "../../../src/config/values/rates.ts";
import { readIp } from "../../../src/net/ip.ts";
import { BanList } from "../../../src/proxy/admission/ban-list.ts";
import { Slots } from "../../../src/proxy/admission/slots.ts";
import { eventually } from "../../support/eventually.ts";
import { PeerServer } from "../../support/net/tcp.ts";
import { TestListener } from "../../support/proxy/listener.ts";
import type { AdmissionStageOptions } from "../../support/proxy/open-admission.ts";

const DENY = Buffer.from("421 Come back later.\r\n");
const full = new Slots({ limit: 0, what: "connections in total", reason: "process_limit" });
const banned = new BanList();
banned.add(readIp("127.0.0.1")!, { service: "trap", ipv6Prefix: 64, until: Date.now() + 3_600_000 }, Date.now());

const reasons: Readonly<Record<string, readonly [outcome: string, entrance: AdmissionStageOptions]>> = {
  address: ["denied_address", { access: { deny: [parseNetwork("127.0.0.0/8")] } }],
  banned: ["denied_address", { bans: banned }],
  time: ["denied_time", { access: { times: [] } }],
  load: ["denied_limit", { limits: { maxLoad: 1 }, loadAverage: () => 1 }],
  process_limit: ["denied_limit", { slots: full }],
};

suite("A denied client", () => {
  for (const [reason, [outcome, admission]] of Object.entries(reasons)) {
    test(`because of ${reason}: gets the banner, is reported, and starts nothing`, async () => {
      await using server = await PeerServer.open();
      await using listenPort = await TestListener.open({
        upstream: server.port,
        admission: { banners: { deny: DENY }, ...admission },
      });
      using client = await listenPort.client();
      await client.receives(DENY.length);
      const [report] = await listenPort.reported(1);
      assert.deepEqual([report?.outcome, report?.reason], [outcome, reason]);
      assert.equal(client.text, DENY.toString());
      assert.equal(listenPort.state, "asleep");
      assert.equal(listenPort.target.starts.length, 0);
    });
  }

  test("is reset without a banner, or closed as configured", async () => {
    await using server = await PeerServer.open();
    const access = { allow: [] };
    await using listenPort = await TestListener.open({ upstream: server.port, admission: { access } });
    using reset = await listenPort.client();
    assert.equal(await reset.ended(), "ECONNRESET");
    await using polite = await TestListener.open({ upstream: server.port, admission: { access, onDeny: "close" } });
    using closed = await polite.client();
    closed.end("hello");
    assert.equal(await closed.ended(), "ended");
    await closed.closes();
    assert.equal(closed.fate, "ended");
  });

  test("receives all of a long banner, although it has sent many bytes", async () => {
    const deny = Buffer.alloc(64 * 1024, "421-no\r\n");
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({
      upstream: server.port,
      admission: { access: { allow: [] }, banners: { deny }, onDeny: "close" },
    });
    using client = await listenPort.client();
    client.send(Buffer.alloc(256 * 1024, "x"));
    assert.equal(await client.ended(), "ended");
    assert.ok(client.data.equals(deny));
  });
});

suite("An admitted client", () => {
  test("gets the accept banner before the target starts, after the connect banner", async () => {
    await using server = await PeerServer.open();
    const banners = { connect: Buffer.from("220-wakeport\r\n"), accept: Buffer.from("220-welcome\r\n"), deny: DENY };
    await using listenPort = await TestListener.open({ upstream: server.port, admission: { banners } });
    using client = await listenPort.client();
    await client.receives(27);
    assert.equal(client.text, "220-wakeport\r\n220-welcome\r\n");
    assert.equal(server.peers.length, 0);
    await listenPort.start();
    const upstream = await server.accepted();
    upstream.send("220 ftp\r\n");
    await client.receives(36);
    assert.ok(client.text.endsWith("220 ftp\r\n"));
    client.end("QUIT\r\n");
    upstream.end();
    const [report] = await listenPort.reported(1);
    assert.deepEqual([report?.outcome, report?.bytesIn, report?.bytesOut], ["relayed", 6, 9]);
  });

  test("gets the connect banner, as a denied client does", async () => {
    await using server = await PeerServer.open();
    const banners = { connect: Buffer.from("hello\r\n") };
    await using listenPort = await TestListener.open({
      upstream: server.port,
      admission: { banners, access: { allow: [] } },
    });
    using client = await listenPort.client();
    await client.ended();
    assert.equal(client.text, "hello\r\n");
  });
});

suite("Limits", () => {
  test("deny the second connection of a source until the first is closed", async () => {
    await using server = await PeerServer.open();
    await using listenPort = await TestListener.open({
      upstream: server.port,
      admission: { limits: { perSource: 1 } },
    });
    const first = await listenPort.client();
    await listenPort.start();
    (await server.accepted()).end();
    using second = await listenPort.client();
    assert.equal(await second.ended(), "ECONNRESET");
    assert.equal((await listenPort.reported(1))[0]?.reason, "per_source_limit");
    first.end();
    await listenPort.reported(2);
    first[Symbol.dispose]();
    using third = await listenPort.client();
    await server.accepted();
    assert.equal(third.fate, "open");
  });

  test("deny a client beyond the rate", async () => {
    await using server = await PeerServer.open();
    const limits = { rate: parseRate("4/h") };
    await using listenPort = await TestListener.open({ upstream: server.port, admission: { limits } });
    const peers = await listenPort.clients(5);
    const reports = await listenPort.reported(3);
    assert.deepEqual(
      reports.map(({ outcome, reason }) => [outcome, reason]),
      new Array(3).fill(["denied_rate", "rate"]),
    );
    assert.equal(peers.filter(({ fate }) => fate === "open").length, 2);
    for (const peer of peers) peer[Symbol.dispose]();
  });

  test("queue clients, with their bytes, until a limit allows them", async () => {
    await using server = await PeerServer.open();
    const limits = { connections: 1, onLimit: "queue" } as const;
    await using listenPort = await TestListener.open({ upstream: server.port, admission: { limits } });
    using first = await listenPort.client();
    await listenPort.start();
    const one = await server.accepted();
    using second = await listenPort.client();
    using third = await listenPort.client();
    second.send("second");
    third.send("third");
    first.end();
    one.end();
    const two = await server.accepted();
    await two.receives(6);
    assert.equal(two.text, "second");
    assert.equal(server.peers.length, 2);
    two.reset();
    await (await server.accepted()).receives(5);
    assert.equal(listenPort.reports.filter(({ reason }) => reason !== undefined).length, 0);
  });

  test("release the slot of a client that leaves the queue", async () => {
    await using server = await PeerServer.open();
    const limits = { connections: 1, onLimit: "queue", waiting: 2 } as const;
    await using listenPort = await TestListener.open({ upstream: server.port, admission: { limits } });
    using first = await listenPort.client();
    await listenPort.start();
    await server.accepted();
    for (let round = 0; round < 5; round += 1) {
      const impatient = await listenPort.client();
      await eventually("the client waits", () => listenPort.slots.taken === 2);
      impatient.reset();
      await listenPort.reported(round + 1);
    }
    assert.deepEqual(new Set(listenPort.reports.map(({ outcome }) => outcome)), new Set(["client_gone"]));
    assert.equal(listenPort.slots.taken, 1);
    assert.equal(first.fate, "open");
  });

  test("deny a queued client after the timeout", async () => {
    await using server = await PeerServer.open();
    const limits = { maxLoad: 1, onLimit: "queue" } as const;
    await using listenPort = await TestListener.open({
      upstream: server.port,
      admission: { limits, loadAverage: () => 2, queueTimeoutMs: 50, banners: { deny: DENY } },
    });
    using client = await listenPort.client();
    await client.receives(DENY.length);
    const [report] = await listenPort.reported(1);
    assert.deepEqual([report?.outcome, report?.reason], ["denied_limit", "load"]);
    assert.equal(listenPort.target.starts.length, 0);
  });

  test("deny clients at closed times", async () => {
    await using server = await PeerServer.open();
    const day = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"][(new Date().getUTCDay() + 3) % 7];
    const access = { times: [parseTimes(day ?? "")], timeZone: "UTC" };
    await using listenPort = await TestListener.open({ upstream: server.port, admission: { access } });
    using client = await listenPort.client();
    assert.equal(await client.ended(), "ECONNRESET");
  });
});
