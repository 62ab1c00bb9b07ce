/**
 * TFTP: the server answers a request from a port of its own for this transfer, and the client goes on with that one.
 * To the client both are the front: it takes any port for the transfer's, and the front sends what follows on.
 *
 * @see RFC 1350, section 4
 */
import type dgram from "node:dgram";
import { bind, isCongested, newSocket, typeFor } from "./socket.ts";

/** The port of TFTP. A front or a target with this port speaks it. */
export const TFTP_PORT = 69;

const READ_REQUEST = 1;
const WRITE_REQUEST = 2;

/**
 * Local ports that requests are sent from. The system may give a port that may be shared to two sockets of this process
 * that have nothing to do with each other.
 */
const requestPorts = new Set<number>();

/** A socket that is to send requests, bound to a port that it alone has. @throws the system's error */
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
  /** The server's address, as the system writes it. Datagrams of other senders are dropped. */
  readonly address: string;
  readonly onAnswer: (datagram: Buffer) => void;
  readonly onUnsent: () => void;
}

/** The datagrams of one client's transfers. The connected socket that sends its requests hears only the port of those. */
export class TransferSocket implements Disposable {
  readonly #socket: dgram.Socket;
  readonly #options: TransferSocketOptions;
  /** Where the server is for the transfer; undefined until it has answered the request. */
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

  /** @throws the system's error */
  static async open(options: TransferSocketOptions): Promise<TransferSocket> {
    const socket = newSocket(typeFor(options.address), { sharesPort: true });
    await bind(socket, options.localPort);
    return new TransferSocket(socket, options);
  }

  /** Sends what belongs to a transfer. @returns whether it does: requests do not */
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
