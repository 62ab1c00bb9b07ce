import net from "node:net";
import { delay } from "../../async/wait.ts";
import { BindError, codeOf, messageOf, takenBy } from "../../errors.ts";
import { plainAddress } from "../../net/addresses.ts";
import { KEEP_ALIVE_MS } from "../../net/dial.ts";
import { bindPausable, listenerFd, pauseAccepting, resumeAccepting } from "../../net/listening-socket.ts";
import { isSharedSocket } from "../../net/proc-net.ts";
import { reset } from "../../net/reset.ts";

/** Held by the kernel while we are busy accepting others. */
const BACKLOG = 1_024;
/** Pauses between attempts to accept again, because another process may still have the socket. */
const FIRST_AGAIN_MS = 5;
const MAX_AGAIN_MS = 5_000;
const PATIENCE_MS = 5_000;

/** Where a service listens. Without an address: on every address of the machine, IPv6 and IPv4. */
export interface ListenAddress {
  readonly address?: string;
  readonly port: number;
  /** Absent: TCP. */
  readonly protocol?: "udp";
}

/** One bound front socket of a service. */
export class Listener {
  readonly service: string;
  readonly #address: ListenAddress;
  readonly #server: net.Server;

  /** Whether it can stop accepting and stay bound. */
  #isPausable: boolean;
  #boundPort: number | undefined;
  /** Local addresses of wakeport's own connections to it. */
  readonly #own = new Set<string>();
  readonly #closed = new AbortController();

  /**
   * @param onConnection told of clients of which nothing is read before somebody asks for it
   * @param isHandedOver whether it will be passed to programs; it then stays bound meanwhile
   */
  constructor(
    service: string,
    listener: ListenAddress,
    onConnection: (client: net.Socket) => void,
    isHandedOver: boolean = false,
  ) {
    this.service = service;
    this.#isPausable = isHandedOver;
    this.#address = listener;
    const keepAlive = { keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
    const options = { allowHalfOpen: true, noDelay: true, pauseOnConnect: true, ...keepAlive };
    this.#server = net.createServer(options, (client) => {
      const isOwn = this.#own.size > 0 && this.#own.has(endOf(client.remoteAddress, client.remotePort));
      if (isOwn) reset(client);
      else onConnection(client);
    });
  }

  /** The port it is bound to; differs from the configured one only for port 0. */
  get port(): number {
    const address = this.#server.address();
    const unbound = this.#boundPort ?? this.#address.port;
    return address === null || typeof address === "string" ? unbound : address.port;
  }

  get address(): ListenAddress {
    return this.#address;
  }

  /**
   * Binds, or listens on the descriptor `fd`, which is bound already.
   *
   * @throws BindError that names the service, the address and the reason
   */
  async open(fd?: number): Promise<void> {
    const { address } = this.#address;
    const { port } = this;
    try {
      if (fd !== undefined) await this.#listenOnDescriptor(fd);
      else if (address !== undefined) await this.#listen(address, net.isIPv6(address), port);
      else await this.#listen("::", false, port).catch((error) => this.#listenWithoutIPv6(error, port));
    } catch (error) {
      const where = formatListenAddress(this.#address);
      throw new BindError(`service "${this.service}" cannot listen on ${where}: ${bindReason(error, "ss -ltnp")}`, {
        cause: error,
        taken: takenBy(error, { port }),
      });
    }
  }

  /**
   * Passes the descriptor to `use` and stops accepting: from now on the process with a copy of it accepts. A socket that
   * cannot be paused is closed here.
   */
  handOver<T>(use: (fd: number) => T): T {
    this.#boundPort = this.port;
    try {
      return use(listenerFd(this.#server));
    } finally {
      if (this.#isPausable) pauseAccepting(this.#server);
      else this.#server.close(() => {});
    }
  }

  /**
   * Resets a connection of wakeport to the program if this listener accepts it, until disposed.
   */
  disown({ localAddress, localPort }: net.Socket): Disposable {
    const end = endOf(localAddress, localPort);
    this.#own.add(end);
    return { [Symbol.dispose]: () => this.#own.delete(end) };
  }

  /**
   * Accepts again after `handOver`, as soon as no other process does; unless it was closed meanwhile.
   *
   * @param onTrouble told, once, in words, what keeps it from that for longer than it should
   */
  async takeBack(onTrouble: (message: string) => void): Promise<void> {
    const { signal } = this.#closed;
    const began = performance.now();
    let isTold = false;
    for (let pauseMs = FIRST_AGAIN_MS; !signal.aborted; pauseMs = Math.min(pauseMs * 2, MAX_AGAIN_MS)) {
      try {
        if (this.#isPausable) this.#resume();
        else await this.#bindAgain();
        return;
      } catch (error) {
        if (!isTold && performance.now() - began > PATIENCE_MS) {
          isTold = true;
          onTrouble(messageOf(error));
        }
        await delay(pauseMs, signal).catch(() => {});
      }
    }
  }

  /** Stops accepting; connections that are open stay. Idempotent. */
  close(): void {
    this.#closed.abort();
    this.#server.close(() => {});
  }

  /** @throws Error when a process that outlived the program still has the socket */
  #resume(): void {
    if (isSharedSocket(listenerFd(this.#server))) {
      const where = formatListenAddress(this.#address);
      throw new Error(`service "${this.service}": a process that its program started still listens on ${where}`);
    }
    resumeAccepting(this.#server, BACKLOG);
  }

  /** From then on it stays bound. */
  async #bindAgain(): Promise<void> {
    this.#isPausable = true;
    try {
      await this.open();
    } catch (error) {
      this.#isPausable = false;
      throw error;
    }
    if (this.#closed.signal.aborted) this.close();
  }

  async #listenOnDescriptor(fd: number): Promise<void> {
    await this.#listening((server) => server.listen({ fd, backlog: BACKLOG }));
    this.#isPausable = true;
  }

  async #listen(host: string, ipv6Only: boolean, port: number): Promise<void> {
    if (this.#isPausable) {
      const bound = bindPausable(host, port, ipv6Only);
      return this.#listening((server) => server.listen(bound, BACKLOG));
    }
    const where = { host, port, ipv6Only, backlog: BACKLOG, exclusive: true };
    return this.#listening((server) => server.listen(where));
  }

  #listening(listen: (server: net.Server) => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const server = this.#server;
    listen(server.once("error", reject).once("listening", resolve));
    // Both, whichever it was: it may be tried many times.
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

/** Why an address cannot be bound, in words; `look` is the command that shows who has the port. */
export function bindReason(error: unknown, look: string): string {
  switch (codeOf(error)) {
    case "EADDRINUSE":
      return `the port is in use (${look} shows by what)`;
    case "EACCES":
      return "ports below 1024 need root or the capability NET_BIND_SERVICE";
    case "EADDRNOTAVAIL":
      return "this machine does not have that address";
    default:
      return messageOf(error);
  }
}
