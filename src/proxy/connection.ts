/** One client from accept to close: admitted, served by the handler of its route, and reported. */
import type net from "node:net";
import { ClosedError } from "../activation/errors.ts";
import { AbortSource } from "../async/abort-source.ts";
import { abortable, within } from "../async/wait.ts";
import { DeadlineError } from "../errors.ts";
import { addressesOf, formatPeer, type SocketAddresses } from "../net/addresses.ts";
import { flushed } from "../net/flush.ts";
import { readIp } from "../net/ip.ts";
import type { Meter } from "../net/relay.ts";
import { reset } from "../net/reset.ts";
import type { AdmissionStage } from "./admission/admission-stage.ts";
import { type Pass, type Rank, ranks } from "./admission/slots.ts";
import type { Client, Handler, OpenedFacts, Rejectable } from "./handlers/handler.ts";
import { type Ident, UserIdQuery } from "./ident.ts";
import { ClientGoneError, failureOf, type Served, ServiceChangedError } from "./outcome.ts";
import { reject } from "./rejection.ts";
import type { ConnectionFacts, ConnectionReport, ProxyObserver } from "./reports.ts";
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
}

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #client: net.Socket;
  readonly #route: Route;
  readonly #addresses: SocketAddresses;
  readonly #began = performance.now();
  readonly #since: number = Date.now();
  readonly #isCold: boolean;
  readonly #clientGone = new AbortSource();
  readonly #meter: Meter = { in: 0, out: 0 };
  readonly #userId: UserIdQuery;
  #heldClient: Rejectable | undefined;
  /** Undefined while the client waits. */
  #waitMs: number | undefined;
  #isOpenReported = false;
  /** Whether a handler has the client. */
  #isServing = false;
  /** Whether the client must send its first byte before its target is activated. */
  #isIdle = false;
  #pid: number | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#client = options.client;
    this.#route = options.route;
    this.#addresses = options.addresses ?? addressesOf(options.client);
    this.#isCold = options.route.handler.isCold;
    this.#userId = new UserIdQuery(options.ident, this.#addresses);
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
      using pass = await this.#admit();
      await this.#sendAcceptBanner();
      this.#report(await this.#serve(pass));
    } catch (error) {
      this.#report(failureOf(error));
      await this.#reject(error);
    } finally {
      open.delete(this);
    }
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
    this.#client.once("close", () => this.#clientGone.abort(CLIENT_LEFT));
  }

  async #admit(): Promise<Pass> {
    const { address } = this.#addresses.peer;
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

  async #serve(pass: Pass): Promise<Served> {
    using serviceSlot = this.#serviceSlotOf(pass);
    return await this.#serveWithReroute(this.#clientFor(serviceSlot), serviceSlot);
  }

  #serviceSlotOf({ slot }: Pass): ServiceSlot {
    return new ServiceSlot({
      connections: this.#route.connections,
      slot,
      rank: () => this.#rank,
      onEvicted: (reason) => this.#clientGone.abort(reason),
    });
  }

  /** Eviction rank while the client waits. */
  get #rank(): Rank {
    if (this.#isIdle) return ranks.idle;
    return this.#client.bytesRead === 0 ? ranks.silent : ranks.waiting;
  }

  #clientFor(serviceSlot: ServiceSlot): Client {
    const addresses = this.#addresses;
    const clientGone = this.#clientGone;
    return {
      socket: this.#client,
      peer: addresses.peer,
      get local() {
        return addresses.local;
      },
      listener: this.#options.listener,
      get signal() {
        return clientGone.signal;
      },
      meters: [this.#meter, this.#route.connections.meter],
      opened: (facts) => this.#served(serviceSlot, facts),
      waitAgain: () => {
        serviceSlot.waitAgain();
        this.#waitMs = undefined;
      },
      held: (heldClient) => {
        this.#heldClient = heldClient;
      },
    };
  }

  #served(serviceSlot: ServiceSlot, facts: OpenedFacts = {}): void {
    serviceSlot.served();
    this.#waitMs = performance.now() - this.#began;
    this.#pid = facts.pid;
    if (this.#isOpenReported) return;
    this.#isOpenReported = true;
    this.#options.observer.connectionOpened(this.#facts);
    void this.#reportUserId();
  }

  /** Serves by the handler of the route. If a reload replaces the handler while the client waits, serves by the new one. */
  async #serveWithReroute(client: Client, serviceSlot: ServiceSlot): Promise<Served> {
    for (let { handler } = this.#route; ; ) {
      try {
        if (!this.#isServing) await this.#waitForFirstByte(handler, client);
        this.#clientGone.throwIfAborted();
        this.#isServing = true;
        return await handler.serve(client);
      } catch (error) {
        const next = error instanceof ClosedError && !serviceSlot.isServed ? this.#successorOf(handler) : undefined;
        if (next === undefined) throw error;
        if (this.#heldClient?.mustReconnect === true)
          throw new ServiceChangedError("the service was changed while the client waited");
        handler = next;
      }
    }
  }

  async #waitForFirstByte(handler: Handler, client: Client): Promise<void> {
    if (handler.waitForFirstByte === undefined) return;
    this.#isIdle = true;
    await handler.waitForFirstByte(client);
    this.#isIdle = false;
  }

  /** Returns the new handler of the service after a reload; undefined if no handler can serve this client. */
  #successorOf(handler: Handler): Handler | undefined {
    const route = this.#options.current();
    if (route?.service !== this.#route.service || route.handler === handler) return undefined;
    // Bytes of the client may have been read already.
    return route.handler.needsUnreadSocket && !this.#route.handler.needsUnreadSocket ? undefined : route.handler;
  }

  async #reject(error: unknown): Promise<void> {
    if (this.#waitMs !== undefined) return this.reset();
    await reject(this.#client, error, {
      admission: this.#route.admission,
      heldClient: this.#heldClient,
      reportUserId: () => abortable(this.#reportUserId(), this.#clientGone.signal).catch(() => {}),
    });
  }

  #reportUserId(): Promise<void> {
    return this.#userId.report((answer) => this.#options.observer.userId({ ...this.#facts, ...answer }));
  }

  get #facts(): ConnectionFacts {
    return {
      service: this.#route.service,
      id: this.#options.id,
      client: formatPeer(this.#addresses.peer),
      listener: this.#route.listener,
      ...(this.#pid !== undefined && { pid: this.#pid }),
    };
  }

  #report(result: Pick<ConnectionReport, "outcome" | "reason" | "end" | "error" | "exit">): void {
    this.#options.observer.connection({
      ...this.#facts,
      start: this.#isCold ? "cold" : "warm",
      durationMs: performance.now() - this.#began,
      bytesIn: this.#meter.in,
      bytesOut: this.#meter.out,
      ...(this.#waitMs !== undefined && { waitMs: this.#waitMs }),
      ...result,
    });
  }
}
