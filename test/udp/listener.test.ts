import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { BindError } from "../../src/errors.ts";
import { type Sender, UdpListenerSocket } from "../../src/udp/listener.ts";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import { PeerServer } from "../support/net/tcp.ts";
import { UdpClient, UdpServer } from "../support/net/udp.ts";

checkLeaks();

const hasIPv6 = await UdpServer.open({ host: "::1" }).then(
  (server) => {
    server[Symbol.dispose]();
    return true;
  },
  () => false,
);
const skip = hasIPv6 ? false : "this machine has no IPv6";

/** A listener that echoes each datagram. */
class EchoListener implements Disposable {
  readonly socket: UdpListenerSocket;
  readonly clients: Sender[] = [];

  constructor(address: string | undefined, port = 0) {
    this.socket = new UdpListenerSocket({
      service: "dns",
      listener: { port, ...(address !== undefined && { address }) },
      onDatagram: (datagram, client) => {
        this.clients.push(client);
        this.socket.answer(datagram, client);
      },
      onUnsent: () => {},
    });
  }

  [Symbol.dispose](): void {
    this.socket.close();
  }
}

async function isReached(port: number, host: string): Promise<boolean> {
  using client = await UdpClient.open(port, host, host.includes(":") ? "udp6" : "udp4");
  client.send("word");
  await eventually("an answer or a refusal", () => client.received.length + client.errors.length > 0);
  return client.received[0] === "word";
}

suite("UdpListenerSocket", () => {
  const listeners: readonly { readonly address?: string; readonly ipv4: boolean; readonly ipv6: boolean }[] = [
    { ipv4: true, ipv6: true },
    { address: "0.0.0.0", ipv4: true, ipv6: false },
    { address: "127.0.0.1", ipv4: true, ipv6: false },
    { address: "::", ipv4: false, ipv6: true },
    { address: "::1", ipv4: false, ipv6: true },
  ];
  for (const { address, ipv4, ipv6 } of listeners) {
    const families = [ipv4 && "IPv4", ipv6 && "IPv6"].filter(Boolean).join(" and ");
    test(`on ${address ?? "all addresses"} is reached over ${families}`, { skip }, async () => {
      using echo = new EchoListener(address);
      await echo.socket.open();
      assert.equal(await isReached(echo.socket.port, "127.0.0.1"), ipv4);
      assert.equal(await isReached(echo.socket.port, "::1"), ipv6);
    });
  }

  test("can use the number of a bound TCP port", async () => {
    await using tcp = await PeerServer.open();
    using echo = new EchoListener("127.0.0.1", tcp.port);
    await echo.socket.open();
    assert.equal(await isReached(tcp.port, "127.0.0.1"), true);
  });

  test("reports how to find the program that uses the port", async () => {
    using server = await UdpServer.open();
    using echo = new EchoListener("127.0.0.1", server.port);
    await assert.rejects(echo.socket.open(), (error: unknown) => {
      assert.ok(error instanceof BindError);
      const where = `127.0.0.1:${server.port}/udp`;
      assert.equal(error.message, `service "dns" cannot listen on ${where}: the port is in use (see ss -lunp)`);
      return true;
    });
  });

  test("counts an answer to port 0 as unsent", async () => {
    let unsent = 0;
    const onUnsent = (): void => {
      unsent += 1;
    };
    const listener = new UdpListenerSocket({
      service: "a",
      listener: { port: 0, address: "127.0.0.1" },
      onDatagram: () => {},
      onUnsent,
    });
    await listener.open();
    listener.answer(Buffer.from("word"), { address: "127.0.0.1", port: 0 });
    listener.close();
    assert.equal(unsent, 1);
  });

  test("close() is idempotent, and allowed before open()", async () => {
    using echo = new EchoListener("127.0.0.1");
    echo.socket.close();
    await echo.socket.open();
    const { port } = echo.socket;
    echo.socket.close();
    echo.socket.close();
    echo.socket.answer(Buffer.from("nothing"), { address: "127.0.0.1", port });
    assert.equal(await isReached(port, "127.0.0.1"), false);
  });
});
