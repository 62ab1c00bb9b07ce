import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import process, { execPath, getuid } from "node:process";
import { suite, test } from "node:test";
import { promisify } from "node:util";
import { BindError } from "../../../src/errors.ts";
import { formatListenAddress, type ListenAddress, Listener } from "../../../src/proxy/listen/listener.ts";
import { eventually } from "../../support/eventually.ts";
import { checkLeaks } from "../../support/leaks.ts";
import { connect, Peer, PeerServer } from "../../support/net/tcp.ts";

const run = promisify(execFile);

/** An open listener, and its accepted clients. */
class Accepting implements Disposable {
  readonly clients: Peer[] = [];
  readonly listener: Listener;

  constructor(listenPort: ListenAddress) {
    this.listener = new Listener("ftp", listenPort, (client) => {
      this.clients.push(new Peer(client));
      client.resume();
    });
  }

  static async open(listenPort: ListenAddress): Promise<Accepting> {
    const accepting = new Accepting(listenPort);
    await accepting.listener.open();
    return accepting;
  }

  get port(): number {
    return this.listener.port;
  }

  [Symbol.dispose](): void {
    this.listener.close();
    for (const client of this.clients) client[Symbol.dispose]();
  }
}

async function isReached(port: number, host: string): Promise<boolean> {
  try {
    using _client = await connect(port, host);
    return true;
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, "ECONNREFUSED");
    return false;
  }
}

checkLeaks();

const hasIPv6 = await PeerServer.open({ host: "::1" }).then(
  (server) => server[Symbol.asyncDispose]().then(() => true),
  () => false,
);
const skip = hasIPv6 ? false : "this machine has no IPv6";

suite("Listener", () => {
  const listeners: readonly { readonly address?: string; readonly ipv4: boolean; readonly ipv6: boolean }[] = [
    { ipv4: true, ipv6: true },
    { address: "0.0.0.0", ipv4: true, ipv6: false },
    { address: "127.0.0.1", ipv4: true, ipv6: false },
    { address: "::", ipv4: false, ipv6: true },
    { address: "::1", ipv4: false, ipv6: true },
  ];
  for (const { address, ipv4, ipv6 } of listeners) {
    const families = [ipv4 && "IPv4", ipv6 && "IPv6"].filter(Boolean).join(" and ");
    test(`on ${address ?? "all addresses"} accepts ${families}`, { skip }, async () => {
      using one = await Accepting.open({ port: 0, ...(address !== undefined && { address }) });
      assert.equal(await isReached(one.port, "127.0.0.1"), ipv4);
      assert.equal(await isReached(one.port, "::1"), ipv6);
    });
  }

  test("accepts clients that can half-close", async () => {
    using one = await Accepting.open({ port: 0, address: "127.0.0.1" });
    using client = await connect(one.port);
    client.end();
    await eventually("the client is accepted", () => one.clients.length === 1);
    await one.clients[0]?.ended();
    one.clients[0]?.end("an answer");
    await client.ended();
    assert.equal(client.text, "an answer");
  });

  test("close() stops accepting, and open connections stay", async () => {
    using one = await Accepting.open({ port: 0, address: "127.0.0.1" });
    const { port } = one;
    using client = await connect(port);
    await eventually("the client is accepted", () => one.clients.length === 1);
    one.listener.close();
    assert.equal(await isReached(port, "127.0.0.1"), false);
    client.send("still here");
    await one.clients[0]?.receives(10);
  });

  test("close() may be called twice, and before open()", async () => {
    const listener = new Listener("ftp", { port: 0 }, () => {});
    listener.close();
    await listener.open();
    const { port } = listener;
    listener.close();
    listener.close();
    assert.equal(await isReached(port, "127.0.0.1"), false);
  });
});

suite("Listener.open()", () => {
  test("names the service, the address and the reason if the port is in use", async () => {
    await using other = await PeerServer.open();
    const { port } = other;
    await assertBindError(
      { address: "127.0.0.1", port },
      `service "ftp" cannot listen on 127.0.0.1:${port}: the port is in use (see ss -ltnp)`,
    );
    await assertBindError({ port }, `service "ftp" cannot listen on *:${port}: the port is in use (see ss -ltnp)`);
  });

  test("fails if the machine does not have the address", async () => {
    await assertBindError(
      { address: "192.0.2.1", port: 2121 },
      'service "ftp" cannot listen on 192.0.2.1:2121: this machine does not have that address',
    );
  });

  const firstFree = Number(readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8"));
  const needs =
    getuid?.() !== 0 ? "needs root, to become nobody" : firstFree <= 1 && "unprivileged users may bind all ports here";
  test("names the privilege that ports below 1024 need", { skip: needs }, async () => {
    const program = `
      process.setuid(65534);
      const { Listener } = await import(${JSON.stringify(import.meta.resolve("../../../src/proxy/listen/listener.ts"))});
      await new Listener("ftp", { address: "127.0.0.1", port: 1 }, () => {}).open().catch((error) => console.log(error.message));`;
    const { stdout } = await run(execPath, ["--input-type=module", "--eval", program], { timeout: 10_000 });
    assert.equal(
      stdout,
      'service "ftp" cannot listen on 127.0.0.1:1: ports below 1024 need root or the capability NET_BIND_SERVICE\n',
    );
  });

  test("leaves no event handler after a failure", async () => {
    using first = await Accepting.open({ address: "127.0.0.1", port: 0 });
    using second = new Accepting({ address: "127.0.0.1", port: first.listener.port });
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on("warning", onWarning);
    for (let attempts = 0; attempts < 12; attempts += 1) await assert.rejects(second.listener.open());
    process.off("warning", onWarning);
    assert.deepEqual(warnings, []);
  });

  test("can be called again once the port is free", async () => {
    const other = await PeerServer.open();
    using one = new Accepting({ address: "127.0.0.1", port: other.port });
    await assert.rejects(one.listener.open(), BindError);
    await other[Symbol.asyncDispose]();
    await one.listener.open();
    assert.equal(await isReached(one.port, "127.0.0.1"), true);
  });

  async function assertBindError(listenPort: ListenAddress, message: string): Promise<void> {
    await assert.rejects(new Listener("ftp", listenPort, () => {}).open(), (error: unknown) => {
      assert.ok(error instanceof BindError);
      assert.equal(error.message, message);
      return true;
    });
  }
});

suite("formatListenAddress()", () => {
  test("formats all kinds of addresses", () => {
    assert.equal(formatListenAddress({ port: 21 }), "*:21");
    assert.equal(formatListenAddress({ address: "127.0.0.1", port: 21 }), "127.0.0.1:21");
    assert.equal(formatListenAddress({ address: "::1", port: 21 }), "[::1]:21");
  });
});
