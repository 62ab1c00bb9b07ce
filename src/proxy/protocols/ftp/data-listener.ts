import { once } from "node:events";
import net from "node:net";
import { KEEP_ALIVE_MS } from "../../../net/dial.ts";
import { isSameAddress } from "../../../net/ip.ts";
import { reset } from "../../../net/reset.ts";

/** How long it waits for its one connection. */
const PATIENCE_MS = 60_000;

/** Ports to which a server may still connect although their listener is closed. */
const reserved = new Set<number>();

/** Reserves a port until disposed: no listener of another client gets it, because the server may connect to it. */
export function reserve(port: number): Disposable {
  reserved.add(port);
  return { [Symbol.dispose]: () => reserved.delete(port) };
}

export interface DataListenerOptions {
  readonly address: string;
  /** The one address from which a connection is taken. */
  readonly from: string;
  /** Given the one connection, of which nothing was read. */
  readonly onConnection: (socket: net.Socket) => void;
  /** It is closed without one. */
  readonly onUnused: () => void;
}

/** Takes one connection, from one address, within a minute. All others are reset. */
export class DataListener implements Disposable {
  readonly #options: DataListenerOptions;
  readonly #server: net.Server;
  #timer: NodeJS.Timeout | undefined;
  readonly #closed = new AbortController();

  constructor(options: DataListenerOptions) {
    this.#options = options;
    const keepAlive = { keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
    const accepting = { allowHalfOpen: true, noDelay: true, pauseOnConnect: true, ...keepAlive };
    this.#server = net.createServer(accepting, (socket) => this.#accept(socket)).on("error", () => {});
  }

  /** @returns its port @throws what the system says, or that it was closed meanwhile */
  async open(): Promise<number> {
    let port = await this.#listen();
    while (reserved.has(port)) {
      this.#server.close();
      await once(this.#server, "close", { signal: this.#closed.signal });
      port = await this.#listen();
    }
    this.#timer = setTimeout(() => this[Symbol.dispose](), PATIENCE_MS);
    return port;
  }

  async #listen(): Promise<number> {
    this.#server.listen({ host: this.#options.address, port: 0, exclusive: true });
    // A close before that may be forgotten by it.
    this.#server.once("listening", () => this.#isOpen || this.#server.close(() => {}));
    await once(this.#server, "listening", { signal: this.#closed.signal });
    return (this.#server.address() as net.AddressInfo).port;
  }

  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#close();
    this.#options.onUnused();
  }

  #accept(socket: net.Socket): void {
    socket.on("error", () => {});
    const isAwaited = this.#isOpen && isSameAddress(socket.remoteAddress ?? "", this.#options.from);
    if (!isAwaited) return void reset(socket);
    this.#close();
    this.#options.onConnection(socket);
  }

  get #isOpen(): boolean {
    return !this.#closed.signal.aborted;
  }

  #close(): void {
    this.#closed.abort(new Error("the listener was closed"));
    clearTimeout(this.#timer);
    this.#server.close(() => {});
  }
}
