/**
 * TFTP: the server answers each request from a new port, and the transfer continues on that port. The client sees only
 * the listener, which forwards the transfer to the server's new port.
 *
 * @see RFC 1350, section 4
 */
import type dgram from "node:dgram";
import { bind, isCongested, newSocket, typeFor } from "./socket.ts";

/** The port of TFTP. A flow uses TFTP if its listener or target has this port. */
export const TFTP_PORT = 69;

const READ_REQUEST = 1;
const WRITE_REQUEST = 2;

/**
 * Local ports of the sockets for requests. The kernel may assign a shareable port to two unrelated sockets of this
 * process.
 */
const requestPorts = new Set<number>();

/** Binds a socket for requests to a port that no other flow uses. @throws the kernel's error */
export async function newRequestSocket(type: dgram.SocketType): Promise<dgram.Socket> {
  for (;;) {
    const socket = newSocket(type, { sharesPort: true });
    await bind(socket, 0);
    const { port } = socket.address();
    if (requestPorts.has(port)) {
      socket.close();
      continue;
    }
    requestPorts.add(port);
    socket.once("close", () => requestPorts.delete(port));
    return socket;
  }
}

export interface TransferSocketOptions {
  /** The port of the socket that sends requests. */
  readonly localPort: number;
  /** The server's numeric address. Datagrams of other senders are dropped. */
  readonly address: string;
  readonly onAnswer: (datagram: Buffer) => void;
  readonly onUnsent: () => void;
}

/** Datagrams of one client's transfers. The connected socket for requests receives only from the port of requests. */
export class TransferSocket implements Disposable {
  readonly #socket: dgram.Socket;
  readonly #options: TransferSocketOptions;
  /** The server's port for the transfer; undefined before its answer to the request. */
  #port: number | undefined;

  private constructor(socket: dgram.Socket, options: TransferSocketOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.on("error", () => options.onUnsent());
    socket.on("message", (datagram, { address, port }) => {
      if (address !== options.address) return;
      this.#port ??= port;
      if (port === this.#port) options.onAnswer(datagram);
    });
  }

  /** @throws the kernel's error */
  static async open(options: TransferSocketOptions): Promise<TransferSocket> {
    const socket = newSocket(typeFor(options.address), { sharesPort: true });
    await bind(socket, options.localPort);
    return new TransferSocket(socket, options);
  }

  /** Sends a datagram of a transfer. @returns false for a request, which is not sent */
  send(datagram: Buffer): boolean {
    if (isRequest(datagram)) this.#port = undefined;
    if (this.#port === undefined) return false;
    if (isCongested(this.#socket)) this.#options.onUnsent();
    else this.#socket.send(datagram, this.#port, this.#options.address, (error) => error && this.#options.onUnsent());
    return true;
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

function isRequest(datagram: Buffer): boolean {
  return datagram[0] === 0 && (datagram[1] === READ_REQUEST || datagram[1] === WRITE_REQUEST);
}
