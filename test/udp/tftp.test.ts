/** TFTP transfers between real sockets. The server answers each request from another port. */
import assert from "node:assert/strict";
import dgram from "node:dgram";
import { once } from "node:events";
import { suite, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { checkLeaks } from "../support/leaks.ts";
import type { UdpClient } from "../support/net/udp.ts";
import { Stage } from "../support/udp/stage.ts";

checkLeaks();

const REQUEST = "\0\x01file";
const DATA = "\0\x03\0\x01";
const ACK = "\0\x04\0\x01";

/** Answers each request from a new socket, which sends its number and echoes what it receives. */
class Server implements AsyncDisposable {
  readonly transfers: dgram.Socket[] = [];
  readonly requests: number[] = [];
  readonly #socket: dgram.Socket;

  private constructor(socket: dgram.Socket) {
    this.#socket = socket;
    socket.on("message", (_request, { port }) => {
      this.requests.push(port);
      const transfer = dgram.createSocket("udp4");
      const number = this.transfers.push(transfer);
      transfer.on("message", (datagram) => transfer.send(`${number} got ${datagram.subarray(4)}`, port, "127.0.0.1"));
      transfer.send(`${DATA}${number}`, port, "127.0.0.1");
    });
  }

  static async open(): Promise<Server> {
    const socket = dgram.createSocket("udp4");
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    return new Server(socket);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of [this.#socket, ...this.transfers]) {
      const closed = once(socket, "close");
      socket.close();
      await closed;
    }
  }
}

async function received(client: UdpClient, text: string): Promise<void> {
  await eventually(`"${text}"`, () => client.received.includes(text));
}

suite("A flow of TFTP", () => {
  test("continues with the port that answered, and each request goes to the server's port", async () => {
    await using server = await Server.open();
    await using stage = await Stage.open({ upstream: server.port, isTftp: true, isUp: true });
    using client = await stage.client();
    for (const number of [1, 2]) {
      client.send(REQUEST);
      await received(client, `${DATA}${number}`);
      client.send(`${ACK}word`);
      await received(client, `${number} got word`);
    }
    assert.deepEqual([stage.flows.size, new Set(server.requests).size], [1, 1]);
    assert.deepEqual(stage.dropped, {});
  });

  test("drops datagrams from a third port and from other addresses", async () => {
    await using server = await Server.open();
    await using stage = await Stage.open({ upstream: server.port, isTftp: true, isUp: true });
    using client = await stage.client();
    client.send(REQUEST);
    await received(client, `${DATA}1`);
    const [port] = server.requests as [number];
    for (const address of ["127.0.0.1", "127.0.0.2"]) {
      const stranger = dgram.createSocket("udp4");
      stranger.bind(0, address);
      await once(stranger, "listening");
      await new Promise((sent) => stranger.send(`${DATA}not yours`, port, "127.0.0.1", sent));
      await new Promise<void>((closed) => stranger.close(closed));
    }
    client.send(`${ACK}word`);
    await received(client, "1 got word");
    assert.deepEqual(client.received, [`${DATA}1`, "1 got word"]);
  });

  test("receives no datagrams of other clients", async () => {
    await using server = await Server.open();
    await using stage = await Stage.open({ upstream: server.port, isTftp: true });
    const clients = await Promise.all(Array.from({ length: 50 }, () => stage.client()));
    try {
      for (const client of clients) client.send(REQUEST);
      await stage.received(50);
      stage.comeUp();
      for (const [index, client] of clients.entries()) {
        await eventually("an answer", () => client.received.length === 1);
        client.send(`${ACK}${index}`);
        await eventually("another one", () => client.received.length === 2);
        const [, number] = client.received[0]!.split(DATA);
        assert.equal(client.received[1], `${number} got ${index}`);
      }
      assert.equal(new Set(server.requests).size, 50);
    } finally {
      for (const client of clients) client[Symbol.dispose]();
    }
  });
});
