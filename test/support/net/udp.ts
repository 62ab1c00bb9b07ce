/** Real datagram sockets for tests, on free ports of this machine. */
import dgram from "node:dgram";
import { once } from "node:events";
import { eventually } from "../eventually.ts";

/** A client that is connected to a port, and keeps the received datagrams as text, in order. */
export class UdpClient implements Disposable {
  readonly received: string[] = [];
  /** Errors of the kernel, mostly refusals. */
  readonly errors: string[] = [];
  readonly #socket: dgram.Socket;

  private constructor(socket: dgram.Socket) {
    this.#socket = socket;
    socket.on("message", (datagram) => this.received.push(datagram.toString()));
    socket.on("error", (error: NodeJS.ErrnoException) => this.errors.push(error.code ?? error.message));
  }

  /** @param from source address; default: the kernel's choice */
  static async open(
    port: number,
    host = "127.0.0.1",
    type: dgram.SocketType = "udp4",
    from?: string,
  ): Promise<UdpClient> {
    const socket = dgram.createSocket(type);
    if (from !== undefined) await new Promise<void>((bound) => socket.bind({ address: from }, bound));
    const connected = once(socket, "connect");
    socket.connect(port, host);
    await connected;
    return new UdpClient(socket);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  send(...texts: readonly string[]): void {
    for (const text of texts) this.#socket.send(text, () => {});
  }

  /** Waits until it has received `count` datagrams. @returns all received datagrams */
  async receives(count: number): Promise<readonly string[]> {
    await eventually(`${count} datagrams received`, () => this.received.length >= count);
    return this.received;
  }

  /** Sends a datagram and waits for its echo. */
  async echoed(text: string): Promise<void> {
    this.send(text);
    await eventually(`an echo of ${text}`, () => this.received.includes(text));
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

export interface UdpServerOptions {
  readonly host?: string;
  readonly port?: number;
  /** Returns the answer; default: the same text. */
  readonly answer?: (text: string) => string | undefined;
}

/** A server that keeps the received datagrams, and answers. */
export class UdpServer implements Disposable {
  /** The received datagrams, in order. */
  readonly received: string[] = [];
  /** The ports of the senders. */
  readonly ports: Set<number> = new Set();
  readonly #socket: dgram.Socket;

  private constructor(socket: dgram.Socket, answer: (text: string) => string | undefined) {
    this.#socket = socket;
    socket.on("message", (datagram, { address, port }) => {
      this.received.push(datagram.toString());
      this.ports.add(port);
      const text = answer(datagram.toString());
      if (text !== undefined) socket.send(text, port, address, () => {});
    });
  }

  static async open({
    host = "127.0.0.1",
    port = 0,
    answer = (text) => text,
  }: UdpServerOptions = {}): Promise<UdpServer> {
    const socket = dgram.createSocket(host.includes(":") ? "udp6" : "udp4");
    socket.bind(port, host);
    await once(socket, "listening");
    return new UdpServer(socket, answer);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

/** `one 1`, `one 2` … */
export function numbered(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${name} ${index + 1}`);
}
