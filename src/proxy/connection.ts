/** One client from accept to close: admitted, served by the handler of its route, and reported. */
import net from "node:net";
import { ClosedError } from "../activation/errors.ts";
import { AbortSource } from "../async/abort-source.ts";
import { abortable, within } from "../async/wait.ts";
import { DeadlineError } from "../errors.ts";
import { formatPeer, localOf, peerOf, type SocketAddress, type SocketAddresses } from "../net/addresses.ts";
import { flushed } from "../net/flush.ts";
import { readIp } from "../net/ip.ts";
import type { Meter } from "../net/relay.ts";
import { reset } from "../net/reset.ts";
import type { AdmissionStage } from "./admission/admission-stage.ts";
import { type Pass, type Rank, ranks, type SlotError } from "./admission/slots.ts";
import type { Client, Handler, OpenedFacts, Rejectable } from "./handlers/handler.ts";
import { type Ident, UserIdQuery } from "./ident.ts";
import { ClientGoneError, failureOf, type Served, ServiceChangedError, type WakeTimes } from "./outcome.ts";
import { reject } from "./rejection.ts";
import type { ConnectionFacts, ConnectionReport, ProxyObserver, WakePhases } from "./reports.ts";
import type { ConnectionView, ServiceConnections } from "./service-connections.ts";
import { ServiceSlot } from "./service-slot.ts";

/** Time for a client to read its banner before it is served. */
const BANNER_MS = 10_000;

/** One error for all clients: each connection ends with it, and a stack trace takes longer than all else here. */
const CLIENT_LEFT = new ClientGoneError("the client left");

/** The service that a listener's connections belong to, and the handler that serves them. */
export interface Route {
  readonly service: string;
  readonly listener: string;
  readonly admission: AdmissionStage;
  readonly handler: Handler;
  readonly connections: ServiceConnections;
}

export interface ConnectionOptions {
  readonly id: number;
  readonly client: net.Socket;
  /** The addresses in the PROXY header of a trusted proxy; default: those of the socket. */
  readonly addresses?: SocketAddresses | undefined;
  readonly listener: Client["listener"];
  readonly route: Route;
  /** Returns the listener's current route for the service; undefined if the service has no route there. */
  readonly current: () => Route | undefined;
  readonly observer: ProxyObserver;
  /** Absent: the client's ident server is not queried. */
  readonly ident?: Ident | undefined;
  /** Called when the connection is closed and reported. */
  readonly onEnd?: (connection: Connection) => void;
}

/** Stands for the sockets of closed clients: a connection that the data plane relays must not keep a socket in memory. */
const CLOSED_SOCKET = new net.Socket().on("error", () => {}).destroy();

/** The result of a connection, for its report. */
type Result = Pick<ConnectionReport, "outcome" | "reason" | "end" | "error" | "exit"> & Pick<Served, "wake">;

export class Connection implements Client {
  readonly peer: SocketAddress;
  readonly listener: Client["listener"];
  readonly meters: readonly Meter[];
  readonly #id: number;
  readonly #route: Route;
  readonly #current: () => Route | undefined;
  readonly #observer: ProxyObserver;
  readonly #onEnd: ((connection: Connection) => void) | undefined;
  readonly #began = performance.now();
  readonly #since: number = Date.now();
  readonly #isCold: boolean;
  readonly #clientGone = new AbortSource();
  readonly #meter: Meter = { in: 0, out: 0 };
  /** Undefined if the client's address is not read from a PROXY header. */
  readonly #addresses: SocketAddresses | undefined;
  readonly #userId: UserIdQuery | undefined;
  #client: net.Socket;
  /** Both undefined while the client is not admitted. */
  #pass: Pass | undefined;
  #serviceSlot: ServiceSlot | undefined;
  #heldClient: Rejectable | undefined;
  /** Undefined while the client waits. */
  #waitMs: number | undefined;
  #isOpenReported = false;
  /** Whether a handler has the client. */
  #isServing = false;
  /** Whether the client must send its first byte before its target is activated. */
  #isIdle = false;
  #pid: number | undefined;

