import assert from "node:assert/strict";
import net from "node:net";
import { suite, test } from "node:test";
import type { DataPlane } from "../../src/dataplane/data-plane.ts";
import type { AcceptedFacts } from "../../src/dataplane/reports.ts";
import type { RelayEnd } from "../../src/net/relay.ts";
import { Listener } from "../../src/proxy/listen/listener.ts";
import { KIB, payload } from "../bench/payload.ts";
import { usePlane } from "../support/dataplane/plane.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { checkLeaks } from "../support/leaks.ts";
import { Peer, PeerServer } from "../support/net/tcp.ts";

const plane = usePlane();
checkLeaks();

interface Accepted extends AcceptedFacts {
  readonly bytes: readonly [number, number];
  readonly end: RelayEnd | "returned" | undefined;
}

interface LentOptions {
  readonly upstreamPort: number;
  readonly maxDials?: number;
  readonly limit?: number;
}

/** A listener that is lent to the data plane. */
class Lent implements AsyncDisposable {
  readonly listener: Listener;
  /** Clients that Node accepted. */
  readonly inNode: Peer[] = [];
  readonly returned: Peer[] = [];
  readonly accepted: Accepted[] = [];
  full = 0;
  readonly #lend: (port: number) => ReturnType<DataPlane["lend"]>;
  readonly #upstreamPort: number;
  #loan: ReturnType<DataPlane["lend"]>;

