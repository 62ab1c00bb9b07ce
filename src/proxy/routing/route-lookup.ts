/**
 * One accepted client until it is known who it is and which service it came for. Only where a proxy says for whom it
 * connects, or where several services share a front, is there anything to find out; others are connections at once.
 */
import type net from "node:net";
import { type Ends, endsOf } from "../../net/addresses.ts";
import { escaped } from "../../net/escape.ts";
import type { NameKind } from "../../net/hostname.ts";
import { type Found, PeekError, peek } from "../../net/peek.ts";
import { LONGEST_PROXY_HEADER, ProxyHeaderError, readProxyHeader } from "../../net/proxy-protocol.ts";
import { reset } from "../../net/reset.ts";
import type { UnroutedReport } from "../../telemetry/observer.ts";
import type { Farewell } from "../admission/lingering-close.ts";
import { formatPeer, type Route } from "../connection.ts";
import { isMisspoken, LONGEST_FIRST_WORDS, speeches } from "./name-readers.ts";
import type { Signpost } from "./route-table.ts";
import { UnroutedError } from "./unrouted.ts";

export interface ArrivalOptions {
  readonly client: net.Socket;
  /** Where it came in, as it is configured. */
  readonly front: string;
  /** How clients are led there at any time; undefined when the front is gone. */
  readonly signpost: () => Signpost | undefined;
  /** How long all of it may take, in milliseconds. */
  readonly deadlineMs: number;
  readonly farewell: Farewell;
}

/** What is known of a client in the end. */
export interface Arrived {
  readonly route: Route;
  /** As a proxy has told; undefined for one that speaks for itself. */
  readonly ends: Ends | undefined;
}

/** How much of what a client has said is logged, in bytes. */
const LONGEST_QUOTE = 48;

export class Arrival {
  readonly #options: ArrivalOptions;
  readonly #client: net.Socket;
  readonly #gone = new AbortController();
  readonly #began = performance.now();
  #ends: Ends | undefined;
  /** What is being read at the moment, if it is a name. */
  #kind: NameKind | undefined;
  #name: string | undefined;
  /** Of what is being read. */
  #said: Buffer = Buffer.alloc(0);

  constructor(options: ArrivalOptions) {
    this.#options = options;
    this.#client = options.client;
  }

  /**
   * Reads as much as it takes.
   *
   * @throws UnroutedError
   */
  async find(): Promise<Arrived> {
    const onClose = (): void => this.end(new UnroutedError("gone", "the client left"));
    this.#client.on("error", () => {});
    this.#client.once("close", onClose);
    this.#client.read(0);
    this.#client.pause();
    try {
      this.#ends = await this.#readHeader();
      return { route: await this.#readName(), ends: this.#ends };
    } catch (error) {
      throw this.#unrouted(error);
    } finally {
      this.#client.off("close", onClose);
    }
  }

  /** Gives up on it for this reason. */
  end(reason: UnroutedError): void {
    this.#gone.abort(reason);
  }

  /** Parts from a client that is led nowhere; resolves when its connection is closed. */
  async refuse({ reason, cause }: UnroutedError): Promise<void> {
    const banner = this.#kind && speeches[this.#kind].refuse(reason, cause);
    this.#client.on("error", () => {});
    // Browsers connect ahead of what they ask: an answer without a question would be taken for one to the next request.
    const isUnasked = this.#kind !== undefined && reason === "too_late" && this.#said.length === 0;
    if (isUnasked) await this.#options.farewell.bid(this.#client, { way: "close" });
    else if (banner === undefined) reset(this.#client);
    else await this.#options.farewell.bid(this.#client, { banner, way: "close" });
  }

  report(error: UnroutedError): UnroutedReport {
    const isQuoted = error.reason === "bad_header" || error.reason === "too_late";
    return {
      front: this.#options.front,
      client: formatPeer(this.#ends?.peer ?? endsOf(this.#client).peer),
      error,
      durationMs: performance.now() - this.#began,
      ...(this.#name !== undefined && { name: this.#name }),
      ...(isQuoted && this.#said.length > 0 && { said: quote(this.#said) }),
    };
  }

  async #readHeader(): Promise<Ends | undefined> {
    const { address } = endsOf(this.#client).peer;
    const signpost = this.#options.signpost();
    if (signpost?.isLost(address) === true) throw new UnroutedError("gone", "the client left");
    if (signpost?.trusts(address) !== true) return undefined;
    return await this.#peek(readProxyHeader, LONGEST_PROXY_HEADER);
  }

  async #readName(): Promise<Route> {
    this.#gone.signal.throwIfAborted();
    const direct = this.#options.signpost()?.namelessly((this.#ends ?? endsOf(this.#client)).peer.address);
    if (direct !== undefined) return takingWhatWasRead(direct);
    this.#kind = this.#options.signpost()?.kind;
    if (this.#kind !== undefined)
      this.#name = (await this.#peek(speeches[this.#kind].reader(), LONGEST_FIRST_WORDS)).name;
    this.#gone.signal.throwIfAborted();
    const signpost = this.#options.signpost();
    if (signpost === undefined) throw new UnroutedError("closing", "the port is no longer listened on");
    const route = signpost.routeFor(this.#name);
    if (route !== undefined) return takingWhatWasRead(route);
    if (this.#name === undefined) throw new UnroutedError("no_name", "the client says no name");
    throw new UnroutedError("unknown_name", `no service here has the name ${this.#name}`);
  }

  #peek<T>(read: (bytes: Buffer) => Found<T> | undefined, most: number): Promise<T> {
    this.#said = Buffer.alloc(0);
    const passed = performance.now() - this.#began;
    return peek(this.#client, {
      read: (bytes) => {
        this.#said = bytes;
        return read(bytes);
      },
      most,
      deadlineMs: Math.max(0, this.#options.deadlineMs - passed),
      signal: this.#gone.signal,
    });
  }

  #unrouted(error: unknown): UnroutedError {
    if (error instanceof UnroutedError) return error;
    if (error instanceof ProxyHeaderError || isMisspoken(error)) {
      return new UnroutedError("bad_header", error.message, { cause: error });
    }
    if (!(error instanceof PeekError)) throw error;
    const reasons = { ended: "gone", too_late: "too_late", too_long: "bad_header" } as const;
    return new UnroutedError(reasons[error.trouble], error.message, { cause: error });
  }
}

/** By a reload the front may have become one whose clients are handed on unread, which this one was not. */
function takingWhatWasRead(route: Route): Route {
  if (!route.destination.takesSocket) return route;
  throw new UnroutedError(
    "closing",
    `the port has become one of service "${route.service}", which takes clients unread`,
  );
}

function quote(bytes: Buffer): string {
  const text = escaped(bytes.toString("latin1", 0, LONGEST_QUOTE));
  return bytes.length > LONGEST_QUOTE ? `${text}…` : text;
}
