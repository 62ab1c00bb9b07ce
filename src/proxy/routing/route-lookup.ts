/**
 * The route lookup of one accepted client. Bytes are read only if a trusted proxy sends a PROXY header, or if the
 * services on the listener are distinguished by host name.
 */
import type net from "node:net";
import { formatPeer, peerOf, type SocketAddresses } from "../../net/addresses.ts";
import { escapeControls } from "../../net/escape.ts";
import type { NameKind } from "../../net/hostname.ts";
import { type Parsed, PeekError, peek } from "../../net/peek.ts";
import { MAX_PROXY_HEADER, ProxyHeaderError, readProxyHeader } from "../../net/proxy-protocol.ts";
import { reset } from "../../net/reset.ts";
import type { LingeringClose } from "../admission/lingering-close.ts";
import type { Route } from "../connection.ts";
import type { UnroutedReport } from "../reports.ts";
import { UnroutedError } from "../unrouted.ts";
import { isMalformed, MAX_PREAMBLE_BYTES, nameReaders } from "./name-readers.ts";
import type { RouteTable } from "./route-table.ts";

export interface RouteLookupOptions {
  readonly client: net.Socket;
  /** The configured listen address. */
  readonly listener: string;
  /** Returns the listener's current routes, undefined after the listener is closed. */
  readonly routeTable: () => RouteTable | undefined;
  /** Limit of the whole lookup in milliseconds. */
  readonly deadlineMs: number;
  readonly lingering: LingeringClose;
}

/** The result of a lookup. */
export interface RoutedClient {
  readonly route: Route;
  /** The addresses in the PROXY header; undefined for a direct client. */
  readonly addresses: SocketAddresses | undefined;
}

/** Received bytes that are logged for a client without a route. */
const MAX_QUOTE = 48;

export class RouteLookup {
  readonly #options: RouteLookupOptions;
  readonly #client: net.Socket;
  readonly #cancelled = new AbortController();
  readonly #began = performance.now();
  #addresses: SocketAddresses | undefined;
  /** The kind of name that is being read, if any. */
  #kind: NameKind | undefined;
  #name: string | undefined;
  /** Bytes of the current read: of the PROXY header, or of the first bytes with the name. */
  #received: Buffer = Buffer.alloc(0);

  constructor(options: RouteLookupOptions) {
    this.#options = options;
    this.#client = options.client;
  }

  /** Reads as many bytes as the lookup needs. @throws UnroutedError */
  async run(): Promise<RoutedClient> {
    const onClose = (): void => this.cancel(new UnroutedError("client_gone", "the client left"));
    this.#client.on("error", () => {});
    this.#client.once("close", onClose);
    this.#client.read(0);
    this.#client.pause();
    try {
      this.#addresses = await this.#readHeader();
      return { route: await this.#readName(), addresses: this.#addresses };
    } catch (error) {
      throw this.#unroutedErrorOf(error);
    } finally {
      this.#client.off("close", onClose);
    }
  }

  /** Ends the lookup with this reason. */
  cancel(reason: UnroutedError): void {
    this.#cancelled.abort(reason);
  }

  /** Rejects the client; resolves when its connection is closed. */
  async reject({ reason, cause }: UnroutedError): Promise<void> {
    const banner = this.#kind && nameReaders[this.#kind].rejectionOf(reason, cause);
    this.#client.on("error", () => {});
    // Browsers open connections before they need them, and would take a reply for the answer to a later request.
    const isUnused = this.#kind !== undefined && reason === "timeout" && this.#received.length === 0;
    if (isUnused) await this.#options.lingering.start(this.#client, { how: "close" });
    else if (banner === undefined) reset(this.#client);
    else await this.#options.lingering.start(this.#client, { banner, how: "close" });
  }

  report(error: UnroutedError): UnroutedReport {
    const isQuoted = error.reason === "malformed" || error.reason === "timeout";
    return {
      listener: this.#options.listener,
      client: formatPeer(this.#addresses?.peer ?? peerOf(this.#client)),
      error,
      durationMs: performance.now() - this.#began,
      ...(this.#name !== undefined && { name: this.#name }),
      ...(isQuoted && this.#received.length > 0 && { received: quote(this.#received) }),
    };
  }

  /** Returns undefined if the client is not a trusted proxy. */
  async #readHeader(): Promise<SocketAddresses | undefined> {
    const { address } = peerOf(this.#client);
    const routeTable = this.#options.routeTable();
    if (routeTable?.hasUnknownAddress(address) === true) throw new UnroutedError("client_gone", "the client left");
    if (routeTable?.isTrustedProxy(address) !== true) return undefined;
    return await this.#peek(readProxyHeader, MAX_PROXY_HEADER);
  }

  async #readName(): Promise<Route> {
    this.#cancelled.signal.throwIfAborted();
    const { address } = this.#addresses?.peer ?? peerOf(this.#client);
    const direct = this.#options.routeTable()?.routeWithoutName(address);
    if (direct !== undefined) return assertAcceptsReadBytes(direct);
    this.#kind = this.#options.routeTable()?.kind;
    if (this.#kind !== undefined)
      this.#name = (await this.#peek(nameReaders[this.#kind].reader(), MAX_PREAMBLE_BYTES)).name;
    this.#cancelled.signal.throwIfAborted();
    const routeTable = this.#options.routeTable();
    if (routeTable === undefined) throw new UnroutedError("closing", "wakeport no longer listens on the port");
    const route = routeTable.routeForName(this.#name);
    if (route !== undefined) return assertAcceptsReadBytes(route);
    if (this.#name === undefined)
      throw new UnroutedError("no_name", `the client sent no ${this.#kind === "sni" ? "SNI" : "host"}`);
    throw new UnroutedError("unknown_name", `no service on this port has the name ${this.#name}`);
  }

  #peek<T>(read: (bytes: Buffer) => Parsed<T> | undefined, limit: number): Promise<T> {
    this.#received = Buffer.alloc(0);
    const passed = performance.now() - this.#began;
    return peek(this.#client, {
      read: (bytes) => {
        this.#received = bytes;
        return read(bytes);
      },
      limit,
      deadlineMs: Math.max(0, this.#options.deadlineMs - passed),
      signal: this.#cancelled.signal,
    });
  }

  #unroutedErrorOf(error: unknown): UnroutedError {
    if (error instanceof UnroutedError) return error;
    if (error instanceof ProxyHeaderError || isMalformed(error)) {
      return new UnroutedError("malformed", error.message, { cause: error });
    }
    if (!(error instanceof PeekError)) throw error;
    const reasons = { ended: "client_gone", too_late: "timeout", too_long: "malformed" } as const;
    return new UnroutedError(reasons[error.reason], error.message, { cause: error });
  }
}

/** After a reload the new handler may need a socket from which nothing was read. @throws UnroutedError */
function assertAcceptsReadBytes(route: Route): Route {
  if (!route.handler.needsUnreadSocket) return route;
  throw new UnroutedError("closing", `the port belongs to service "${route.service}" now: connect again`);
}

function quote(bytes: Buffer): string {
  const text = escapeControls(bytes.toString("latin1", 0, MAX_QUOTE));
  return bytes.length > MAX_QUOTE ? `${text}…` : text;
}
