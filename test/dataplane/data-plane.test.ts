import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { syncBuiltinESMExports } from "node:module";
import type net from "node:net";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import workerThreads from "node:worker_threads";
import { ClosedError, ExitedError, RenamedError } from "../../src/activation/errors.ts";
import { DataPlane } from "../../src/dataplane/data-plane.ts";
import type { Meter, RelayEnd, RelayOptions } from "../../src/net/relay.ts";
import { KIB, MIB, payload } from "../bench/payload.ts";
import { usePlane } from "../support/dataplane/plane.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { type Peer, pair } from "../support/net/tcp.ts";

const plane = usePlane();

/** A connection that the data plane, or in its place Node, relays; and the far end of each side. */
class Link implements Disposable {
  readonly client: Peer;
  readonly upstream: Peer;
  readonly near: { readonly client: net.Socket; readonly upstream: net.Socket };
  readonly meter: Meter = { in: 0, out: 0 };
  readonly total: Meter = { in: 1_000, out: 2_000 };
  readonly lost = new AbortController();
  end: RelayEnd | undefined;

  private constructor(client: Awaited<ReturnType<typeof pair>>, upstream: Awaited<ReturnType<typeof pair>>) {
    this.client = client.far;
    this.upstream = upstream.far;
    this.near = { client: client.near, upstream: upstream.near };
    for (const socket of [client.near, upstream.near]) socket.pause().on("error", () => {});
  }

  /** Opens the two connections. They are not relayed yet. */
  static async open(): Promise<Link> {
    return new Link(await pair(), await pair());
  }

  /** Opens two connections and relays them in the data plane. */
  static async relayed(): Promise<Link> {
    const link = await Link.open();
    link.relay();
    assert.ok(link.isInPlane, "the connection was not taken");
    return link;
  }

  relay(options: Partial<RelayOptions> = {}): void {
    const meters = [this.meter, this.total];
    void plane.relay({ ...this.near, meters, lost: this.lost.signal, ...options }).then((end) => {
      this.end = end;
    });
  }

  /** Whether Node has given both sockets away. */
  get isInPlane(): boolean {
    return this.near.client.destroyed && this.near.upstream.destroyed && this.end === undefined;
  }

  async ended(): Promise<RelayEnd> {
    await eventually("the relay ended", () => this.end !== undefined);
    return this.end!;
  }

  [Symbol.dispose](): void {
    for (const peer of [this.client, this.upstream]) peer[Symbol.dispose]();
    for (const socket of Object.values(this.near)) socket.destroy();
  }
}

function assertReceived(peer: Peer, bytes: number): void {
  assert.equal(peer.received, bytes);
  assert.ok(peer.data.equals(payload(bytes)), "the received bytes differ from the sent bytes");
}

checkLeaks();

