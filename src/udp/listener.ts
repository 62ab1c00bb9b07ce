import type dgram from "node:dgram";
import net from "node:net";
import { BindError, codeOf, takenBy } from "../errors.ts";
import { bindReason, formatListenAddress, type ListenAddress } from "../proxy/listen/listener.ts";
import { enlargeBuffer, isCongested, isIPv6Socket, newSocket, ready } from "./socket.ts";

/** Address and port of a client. */
export interface Sender {
  readonly address: string;
  readonly port: number;
}

export interface UdpReceiver {
  readonly onDatagram: (datagram: Buffer, client: Sender) => void;
  /** An answer could not be sent. */
  readonly onUnsent: () => void;
}

export interface UdpListenerOptions extends UdpReceiver {
  readonly service: string;
  readonly listener: ListenAddress;
}

/** One bound UDP socket of a service, for the datagrams of all clients and the answers to them. */
export class UdpListenerSocket {
  readonly #options: UdpListenerOptions;
  #receiver: UdpReceiver;
  #socket: dgram.Socket | undefined;

  constructor(options: UdpListenerOptions) {
    this.#options = options;
    this.#receiver = options;
  }

  /** `*:53/udp` */
  get name(): string {
    return formatListenAddress({ ...this.#options.listener, protocol: "udp" });
  }

  get isOpen(): boolean {
    return this.#socket !== undefined;
  }

  /** The bound port; differs from the configured one only for port 0. */
  get port(): number {
    return this.#socket?.address().port ?? this.#options.listener.port;
  }

  /**
   * Binds the address, or uses the bound socket `fd`. Does nothing if it is open.
   *
   * @throws BindError with the service, the address and the reason
   */
  async open(fd?: number): Promise<void> {
    const { address, port } = this.#options.listener;
    if (this.#socket !== undefined) return;
    try {
      if (fd !== undefined) await this.#receive(newSocket(isIPv6Socket(fd) ? "udp6" : "udp4"), { fd });
      else if (address !== undefined) await this.#bind(address, net.isIPv6(address), port);
      else await this.#bind("::", false, port).catch((error) => this.#bindWithoutIPv6(error, port));
    } catch (error) {
      const reason = bindReason(error, "ss -lunp");
      throw new BindError(`service "${this.#options.service}" cannot listen on ${this.name}: ${reason}`, {
        cause: error,
        service: this.#options.service,
        taken: takenBy(error, { port, protocol: "udp" }),
      });
    }
  }

  /** Passes all further datagrams to another receiver. */
  setReceiver(receiver: UdpReceiver): void {
    this.#receiver = receiver;
  }

  /** Sends an answer to a client, unless too many bytes wait to be sent. */
  answer(datagram: Buffer, { address, port }: Sender): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    // Source port 0 means that the sender expects no answer, and nothing can be sent to it.
    if (port === 0 || isCongested(socket)) return this.#receiver.onUnsent();
    socket.send(datagram, port, address, (error) => {
      if (error !== null) this.#receiver.onUnsent();
    });
  }

  /** Closes the socket. Idempotent. */
  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  async #bind(host: string, ipv6Only: boolean, port: number): Promise<void> {
    const socket = newSocket(net.isIPv6(host) ? "udp6" : "udp4", { ipv6Only });
    await this.#receive(socket, { address: host, port, exclusive: true });
  }

  async #receive(socket: dgram.Socket, options: dgram.BindOptions): Promise<void> {
    try {
      const bound = ready(socket, "listening");
      socket.bind(options);
      await bound;
    } catch (error) {
      socket.close();
      throw error;
    }
    enlargeBuffer(socket);
    socket.on("message", (datagram, sender) => this.#receiver.onDatagram(datagram, sender));
    // An error concerns one datagram. The socket stays usable.
    socket.on("error", () => {});
    this.#socket = socket;
  }

  #bindWithoutIPv6(error: unknown, port: number): Promise<void> {
    const code = codeOf(error);
    if (code !== "EAFNOSUPPORT" && code !== "EADDRNOTAVAIL") throw error;
    return this.#bind("0.0.0.0", false, port);
  }
}
