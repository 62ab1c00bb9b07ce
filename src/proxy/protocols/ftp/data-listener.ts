import { once } from "node:events";
import net from "node:net";
import { KEEP_ALIVE_MS } from "../../../net/dial.ts";
import { isSameAddress } from "../../../net/ip.ts";
import { reset } from "../../../net/reset.ts";

/** Limit of the wait for the connection. */
const ACCEPT_MS = 60_000;

/** Ports to which a server may still connect although their listeners are closed. */
const reserved = new Set<number>();

/** Reserves a port until disposed. No other listener gets it, because the server may still connect to it. */
export function reserve(port: number): Disposable {
  reserved.add(port);
  return { [Symbol.dispose]: () => reserved.delete(port) };
}

export interface DataListenerOptions {
  readonly address: string;
  /** The only address from which a connection is accepted. */
  readonly from: string;
  /** Called with the accepted connection. Nothing was read from it. */
  readonly onConnection: (socket: net.Socket) => void;
  /** Called if the listener was closed without a connection. */
  readonly onUnused: () => void;
}

/** Accepts one connection from one address within a minute. Others are reset. */
export class DataListener implements Disposable {
  readonly #options: DataListenerOptions;
  readonly #server: net.Server;
  #timer: NodeJS.Timeout | undefined;
  readonly #closed = new AbortController();

  constructor(options: DataListenerOptions) {
    this.#options = options;
    const keepAlive = { keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
    const serverOptions = { allowHalfOpen: true, noDelay: true, pauseOnConnect: true, ...keepAlive };
    this.#server = net.createServer(serverOptions, (socket) => this.#accept(socket)).on("error", () => {});
  }

  /** @returns the port @throws the kernel's error, or AbortError if it was closed meanwhile */
  async open(): Promise<number> {
    let port = await this.#listen();
    while (reserved.has(port)) {
      this.#server.close();
      await once(this.#server, "close", { signal: this.#closed.signal });
      port = await this.#listen();
    }
    this.#timer = setTimeout(() => this[Symbol.dispose](), ACCEPT_MS);
    return port;
  }

  async #listen(): Promise<number> {
    this.#server.listen({ host: this.#options.address, port: 0, exclusive: true });
    // Node ignores close() before the "listening" event.
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
    const isAllowed = this.#isOpen && isSameAddress(socket.remoteAddress ?? "", this.#options.from);
    if (!isAllowed) return void reset(socket);
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
