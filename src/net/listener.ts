import net from "node:net";
import { delay } from "../async.ts";
import { BindError, codeOf, messageOf, takenBy } from "../errors.ts";
import { listenerFd } from "../target/descriptor.ts";
import { KEEP_ALIVE_MS } from "./dial.ts";

/** Held by the kernel while we are busy accepting others. */
const BACKLOG = 1_024;
/** Between two attempts to have back what was handed over: somebody may still hold it. */
const FIRST_AGAIN_MS = 5;
const LONGEST_AGAIN_MS = 5_000;
const PATIENCE_MS = 5_000;

/** Where a service listens. Without an address: on every address of the machine, IPv6 and IPv4. */
export interface Front {
  readonly address?: string;
  readonly port: number;
  /** Absent: TCP. */
  readonly protocol?: "udp";
}

/** One bound front socket of a service. */
export class Listener {
  readonly service: string;
  readonly #front: Front;
  readonly #server: net.Server;

  #boundPort: number | undefined;
  readonly #closed = new AbortController();

  /** @param onConnection told of clients of which nothing is read before somebody asks for it */
  constructor(service: string, front: Front, onConnection: (client: net.Socket) => void) {
    this.service = service;
    this.#front = front;
    const keepAlive = { keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
    const options = { allowHalfOpen: true, noDelay: true, pauseOnConnect: true, ...keepAlive };
    this.#server = net.createServer(options, onConnection);
  }

  /** The port it is bound to; differs from the configured one only for port 0. */
  get port(): number {
    const address = this.#server.address();
    const unbound = this.#boundPort ?? this.#front.port;
    return address === null || typeof address === "string" ? unbound : address.port;
  }

  get front(): Front {
    return this.#front;
  }

  /**
   * Binds, or listens on the descriptor `fd`, which is bound already.
   *
   * @throws BindError that names the service, the address and the reason
   */
  async open(fd?: number): Promise<void> {
    const { address } = this.#front;
    const { port } = this;
    try {
      if (fd !== undefined) await this.#listenOn({ fd, backlog: BACKLOG });
      else if (address !== undefined) await this.#listen(address, net.isIPv6(address), port);
      else await this.#listen("::", false, port).catch((error) => this.#listenWithoutIPv6(error, port));
    } catch (error) {
      const where = formatFront(this.#front);
      throw new BindError(`service "${this.service}" cannot listen on ${where}: ${bindReason(error, "ss -ltnp")}`, {
        cause: error,
        taken: takenBy(error, { port }),
      });
    }
  }

  /** Lets `use` have the descriptor, and listens no more: from now on whoever has a copy of it does. */
  handOver<T>(use: (fd: number) => T): T {
    this.#boundPort = this.port;
    try {
      return use(listenerFd(this.#server));
    } finally {
      this.#server.close(() => {});
    }
  }

  /**
   * Listens again after `handOver`, as soon as nobody else does; unless it was closed meanwhile.
   *
   * @param onTrouble told, once, in words, what keeps it from that for longer than it should
   */
  async takeBack(onTrouble: (message: string) => void): Promise<void> {
    const { signal } = this.#closed;
    const began = performance.now();
    let isTold = false;
    for (let pauseMs = FIRST_AGAIN_MS; !signal.aborted; pauseMs = Math.min(pauseMs * 2, LONGEST_AGAIN_MS)) {
      try {
        await this.open();
        if (signal.aborted) this.close();
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

  #listen(host: string, ipv6Only: boolean, port: number): Promise<void> {
    return this.#listenOn({ host, port, ipv6Only, backlog: BACKLOG, exclusive: true });
  }

  #listenOn(where: net.ListenOptions & { readonly fd?: number }): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const server = this.#server;
    server.once("error", reject).once("listening", resolve).listen(where);
    // Both, whichever it was: it may be tried many times.
    return promise.finally(() => server.off("error", reject).off("listening", resolve));
  }

  #listenWithoutIPv6(error: unknown, port: number): Promise<void> {
    const code = codeOf(error);
    if (code !== "EAFNOSUPPORT" && code !== "EADDRNOTAVAIL") throw error;
    return this.#listen("0.0.0.0", false, port);
  }
}

/** `*:2121`, `127.0.0.1:2121`, `[::1]:2121`, `*:53/udp` */
export function formatFront({ address, port, protocol }: Front): string {
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