suite("the data plane", () => {
  test("forwards half-closes and counts each byte in all meters", async () => {
    using link = await Link.relayed();
    link.client.end(payload(300 * KIB));
    assert.equal(await link.upstream.ended(), "ended");
    assertReceived(link.upstream, 300 * KIB);
    plane.count();
    assert.deepEqual(link.meter, { in: 300 * KIB, out: 0 });
    link.upstream.end(payload(5 * MIB));
    assert.equal(await link.client.ended(), "ended");
    assertReceived(link.client, 5 * MIB);
    assert.equal(await link.ended(), "clean");
    assert.deepEqual(link.meter, { in: 300 * KIB, out: 5 * MIB });
    assert.deepEqual(link.total, { in: 1_000 + 300 * KIB, out: 2_000 + 5 * MIB });
  });

  for (const side of ["client", "upstream"] as const) {
    const otherSide = side === "client" ? "upstream" : "client";

    test(`forwards a reset of the ${side}`, async () => {
      using link = await Link.relayed();
      link[side].reset();
      assert.equal(await link[otherSide].ended(), "ECONNRESET");
      assert.equal(await link.ended(), `${side}_reset`);
    });
  }

  test("sends the bytes that Node had read first, also if the upstream does not accept all of them", async () => {
    using link = await Link.open();
    link.near.client.read(0);
    link.client.send(payload(MIB));
    await eventually("Node has read", () => link.near.client.readableLength > 0);
    // Node reads more than a send buffer of the kernel holds.
    while (link.near.client.readableLength < MIB) {
      const length = link.near.client.readableLength;
      link.near.client.unshift(link.near.client.read() as Buffer);
      link.near.client.read(0);
      await eventually("Node has read more", () => link.near.client.readableLength > length);
    }
    link.upstream.pause();
    link.relay();
    assert.ok(link.isInPlane);
    link.upstream.resume();
    link.client.end();
    assert.equal(await link.upstream.ended(), "ended");
    assertReceived(link.upstream, MIB);
    link.upstream.end();
    assert.equal(await link.ended(), "clean");
    assert.deepEqual(link.meter, { in: MIB, out: 0 });
  });

  test("takes connections at any moment of a transfer", async () => {
    const links = await Promise.all(Array.from({ length: 60 }, () => Link.open()));
    await Promise.all(
      links.map(async (link, index) => {
        link.near.client.read(0);
        link.near.upstream.read(0);
        link.client.send(payload(200 * KIB));
        link.upstream.end(payload(100 * KIB));
        if (index % 2 === 0) link.client.end();
        for (let turns = index; turns > 0; turns -= 1) await new Promise((resolve) => setImmediate(resolve));
        link.relay();
        if (index % 2 === 1) link.client.end();
        assert.equal(await link.upstream.ended(), "ended");
        assert.equal(await link.client.ended(), "ended");
        assertReceived(link.upstream, 200 * KIB);
        assertReceived(link.client, 100 * KIB);
        assert.equal(await link.ended(), "clean");
        assert.deepEqual(link.meter, { in: 200 * KIB, out: 100 * KIB });
      }),
    );
    for (const link of links) link[Symbol.dispose]();
  });

  test("reports the number of its connections", async () => {
    assert.deepEqual(plane.view, { state: "up", connections: 0, listeners: 0 });
    using link = await Link.relayed();
    assert.deepEqual(plane.view, { state: "up", connections: 1, listeners: 0 });
    link.client.reset();
    await link.ended();
    assert.deepEqual(plane.view, { state: "up", connections: 0, listeners: 0 });
  });

  const refusals: readonly (readonly [string, (link: Link) => Partial<RelayOptions>])[] = [
    [
      "has a filter",
      () => ({ filters: { out: { take: (chunk, write) => void write(chunk), end: (last, write) => write(last) } } }),
    ],
    [
      "has bytes to write",
      ({ near }) => {
        near.upstream.cork();
        near.upstream.write("header ");
        process.nextTick(() => near.upstream.uncork());
        return {};
      },
    ],
  ];
  for (const [what, prepare] of refusals) {
    test(`leaves a connection to Node that ${what}`, async () => {
      using link = await Link.open();
      link.relay(prepare(link));
      assert.equal(link.isInPlane, false);
      link.client.end("request");
      assert.equal(await link.upstream.ended(), "ended");
      assert.match(link.upstream.text, /request$/);
      link.upstream.end("answer");
      assert.equal(await link.client.ended(), "ended");
      assert.equal(await link.ended(), "clean");
    });
  }

  test("leaves a connection to Node that had an error", async () => {
    using link = await Link.open();
    link.near.upstream.read(0);
    link.upstream.reset();
    await eventually("the upstream failed", () => link.near.upstream.destroyed);
    link.relay();
    assert.equal(await link.client.ended(), "ECONNRESET");
    assert.equal(await link.ended(), "upstream_reset");
  });
});

suite("the data plane after the loss of the target", () => {
  test("delivers the last bytes of an exited target", async () => {
    using link = await Link.relayed();
    link.client.pause();
    link.upstream.end(payload(4 * MIB));
    link.lost.abort(new ExitedError("web", { code: 0 }));
    link.client.resume();
    assert.equal(await link.client.ended(), "ended");
    assertReceived(link.client, 4 * MIB);
    link.client.end();
    assert.equal(await link.ended(), "clean");
  });

  test("continues for the client of a renamed container, until that container is down", async () => {
    using link = await Link.relayed();
    const down = new AbortController();
    link.lost.abort(new RenamedError("web", down.signal));
    link.upstream.send("still up");
    await link.client.receives(8);
    down.abort();
    assert.equal(await link.ended(), "target_gone");
  });

  test("resets both sides at once for any other reason", async () => {
    using link = await Link.relayed();
    link.lost.abort(new ClosedError("removed"));
    assert.equal(await link.client.ended(), "ECONNRESET");
    assert.equal(await link.upstream.ended(), "ECONNRESET");
    assert.equal(await link.ended(), "drained");
  });
});

suite("a data plane that ends", () => {
  const unused = (): DataPlane =>
    new DataPlane({ maxPipes: 1, onProblem: () => {}, onLost: (error) => assert.fail(error) });

  test("resets its connections", async () => {
    const own = unused();
    await own.ready();
    using link = await Link.open();
    const end = own.relay({ ...link.near, meters: [link.meter], lost: link.lost.signal });
    link.client.send("bytes");
    await link.upstream.receives(5);
    await own.close();
    assert.equal(await end, "drained");
    assert.equal(await link.client.ended(), "ECONNRESET");
    assert.equal(await link.upstream.ended(), "ECONNRESET");
    assert.deepEqual(link.meter, { in: 5, out: 0 });
  });

  test("may end before it was started, and while it starts", async () => {
    await unused().close();
    const own = unused();
    own.prepare();
    await own.close();
    assert.equal(own.view.state, "closed");
  });

  test("leaves connections to Node afterwards", async () => {
    const own = unused();
    await own.ready();
    own.drain();
    using link = await Link.open();
    const end = own.relay({ ...link.near, meters: [], lost: link.lost.signal });
    assert.equal(link.near.client.destroyed, false);
    link.client.end();
    link.upstream.end();
    assert.equal(await end, "clean");
    await own.close();
  });
});

