import net from "node:net";
import { BindError, codeOf, messageOf, takenBy } from "../../errors.ts";
import { plainAddress } from "../../net/addresses.ts";
import { KEEP_ALIVE_MS } from "../../net/dial.ts";
import {
  bindPausable,
  canBindPausable,
  listenerFd,
  pauseAccepting,
  resumeAccepting,
} from "../../net/listening-socket.ts";

/** Clients that the kernel keeps while wakeport accepts others. */
const BACKLOG = 1_024;

/** Without an address: all addresses of the machine, IPv6 and IPv4. */
export interface ListenAddress {
  readonly address?: string;
  readonly port: number;
  /** Absent: TCP. */
  readonly protocol?: "udp";
}

/** One listening TCP socket of a service. */
export class Listener {
  readonly service: string;
  readonly address: ListenAddress;
  /** Called after `resume`. */
  onResumed: (() => void) | undefined;
  readonly #server: net.Server;
  #isPaused = false;
  #isPausable = true;
  /** Receivers of wakeport's own connections to this port, by their local address. */
  readonly #intercepted = new Map<string, (accepted: net.Socket) => void>();
  readonly #closed = new AbortController();

  /** @param onConnection receives accepted clients; nothing is read from them yet */
  constructor(service: string, address: ListenAddress, onConnection: (client: net.Socket) => void) {
    this.service = service;
    this.address = address;
    const keepAlive = { keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
    const options = { allowHalfOpen: true, noDelay: true, pauseOnConnect: true, ...keepAlive };
    this.#server = net.createServer(options, (client) => {
      const intercept =
        this.#intercepted.size > 0 && this.#intercepted.get(endOf(client.remoteAddress, client.remotePort));
      if (intercept) intercept(client);
      else onConnection(client);
    });
  }

  /** The bound port; differs from the configured one only for port 0. */
  get port(): number {
    const address = this.#server.address();
    return address === null || typeof address === "string" ? this.address.port : address.port;
  }

  /** The descriptor of the listening socket. @throws Error if the listener is closed */
  get fd(): number {
    return listenerFd(this.#server);
  }

  /** Aborted by `close`. */
  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  /**
   * Binds, or listens on the bound descriptor `fd`.
   *
   * @throws BindError with the service, the address and the reason
   */
  async open(fd?: number): Promise<void> {
    const { address } = this.address;
    const { port } = this.address;
    try {
      if (fd !== undefined) await this.#listening((server) => server.listen({ fd, backlog: BACKLOG }));
      else if (address !== undefined) await this.#listen(address, net.isIPv6(address), port);
      else await this.#listen("::", false, port).catch((error) => this.#listenWithoutIPv6(error, port));
    } catch (error) {
      const where = formatListenAddress(this.address);
      throw new BindError(`service "${this.service}" cannot listen on ${where}: ${bindReason(error, "ss -ltnp")}`, {
        cause: error,
        service: this.service,
        taken: takenBy(error, { port }),
      });
    }
  }

  /** Whether `pause` works: this Node may not be able to do it. */
  get isPausable(): boolean {
    return this.#isPausable;
  }

  /** Whether a program or the data plane accepts its clients. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Stops accepting; the kernel keeps new clients in the backlog. @throws Error if this Node cannot do it */
  pause(): void {
    pauseAccepting(this.#server);
    this.#isPaused = true;
  }

  /** Accepts again, the clients in the backlog first. @throws the system's error */
  resume(): void {
    resumeAccepting(this.#server, BACKLOG);
    this.#isPaused = false;
    this.onResumed?.();
  }

  /** Passes wakeport's own connection to this port to `onAccepted` if the listener accepts it, until disposed. */
  intercept({ localAddress, localPort }: net.Socket, onAccepted: (accepted: net.Socket) => void): Disposable {
    const end = endOf(localAddress, localPort);
    this.#intercepted.set(end, onAccepted);
    return { [Symbol.dispose]: () => this.#intercepted.delete(end) };
  }

  /** Stops accepting; open connections stay. Idempotent. */
  close(): void {
    this.#closed.abort();
    this.#server.close(() => {});
  }

  async #listen(host: string, ipv6Only: boolean, port: number): Promise<void> {
    this.#isPausable = canBindPausable();
    const where = { host, port, ipv6Only, backlog: BACKLOG, exclusive: true };
    if (!this.#isPausable) return this.#listening((server) => server.listen(where));
    const bound = bindPausable(host, port, ipv6Only);
    return this.#listening((server) => server.listen(bound, BACKLOG));
  }

  #listening(listen: (server: net.Server) => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const server = this.#server;
    listen(server.once("error", reject).once("listening", resolve));
    return promise.finally(() => server.off("error", reject).off("listening", resolve));
  }

  #listenWithoutIPv6(error: unknown, port: number): Promise<void> {
    const code = codeOf(error);
    if (code !== "EAFNOSUPPORT" && code !== "EADDRNOTAVAIL") throw error;
    return this.#listen("0.0.0.0", false, port);
  }
}

function endOf(address: string = "", port: number = 0): string {
  return `${plainAddress(address)} ${port}`;
}

/** `*:2121`, `127.0.0.1:2121`, `[::1]:2121`, `*:53/udp` */
export function formatListenAddress({ address, port, protocol }: ListenAddress): string {
  const host = address === undefined ? "*" : net.isIPv6(address) ? `[${address}]` : address;
  return `${host}:${port}${protocol === "udp" ? "/udp" : ""}`;
}

/** Returns why an address cannot be bound. @param command shows which process has the port */
export function bindReason(error: unknown, command: string): string {
  switch (codeOf(error)) {
    case "EADDRINUSE":
      return `the port is in use (see ${command})`;
    case "EACCES":
      return "ports below 1024 need root or the capability NET_BIND_SERVICE";
    case "EADDRNOTAVAIL":
      return "this machine does not have that address";
    default:
      return messageOf(error);
  }
}