  constructor({ id, client, addresses, listener, route, current, observer, ident, onEnd }: ConnectionOptions) {
    this.#id = id;
    this.#client = client;
    this.#addresses = addresses;
    this.peer = addresses?.peer ?? peerOf(client);
    this.listener = listener;
    this.meters = [this.#meter, route.connections.meter];
    this.#route = route;
    this.#current = current;
    this.#observer = observer;
    this.#onEnd = onEnd;
    this.#isCold = route.handler.isCold;
    // The client may close before the answer, and a closed socket has no addresses.
    this.#userId = ident && new UserIdQuery(ident, { peer: this.peer, local: this.local });
  }

  get socket(): net.Socket {
    return this.#client;
  }

  get local(): SocketAddress {
    return this.#addresses?.local ?? localOf(this.#client);
  }

  get signal(): AbortSignal {
    return this.#clientGone.signal;
  }

  get view(): ConnectionView {
    return { ...this.#facts, since: this.#since, isServed: this.#waitMs !== undefined };
  }

  /** Serves the client until its connection is closed. Never rejects. */
  async run(): Promise<void> {
    const { open } = this.#route.connections;
    open.add(this);
    this.#watchClient();
    try {
      this.#pass = await this.#admit();
      await this.#sendAcceptBanner();
      this.#serviceSlot = new ServiceSlot(this.#route.connections, this.#pass.slot, this);
      const served = await this.#serve(this.#serviceSlot);
      this.#release();
      this.#report(served);
    } catch (error) {
      this.#release();
      this.#report(failureOf(error));
      await this.#reject(error);
    } finally {
      open.delete(this);
      this.#onEnd?.(this);
    }
  }

  /** Releases its slots. A `using` declaration would keep a list of its own for each quiet connection. Idempotent. */
  #release(): void {
    this.#serviceSlot?.[Symbol.dispose]();
    this.#serviceSlot = undefined;
    this.#pass?.[Symbol.dispose]();
    this.#pass = undefined;
  }

  /** Rejects the client unless a handler has it. */
  rejectIfWaiting(reason: Error): void {
    if (!this.#isServing) this.#clientGone.abort(reason);
  }

  /** Resets the connection. */
  reset(): void {
    reset(this.#client);
  }

  /** Reads into a bounded buffer while the client waits: a reset is noticed at once, and an end of stream is kept. */
  #watchClient(): void {
    if (!this.#route.handler.needsUnreadSocket) this.#client.read(0);
    this.#client.pause();
    this.#client.on("error", () => {});
    this.#client.once("close", () => this.#onClose());
  }

  #onClose(): void {
    if (this.#waitMs !== undefined) this.#client = CLOSED_SOCKET;
    this.#clientGone.abort(CLIENT_LEFT);
  }

  async #admit(): Promise<Pass> {
    const { address } = this.peer;
    // The client reset the connection before accept, as monitors do. Its address is unknown, so no access rule applies.
    if (address === "") throw new ClientGoneError("the client left before it was accepted");
    const { control, banners } = this.#route.admission;
    this.#write(banners.connect);
    return await control.admit(readIp(address), this.#clientGone);
  }

  /** The handler may pass the socket to a program, so no byte of wakeport may be left in it. */
  async #sendAcceptBanner(): Promise<void> {
    this.#write(this.#route.admission.banners.accept);
    if (this.#client.writableLength > 0) {
      const { signal } = this.#clientGone;
      await within(BANNER_MS, "the banner", flushed(this.#client), signal).catch((error: unknown) => {
        throw error instanceof DeadlineError ? new ClientGoneError("the client does not read its banner") : error;
      });
    }
    this.#clientGone.throwIfAborted();
  }

  #write(banner: Buffer | undefined): void {
    if (banner !== undefined) this.#client.write(banner);
  }

  /** Eviction rank while the client waits. */
  get rank(): Rank {
    if (this.#isIdle) return ranks.idle;
    return this.#client.bytesRead === 0 ? ranks.silent : ranks.waiting;
  }

  evicted(reason: SlotError): void {
    this.#clientGone.abort(reason);
  }

  held(heldClient: Rejectable): void {
    this.#heldClient = heldClient;
  }

  opened(facts: OpenedFacts = {}): void {
    this.#serviceSlot?.served();
    this.#waitMs = performance.now() - this.#began;
    this.#pid = facts.pid;
    if (this.#isOpenReported) return;
    this.#isOpenReported = true;
    this.#observer.connectionOpened(this.#facts);
    void this.#reportUserId();
  }

  waitAgain(): void {
    this.#serviceSlot?.waitAgain();
    this.#waitMs = undefined;
  }

  /** Serves by the handler of the route. If a reload replaces the handler while the client waits, serves by the new one. */
  async #serve(serviceSlot: ServiceSlot): Promise<Served> {
    for (let { handler } = this.#route; ; ) {
      try {
        if (!this.#isServing) await this.#waitForFirstByte(handler);
        this.#clientGone.throwIfAborted();
        this.#isServing = true;
        return await handler.serve(this);
      } catch (error) {
        const next = error instanceof ClosedError && !serviceSlot.isServed ? this.#successorOf(handler) : undefined;
        if (next === undefined) throw error;
        if (this.#heldClient?.mustReconnect === true)
          throw new ServiceChangedError("the service was changed while the client waited");
        handler = next;
      }
    }
  }

  async #waitForFirstByte(handler: Handler): Promise<void> {
    if (handler.waitForFirstByte === undefined) return;
    this.#isIdle = true;
    await handler.waitForFirstByte(this);
    this.#isIdle = false;
  }

  /** Returns the new handler of the service after a reload; undefined if no handler can serve this client. */
  #successorOf(handler: Handler): Handler | undefined {
    const route = this.#current();
    if (route?.service !== this.#route.service || route.handler === handler) return undefined;
    // Bytes of the client may have been read already.
    return route.handler.needsUnreadSocket && !this.#route.handler.needsUnreadSocket ? undefined : route.handler;
  }

  async #reject(error: unknown): Promise<void> {
    if (this.#waitMs !== undefined || this.#client === CLOSED_SOCKET) return this.reset();
    await reject(this.#client, error, {
      admission: this.#route.admission,
      heldClient: this.#heldClient,
      reportUserId: () => abortable(this.#reportUserId(), this.#clientGone.signal).catch(() => {}),
    });
  }

  async #reportUserId(): Promise<void> {
    await this.#userId?.report((answer) => this.#observer.userId({ ...this.#facts, ...answer }));
  }

  get #facts(): ConnectionFacts {
    return {
      service: this.#route.service,
      id: this.#id,
      client: formatPeer(this.peer),
      listener: this.#route.listener,
      ...(this.#pid !== undefined && { pid: this.#pid }),
    };
  }

  #report({ wake, ...result }: Result): void {
    this.#observer.connection({
      ...this.#facts,
      start: this.#isCold ? "cold" : "warm",
      durationMs: performance.now() - this.#began,
      bytesIn: this.#meter.in,
      bytesOut: this.#meter.out,
      ...(this.#waitMs !== undefined && { waitMs: this.#waitMs }),
      ...(wake && { wake: phasesOf(this.#began, wake) }),
      ...result,
    });
  }
}

/** @param began the accept, on the monotonic clock in milliseconds */
function phasesOf(began: number, { requestedAt, readyAt, connectedAt, firstByteAt }: WakeTimes): WakePhases {
  return { acceptMs: requestedAt - began, dialMs: connectedAt - readyAt, firstByteMs: firstByteAt - connectedAt };
}
