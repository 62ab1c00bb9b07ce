/** Route lookups between real sockets. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import tls from "node:tls";
import { parseNetwork } from "../../../src/config/values/networks.ts";
import type { NameKind, Names } from "../../../src/net/hostname.ts";
import { proxyHeader } from "../../../src/net/proxy-protocol.ts";
import { Ident } from "../../../src/proxy/ident.ts";
import { eventually } from "../../support/eventually.ts";
import { checkLeaks } from "../../support/leaks.ts";
import { connecting, type Peer, PeerServer } from "../../support/net/tcp.ts";
import { type SharedFrontOptions, SharedListener } from "../../support/proxy/shared-listener.ts";

checkLeaks();

function named(kind: NameKind, ...patterns: string[]): { readonly names: Names } {
  return { names: { kind, patterns } };
}

const sites: SharedFrontOptions = {
  services: { app: named("host", "app.test"), web: named("host", "*.app.test", "web.test") },
};
const loopback = [parseNetwork("127.0.0.0/8")];
const header = proxyHeader("v2", {
  peer: { address: "203.0.113.9", port: 4_711 },
  local: { address: "198.51.100.1", port: 443 },
});

function request(host: string): string {
  return `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
}

suite("Route lookup by Host header", () => {
  test("routes by name in any pieces, and the service receives all bytes", async () => {
    await using shared = await SharedListener.open(sites);
    const data = `${request("WWW.App.Test:80")}and more`;
    using client = shared.connect();
    for (const piece of [data.slice(0, 3), data.slice(3, 30), data.slice(30, 31)]) {
      client.send(piece);
      await eventually("the lookup has begun", () => shared.router.lookups === 1);
    }
    const guest = await shared.guest(data.slice(31), client);
    assert.equal(guest.service, "web");
    await guest.peer.receives(data.length);
    client.end(" and more");
    assert.equal(await guest.peer.ended(), "ended");
    assert.equal(guest.peer.text, `${data} and more`);
    assert.equal((await shared.guest(request("app.test"))).service, "app");
    assert.deepEqual([shared.router.lookups, shared.unrouted.length], [0, 0]);
  });

  const replies: Readonly<Record<string, readonly [data: string, status: string, reason: string]>> = {
    "an unknown name": [request("other.test"), "421 Misdirected Request", "unknown_name"],
    "no name": ["GET / HTTP/1.0\r\n\r\n", "421 Misdirected Request", "no_name"],
    "the preface of HTTP/2": ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "421 Misdirected Request", "no_name"],
    "two hosts": ["GET / HTTP/1.1\r\nHost: app.test\r\nHost: web.test\r\n\r\n", "400 Bad Request", "malformed"],
    "bytes that are not HTTP": ["\x16\x03\x01", "400 Bad Request", "malformed"],
    "a head without end": [`GET / HTTP/1.1\r\n${"A: b\r\n".repeat(3_000)}`, "400 Bad Request", "malformed"],
  };
  for (const [what, [data, status, reason]] of Object.entries(replies)) {
    test(`answers ${status} to ${what}`, async () => {
      await using shared = await SharedListener.open(sites);
      using client = shared.connect();
      client.send(data);
      assert.equal(await client.ended(), "ended");
      assert.match(client.text, new RegExp(`^HTTP/1.1 ${status}\r\n.*\r\nConnection: close\r\n\r\n[^\r]*\n$`, "s"));
      client.end();
      assert.deepEqual(await shared.reasons(1), [reason]);
      assert.equal(shared.guests.length, 0);
      await eventually("no slot is taken", () => shared.slots.taken === 0);
    });
  }

  test("ends at the deadline, with 408 after half a head and without a reply to a silent client, and frees its slots when a client leaves", async () => {
    await using shared = await SharedListener.open({ ...sites, deadlineMs: 50 });
    using slow = shared.connect();
    slow.send("GET / HTTP/1.1\r\nHost: app.te");
    assert.equal(await slow.ended(), "ended");
    assert.match(slow.text, /^HTTP\/1.1 408 Request Timeout\r\n/);
    using silent = shared.connect();
    assert.equal(await silent.ended(), "ended");
    assert.equal(silent.text, "", "a reply without a request would belong to a later request");
    assert.deepEqual(await shared.reasons(2), ["timeout", "timeout"]);
    assert.match(shared.unrouted[0]?.received ?? "", /^GET \/ HTTP\/1.1\\x0d\\x0aHost: app.te$/);

    await using patient = await SharedListener.open(sites);
    for (const leave of ["end", "reset"] as const) {
      using brief = patient.connect();
      brief.send("GET / HT");
      await eventually("the lookup has begun", () => patient.router.lookups === 1);
      brief[leave]();
      await eventually("the lookup has ended", () => patient.router.lookups === 0);
    }
    assert.deepEqual(await patient.reasons(2), ["client_gone", "client_gone"]);
    assert.equal(patient.slots.taken, 0);
  });

  test("routes unknown names, and clients without a name, to the service of `*`", async () => {
    await using shared = await SharedListener.open({
      services: { app: named("host", "app.test"), rest: named("host", "*") },
    });
    assert.equal((await shared.guest(request("app.test"))).service, "app");
    assert.equal((await shared.guest(request("nobody.test"))).service, "rest");
    assert.equal((await shared.guest("GET / HTTP/1.0\r\n\r\n")).service, "rest");
    assert.equal((await shared.guest("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).service, "rest");
  });

  test("uses names that are added, removed or moved to another service while the listener is open", async () => {
    await using shared = await SharedListener.open(sites);
    using early = shared.connect();
    early.send("GET / HTTP/1.1\r\n");
    await eventually("the lookup has begun", () => shared.router.lookups === 1);
    shared.lead({ app: named("host", "new.test"), web: named("host", "app.test") });
    assert.equal((await shared.guest("Host: app.test\r\n\r\n", early)).service, "web");
    assert.equal((await shared.guest(request("new.test"))).service, "app");
    shared.listeners.removeRoutes("app");
    using lost = shared.connect();
    lost.send(request("new.test"));
    assert.deepEqual(await shared.reasons(1), ["unknown_name"]);
    assert.equal((await shared.guest(request("app.test"))).service, "web");
    shared.listeners.removeRoutes("web");
    assert.equal(shared.listeners.size, 0);
  });

  test("ends when the listener is closed, and at shutdown", async () => {
    await using shared = await SharedListener.open(sites);
    using first = shared.connect();
    first.send("GET / ");
    await eventually("the lookup has begun", () => shared.router.lookups === 1);
    shared.listeners.close();
    first.send("HTTP/1.1\r\nHost: app.test\r\n\r\n");
    assert.notEqual(await first.ended(), "open");
    assert.deepEqual(await shared.reasons(1), ["closing"]);

    await using ending = await SharedListener.open(sites);
    using second = ending.connect();
    second.send("GET / ");
    await eventually("the lookup has begun", () => ending.router.lookups === 1);
    ending.router.close();
    assert.deepEqual(await ending.reasons(1), ["closing"]);
    assert.equal(await second.ended(), "ECONNRESET");
  });
});

suite("Route lookup by SNI", () => {
  const secure: SharedFrontOptions = { services: { app: named("sni", "app.test"), web: named("sni", "*.web.test") } };

  test("routes by name, and sends an alert for an unknown name", async () => {
    await using shared = await SharedListener.open(secure);
    const connectTls = (servername?: string): tls.TLSSocket => {
      const client = tls.connect({
        port: shared.listenPort.port,
        host: "127.0.0.1",
        ...(servername && { servername }),
      });
      client.on("error", () => {});
      return client;
    };
    const client = connectTls("www.web.test");
    await eventually("a service has the client", () => shared.guests.length === 1);
    assert.equal(shared.guests[0]?.service, "web");
    await eventually("the ClientHello", () => (shared.guests[0]?.peer.received ?? 0) > 100);
    assert.equal(shared.guests[0]?.peer.data[0], 22);
    client.destroy();
    for (const [count, name] of ["web.test", undefined].entries()) {
      const rejected = connectTls(name);
      const { promise, resolve } = Promise.withResolvers<NodeJS.ErrnoException>();
      rejected.once("error", resolve);
      assert.equal((await promise).code, "ERR_SSL_TLSV1_UNRECOGNIZED_NAME");
      assert.deepEqual((await shared.reasons(count + 1))[count], name === undefined ? "no_name" : "unknown_name");
      rejected.destroy();
    }
    assert.equal(shared.guests.length, 1);
  });

  test("resets a client without TLS, and sends an alert for an invalid ClientHello", async () => {
    await using shared = await SharedListener.open(secure);
    using plain = shared.connect();
    plain.send(request("app.test"));
    assert.equal(await plain.ended(), "ECONNRESET");
    using broken = shared.connect();
    broken.send(Buffer.from([22, 3, 1, 0, 5, 2, 0, 0, 1, 0]));
    assert.equal(await broken.ended(), "ended");
    assert.deepEqual([...broken.data], [21, 3, 3, 0, 2, 2, 50]);
    assert.deepEqual(await shared.reasons(2), ["malformed", "malformed"]);
    assert.match(shared.unrouted[0]?.received ?? "", /^GET \/ HTTP\/1.1\\x0d\\x0a/);
  });
});

suite("Route lookup behind a proxy", () => {
  test("takes the client's addresses from the header, which the service does not receive", async () => {
    await using shared = await SharedListener.open({ services: { app: { receive: loopback } } });
    for (const piece of [1, 13, 20, header.length - 1]) {
      using client = shared.connect();
      client.send(header.subarray(0, piece));
      await eventually("the lookup has begun", () => shared.accepted > shared.guests.length);
      const { client: guest, peer } = await shared.guest(
        Buffer.concat([header.subarray(piece), Buffer.from("hello")]),
        client,
      );
      assert.deepEqual(guest.peer, { address: "203.0.113.9", port: 4_711 });
      assert.deepEqual(guest.local, { address: "198.51.100.1", port: 443 });
      client.end(" there");
      assert.equal(await peer.ended(), "ended");
      assert.equal(peer.text, "hello there");
      peer.end();
    }
    await eventually("all are reported", () => shared.reports.length === 4);
    assert.equal(shared.reports[0]?.client, "203.0.113.9:4711");
    assert.equal(shared.slots.taken, 0);
  });

  test("uses the proxy's own address after LOCAL and UNKNOWN", async () => {
    await using shared = await SharedListener.open({ services: { app: { receive: loopback } } });
    for (const version of ["v1", "v2"] as const) {
      const { client } = await shared.guest(proxyHeader(version));
      assert.equal(client.peer.address, "127.0.0.1");
      assert.equal(client.local.port, shared.listenPort.port);
    }
  });

  test("closes a LOCAL connection of a proxy that is a monitor, without waiting for a name", async () => {
    const others = { receive: loopback, monitors: loopback };
    await using shared = await SharedListener.open({ services: { app: { ...named("host", "app.test"), ...others } } });
    using proxy = shared.connect();
    proxy.send(proxyHeader("v2"));
    assert.equal(await proxy.ended(), "ended");
    assert.equal(proxy.received, 0);
    proxy.end();
    await eventually("the connection is reported", () => shared.reports.length === 1);
    assert.deepEqual([shared.reports[0]?.outcome, shared.reports[0]?.end], ["served", "probe"]);
    const { client } = await shared.guest(Buffer.concat([header, Buffer.from(request("app.test"))]));
    assert.equal(client.peer.address, "203.0.113.9");
    assert.deepEqual(shared.unrouted, []);
  });

  test("resets a proxy without a header, or with half of one", async () => {
    await using shared = await SharedListener.open({ services: { app: { receive: loopback } }, deadlineMs: 50 });
    using bare = shared.connect();
    bare.send(request("app.test"));
    assert.equal(await bare.ended(), "ECONNRESET");
    using half = shared.connect();
    half.send(header.subarray(0, 20));
    assert.equal(await half.ended(), "ECONNRESET");
    assert.deepEqual(await shared.reasons(2), ["malformed", "timeout"]);
    assert.equal(shared.unrouted[0]?.client.startsWith("127.0.0.1:"), true);
    assert.equal(shared.guests.length, 0);
  });

  test("does not parse a header from other addresses than trusted ones", async () => {
    await using shared = await SharedListener.open({ services: { app: { receive: [parseNetwork("127.0.0.2/32")] } } });
    const { client, peer } = await shared.guest(header);
    assert.equal(client.peer.address, "127.0.0.1");
    await peer.receives(header.length);
    assert.deepEqual(peer.data, header);
  });

  test("does not query the ident server of a client behind a proxy", async () => {
    await using identServer = await PeerServer.open();
    const ident = new Ident(identServer.port);
    await using shared = await SharedListener.open({ services: { app: { receive: loopback } }, ident });
    await shared.guest(header);
    shared.lead({ app: {} });
    const { client } = await shared.guest("hello");
    const query = await identServer.accepted();
    await eventually("a query", () => query.text === `${client.peer.port},${shared.listenPort.port}\r\n`);
    assert.equal(identServer.peers.length, 1);
    ident.close();
  });

  test("trusts an IPv4 proxy on a listener of both families", async () => {
    await using shared = await SharedListener.open({ services: { app: { receive: loopback } }, isEverywhere: true });
    const { client } = await shared.guest(header, connecting(shared.listenPort.port));
    assert.equal(client.peer.address, "203.0.113.9");
  });

  test("reads the name behind the header, within one deadline for both", async () => {
    const receive = loopback;
    const services = { app: { ...named("host", "app.test"), receive }, web: { ...named("host", "web.test"), receive } };
    await using shared = await SharedListener.open({ services });
    const data = request("web.test");
    const { service, client, peer } = await shared.guest(Buffer.concat([header, Buffer.from(data)]));
    assert.deepEqual([service, client.peer.address], ["web", "203.0.113.9"]);
    await peer.receives(data.length);
    assert.equal(peer.text, data);
    using lost = shared.connect();
    lost.send(Buffer.concat([header, Buffer.from(request("other.test"))]));
    assert.equal(await lost.ended(), "ended");
    assert.match(lost.text, /^HTTP\/1.1 421 /);
    assert.deepEqual(await shared.reasons(1), ["unknown_name"]);
    assert.deepEqual([shared.unrouted[0]?.client, shared.unrouted[0]?.name], ["203.0.113.9:4711", "other.test"]);

    await using hurried = await SharedListener.open({ services, deadlineMs: 50 });
    using slow = hurried.connect();
    slow.send(Buffer.concat([header, Buffer.from("GET ")]));
    assert.equal(await slow.ended(), "ended");
    assert.match(slow.text, /^HTTP\/1.1 408 /);
    using silent = hurried.connect();
    silent.send(header);
    assert.equal(await silent.ended(), "ended");
    assert.equal(silent.text, "");
    assert.deepEqual(await hurried.reasons(2), ["timeout", "timeout"]);
    assert.deepEqual(
      hurried.unrouted.map(({ received }) => received),
      ["GET ", undefined],
    );
  });
});

suite("Many route lookups", () => {
  test("200 clients with half a request block no other client, and end at the deadline", async () => {
    await using shared = await SharedListener.open({ ...sites, deadlineMs: 3_000 });
    const halves = Array.from({ length: 200 }, () => {
      const half = shared.connect();
      half.send("GET / HTTP/1.1\r\nHo");
      return half;
    });
    await eventually("all lookups have begun", () => shared.router.lookups === 200);
    assert.equal((await shared.guest(request("app.test"))).service, "app");
    assert.equal(shared.router.lookups, 200);
    const reasons = await shared.reasons(200);
    assert.deepEqual(new Set(reasons), new Set(["timeout"]));
    for (const half of halves) assert.notEqual(await half.ended(), "open");
    assert.equal(shared.router.lookups, 0);
    // Of the served client.
    assert.equal(shared.slots.taken, 1);
    for (const half of halves) half.reset();
  });

  test("at random: each client is routed or rejected, once", async () => {
    await using shared = await SharedListener.open({ ...sites, deadlineMs: 500 });
    const actions: readonly ((client: Peer) => void)[] = [
      (client) => client.send(request("app.test")),
      (client) => client.end(request("www.app.test")),
      (client) => client.send(request("nobody.test")),
      (client) => client.send("GET / HTTP/1.1\r\nHost: app"),
      (client) => client.end("GET / "),
      (client) => client.reset(),
      (client) => client.send("\0"),
      () => {},
    ];
    const clients = Array.from({ length: 400 }, (_, index) => {
      const client = shared.connect();
      actions[index % actions.length]?.(client);
      return client;
    });
    await eventually("all are connected", () => clients.every(({ socket }) => !socket.connecting));
    await eventually("no lookup is left", () => shared.router.lookups === 0);
    for (const { peer } of shared.guests) peer.end();
    for (const client of clients) client.end();
    await eventually("all connections are closed", () => shared.reports.length === shared.guests.length);
    assert.equal(shared.guests.length, 100);
    assert.equal(shared.accepted, shared.reports.length + shared.unrouted.length);
    // A client that resets before the accept may not be accepted at all.
    assert.ok(shared.accepted >= 350);
    assert.equal(shared.slots.taken, 0);
    for (const client of clients) client.reset();
  });

  test("have at most half of the slots: the oldest lookup is evicted", async () => {
    await using shared = await SharedListener.open({ ...sites, slots: 8 });
    using first = shared.connect();
    first.send("GET / ");
    await eventually("the lookup has begun", () => shared.router.lookups === 1);
    const others = [2, 3, 4].map(() => shared.connect());
    await eventually("all lookups have begun", () => shared.router.lookups === 4);
    assert.equal((await shared.guest(request("app.test"))).service, "app");
    assert.notEqual(await first.ended(), "open");
    assert.deepEqual(await shared.reasons(1), ["limit"]);
    assert.equal(shared.accepted, shared.guests.length + shared.unrouted.length + shared.router.lookups);
    for (const other of others) other.reset();
  });

  test("are evicted from the source with most, although another one is older", async () => {
    await using shared = await SharedListener.open({ ...sites, slots: 8 });
    using early = shared.connect("127.0.0.2");
    await eventually("the lookup has begun", () => shared.router.lookups === 1);
    const many = [2, 3, 4].map(() => shared.connect());
    await eventually("all lookups have begun", () => shared.router.lookups === 4);
    using late = shared.connect("127.0.0.3");
    assert.deepEqual(await shared.reasons(1), ["limit"]);
    await eventually("one of many is evicted", () => many.filter(({ fate }) => fate !== "open").length === 1);
    assert.deepEqual([early.fate, late.fate, shared.router.lookups, shared.slots.taken], ["open", "open", 4, 4]);
    for (const peer of many) peer.reset();
  });

  test("rejects a client if no slot of the process is free", async () => {
    await using shared = await SharedListener.open({ ...sites, slots: 2 });
    const { peer } = await shared.guest(request("app.test"));
    await shared.guest(request("app.test"));
    using third = shared.connect();
    third.send(request("app.test"));
    assert.equal(await third.ended(), "ECONNRESET");
    assert.deepEqual(await shared.reasons(1), ["limit"]);
    peer.reset();
    await eventually("a slot is free again", () => shared.slots.taken === 1);
    assert.equal((await shared.guest(request("app.test"))).service, "app");
  });
});