  private constructor({ upstreamPort, maxDials = 4, limit = 10_000 }: LentOptions) {
    this.listener = new Listener("web", { address: "127.0.0.1", port: 0 }, (socket) => {
      this.inNode.push(new Peer(socket.resume()));
    });
    this.#upstreamPort = upstreamPort;
    this.#lend = (port) => {
      return plane.lend({
        fd: this.listener.fd,
        upstream: { address: "127.0.0.1", port },
        maxDials,
        limit,
        onAccepted: (facts) => this.#onAccepted(facts),
        onReturned: (fd) => this.returned.push(new Peer(new net.Socket({ fd, allowHalfOpen: true }))),
        onFull: () => (this.full += 1),
      });
    };
  }

  static async open(options: LentOptions): Promise<Lent> {
    const lent = new Lent(options);
    await lent.listener.open();
    lent.lend();
    return lent;
  }

  lend(port: number = this.#upstreamPort): void {
    this.listener.pause();
    this.#loan = this.#lend(port);
    assert.ok(this.#loan, "the data plane did not take the listener");
  }

  /** Gives the listener back to Node. @returns the number of connections that the data plane keeps */
  async giveBack(): Promise<number> {
    const open = await this.#loan!.close();
    this.listener.resume();
    return open;
  }

  targetGone(): void {
    this.#loan!.targetGone();
  }

  async connect(): Promise<Peer> {
    const socket = net.connect({ host: "127.0.0.1", port: this.listener.port, allowHalfOpen: true, noDelay: true });
    const peer = new Peer(socket);
    await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    return peer;
  }

  #onAccepted(facts: AcceptedFacts) {
    const accepted = { ...facts, bytes: [0, 0] as [number, number], end: undefined as Accepted["end"] };
    this.accepted.push(accepted);
    return {
      count: (bytesIn: number, bytesOut: number) => void accepted.bytes.splice(0, 2, bytesIn, bytesOut),
      end: (end: RelayEnd) => {
        accepted.end = end;
      },
      returned: () => {
        accepted.end = "returned";
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loan?.close();
    this.listener.close();
    for (const peer of [...this.inNode, ...this.returned]) peer[Symbol.dispose]();
    await eventually("the connections ended", () => plane.view.connections === 0);
  }
}

suite("lent listeners", () => {
  test("connect clients to the target, and report them", async () => {
    await using server = await PeerServer.open();
    await using lent = await Lent.open({ upstreamPort: server.port });
    const began = Date.now();
    using client = await lent.connect();
    const port = client.socket.localPort;
    client.end(payload(300 * KIB));
    const upstream = await server.accepted();
    assert.equal(await upstream.ended(), "ended");
    upstream.end(payload(100 * KIB));
    assert.equal(await client.ended(), "ended");
    await eventually("the end is reported", () => lent.accepted[0]?.end !== undefined);
    const [accepted] = lent.accepted;
    assert.deepEqual(accepted?.bytes, [300 * KIB, 100 * KIB]);
    assert.equal(accepted?.end, "clean");
    assert.deepEqual(accepted?.peer, { address: "127.0.0.1", port });
    assert.ok(accepted.since >= began - 1 && accepted.since <= Date.now());
    assert.ok(accepted.waitMs !== undefined && accepted.waitMs >= 0);
    assert.deepEqual([lent.inNode.length, lent.returned.length], [0, 0]);
  });

  test("count no bytes of an earlier connection", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.end("served") });
    await using lent = await Lent.open({ upstreamPort: server.port });
    using first = await lent.connect();
    first.end("request");
    await eventually("the end is reported", () => lent.accepted[0]?.end === "clean");
    await using silent = await PeerServer.open();
    await lent.giveBack();
    lent.lend(silent.port);
    using second = await lent.connect();
    await eventually("the second client is reported", () => lent.accepted.length === 2);
    plane.count();
    assert.deepEqual(lent.accepted[1]?.bytes, [0, 0]);
    second.reset();
  });

  test("can be given back and lent again while clients connect, without a loss", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.end("served") });
    await using lent = await Lent.open({ upstreamPort: server.port });
    const clients: Peer[] = [];
    let isOver = false;
    const connecting = (async () => {
      while (!isOver) {
        clients.push(await lent.connect());
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (let round = 0; round < 20; round += 1) {
      await eventually("some more clients connected", () => clients.length > 10 * round);
      await lent.giveBack();
      const before = lent.inNode.length;
      if (round % 2 === 0) await eventually("Node accepts", () => lent.inNode.length > before);
      lent.lend();
    }
    isOver = true;
    await connecting;
    // Node does not serve its clients in this test.
    const inNode = (): number => lent.inNode.length;
    await eventually("each client has its place", () => {
      return inNode() + clients.filter(({ fate }) => fate !== "open").length === clients.length;
    });
    const served = clients.filter(({ text }) => text === "served");
    assert.equal(served.length + inNode(), clients.length);
    assert.ok(served.length > 0 && inNode() >= 10);
    for (const client of clients) client[Symbol.dispose]();
  });

  test("return clients to Node if the target refuses, with all that they sent", async () => {
    await using lent = await Lent.open({ upstreamPort: await freePort() });
    using client = await lent.connect();
    client.end("request");
    await eventually("the client is returned", () => lent.returned.length === 1);
    const [returned] = lent.returned;
    assert.equal(await returned!.ended(), "ended");
    assert.equal(returned!.text, "request");
    returned!.end("answer");
    assert.equal(await client.ended(), "ended");
    assert.equal(client.text, "answer");
    assert.deepEqual(lent.accepted, []);
  });

  for (const [how, fate] of [
    ["end", "ended"],
    ["reset", "ECONNRESET"],
  ] as const) {
    test(`pass the target's ${how} on if the target stays up`, async () => {
      await using server = await PeerServer.open({ onPeer: (peer) => peer[how]() });
      await using lent = await Lent.open({ upstreamPort: server.port });
      using client = await lent.connect();
      client.send("request");
      assert.equal(await client.ended(), fate);
      client.end();
      await eventually("the end is reported", () => lent.accepted[0]?.end !== undefined);
      assert.deepEqual([server.peers.length, lent.returned.length], [1, 0]);
    });

    test(`return a client if the target's ${how} is followed by its exit`, async () => {
      await using server = await PeerServer.open({ onPeer: (peer) => peer[how]() });
      await using lent = await Lent.open({ upstreamPort: server.port });
      using client = await lent.connect();
      // A byte that arrives before the end would belong to this connection.
      await eventually("the server has ended", () => {
        const { writableFinished, destroyed } = server.peers[0]?.socket ?? {};
        return writableFinished === true || destroyed === true;
      });
      client.send("late");
      await eventually("the client is reported", () => how === "reset" || lent.accepted.length === 1);
      lent.targetGone();
      await eventually("the client is returned", () => lent.returned.length === 1);
      await lent.returned[0]!.receives(4);
      assert.ok(lent.accepted.every(({ end }) => end === "returned"));
    });
  }

  test("return silent clients of a lost target, and deliver the last bytes to others", async () => {
    await using server = await PeerServer.open();
    await using lent = await Lent.open({ upstreamPort: server.port });
    using silent = await lent.connect();
    using talking = await lent.connect();
    talking.send("request");
    await eventually("both clients are reported", () => lent.accepted.length === 2);
    await server.accepted();
    const upstream = await server.accepted();
    await upstream.receives(7);
    upstream.send("answer");
    lent.targetGone();
    await eventually("the silent client is returned", () => lent.returned.length === 1);
    await talking.receives(6);
    upstream.end();
    assert.equal(await talking.ended(), "ended");
    talking.end();
    assert.equal(silent.fate, "open");
    await eventually("the end is reported", () => lent.accepted.some(({ end }) => end === "clean"));
  });

  test("keep their connections after they are given back", async () => {
    await using server = await PeerServer.open();
    await using lent = await Lent.open({ upstreamPort: server.port });
    using client = await lent.connect();
    client.send("first");
    const upstream = await server.accepted();
    await upstream.receives(5);
    assert.equal(await lent.giveBack(), 1);
    client.send("second");
    await upstream.receives(11);
    client.end();
    assert.equal(await upstream.ended(), "ended");
    upstream.end();
    await eventually("the end is reported", () => lent.accepted[0]?.end === "clean");
  });

  test("dial at most maxDials clients at a time, and lose none", async () => {
    await using server = await PeerServer.open({ onPeer: (peer) => peer.end("served") });
    await using lent = await Lent.open({ upstreamPort: server.port, maxDials: 1 });
    const clients = await Promise.all(Array.from({ length: 100 }, () => lent.connect()));
    await Promise.all(clients.map((client) => client.ended()));
    assert.ok(clients.every(({ text }) => text === "served"));
    for (const client of clients) client.end();
    await eventually("all are reported", () => lent.accepted.filter(({ end }) => end === "clean").length === 100);
  });

  test("accept no more than the limit, and report that they are full", async () => {
    await using server = await PeerServer.open();
    await using lent = await Lent.open({ upstreamPort: server.port, limit: 2 });
    const clients = [await lent.connect(), await lent.connect(), await lent.connect()];
    await eventually("the data plane is full", () => lent.full > 0);
    assert.equal(await lent.giveBack(), 2);
    await eventually("Node accepts the third client", () => lent.inNode.length === 1);
    for (const client of clients) client.reset();
  });

  test("report a client that leaves", async () => {
    await using server = await PeerServer.open();
    await using lent = await Lent.open({ upstreamPort: server.port });
    using client = await lent.connect();
    client.send("x");
    await (await server.accepted()).receives(1);
    client.reset();
    await eventually("the end is reported", () => lent.accepted[0]?.end === "client_reset");
  });
});