suite("a data plane whose thread does not start", () => {
  /** Replaces the class of threads by one whose constructor does something first. */
  async function withThreads(context: TestContext, begin: () => URL, use: () => Promise<void>): Promise<void> {
    class Replacement extends workerThreads.Worker {
      constructor(_file: URL, options: workerThreads.WorkerOptions) {
        super(begin(), options);
      }
    }
    context.mock.property(workerThreads, "Worker", Replacement as typeof workerThreads.Worker);
    syncBuiltinESMExports();
    try {
      await use();
    } finally {
      context.mock.restoreAll();
      syncBuiltinESMExports();
    }
  }

  function create() {
    const problems: string[] = [];
    const clock = { ms: 0 };
    const own = new DataPlane({
      maxPipes: 1,
      now: () => clock.ms,
      onProblem: (text) => problems.push(text),
      onLost: (error) => assert.fail(error),
    });
    return { own, problems, clock };
  }

  async function relayOne(own: DataPlane): Promise<void> {
    using link = await Link.open();
    const end = own.relay({ ...link.near, meters: [], lost: link.lost.signal });
    link.client.end();
    link.upstream.end();
    assert.equal(await end, "clean");
  }

  test("leaves connections to Node, and is started by a later one at most once a minute", async (context) => {
    const { own, problems, clock } = create();
    let starts = 0;
    const fail = (): never => {
      starts += 1;
      throw new Error("EAGAIN");
    };
    await withThreads(context, fail, async () => {
      await own.ready();
      for (const ms of [0, 59_999, 60_000, 119_999]) {
        clock.ms = ms;
        await relayOne(own);
      }
    });
    assert.equal(starts, 2);
    assert.deepEqual(problems, ["no thread can be started: EAGAIN"]);
    assert.deepEqual(own.view, { state: "unavailable", connections: 0, listeners: 0, problem: problems[0] });
    own.stop();
    clock.ms = 120_000;
    await relayOne(own);
    await eventually("the data plane is up", () => own.view.state === "up");
    assert.equal(own.view.problem, undefined);
    await own.close();
  });

  test("is not started again after another failure", async (context) => {
    const { own, problems, clock } = create();
    let starts = 0;
    const begin = (): URL => {
      starts += 1;
      return new URL("./no-such-file.ts", import.meta.url);
    };
    await withThreads(context, begin, async () => {
      await own.ready();
      clock.ms = 3_600_000;
      await relayOne(own);
    });
    assert.equal(starts, 1);
    assert.equal(own.view.state, "unavailable");
    assert.match(problems.join(), /^the worker of the data plane ended: Cannot find module/);
    own.stop();
    await own.close();
  });
});

suite("a process with a data plane", () => {
  const program = join(import.meta.dirname, "../support/dataplane/plane-process.ts");

  /** Runs the process in one of its ways. Its limit ends a process that hangs. */
  async function run(way: string, act?: (pid: number) => void) {
    const child = spawn(process.execPath, [program, ...way.split(" ")], {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 20_000,
    });
    let output = "";
    child.stdout.on("data", (text: Buffer) => {
      output += text.toString();
      act?.(child.pid!);
    });
    child.stderr.on("data", (text: Buffer) => {
      output += text.toString();
    });
    const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
    return { code, signal, output };
  }

  test("exits at once by process.exit()", async () => {
    assert.deepEqual(await run("exit"), { code: 3, signal: null, output: "up\n" });
  });

  test("exits at any moment of the start of its thread", async () => {
    const results = await Promise.all([0, 50, 200, 2_000].map((ms) => run(`early ${ms}`)));
    for (const result of results) assert.deepEqual(result, { code: 3, signal: null, output: "" });
  });

  test("exits with an uncaught error", async () => {
    const { code, signal, output } = await run("throw");
    assert.deepEqual([code, signal], [1, null]);
    assert.match(output, /Error: a defect/);
  });

  test("ends by SIGTERM", async () => {
    const { code, signal } = await run("wait", (pid) => process.kill(pid, "SIGTERM"));
    assert.deepEqual([code, signal], [null, "SIGTERM"]);
  });

  test("ends with an error if the thread of the data plane is lost", async () => {
    const { code, signal, output } = await run("lose");
    assert.deepEqual([code, signal], [1, null]);
    assert.match(output, /the worker of the data plane ended: epoll_wait: EBADF/);
  });
});
