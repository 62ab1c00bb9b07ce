import type net from "node:net";
import { ClosedError } from "../activation/errors.ts";
import { abortable, within } from "../async/wait.ts";
import { DeadlineError } from "../errors.ts";
import { addressesOf, formatPeer, type SocketAddresses } from "../net/addresses.ts";
import { readIp } from "../net/ip.ts";
import type { Meter } from "../net/relay.ts";
import { reset } from "../net/reset.ts";
import { DeniedError } from "./admission/denial.ts";
import { MonitorError } from "./admission/monitors.ts";
import { type Pass, type Rank, ranks, Slots } from "./admission/slots.ts";
import { type AdmissionStage, flushed } from "./admission/stage.ts";
import type { Client, Handler, OpenedFacts, RejectionReply } from "./handlers/handler.ts";
import type { Ident, IdentAnswer } from "./ident.ts";
/** One accepted client, from accept to close: let in, served by what its front leads to, reported. */
import type { Served } from "./outcome.ts";
import { ClientGoneError, failureOf, ServiceChangedError } from "./outcome.ts";
import type { ConnectionFacts, ConnectionReport, ProxyObserver } from "./reports.ts";

/** How long a client may take to read what it is told before it is served. */
const TELL_MS = 10_000;

/** What all connections of a service share. */
export interface ServiceConnections {
  /** Clients that are not served yet. */
  readonly waiting: Slots;
  /** Clients that are. */
  active: number;
  /** All of them, in the order in which they came. */
  readonly open: Set<{ readonly view: ConnectionView }>;
  readonly meter: Meter;
}

/**
 * What the data connections of a service share: they count as its others do, but wait in nobody's place. The target is
 * up, so they wait no longer than a dial.
 */
export function withoutWaitLimit(connections: ServiceConnections): ServiceConnections {
  return {
    waiting: new Slots({ limit: Number.POSITIVE_INFINITY, what: "data connections" }),
    open: connections.open,
    meter: connections.meter,
    get active() {
      return connections.active;
    },
    set active(count) {
      connections.active = count;
    },
  };
}

/** Where the connections of one listener lead. */
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
  /** Who talks to whom, where a proxy that is trusted has said so; default: as the system tells it. */
  readonly addresses?: SocketAddresses | undefined;
  /** Where it came in. */
  readonly listener: Client["listener"];
  readonly route: Route;
  /** Where those are led who come in there now; undefined when nobody does. */
  readonly current: () => Route | undefined;
  readonly observer: ProxyObserver;
  /** Asks the client's machine who the client is; undefined: nobody asks. */
  readonly ident?: Ident | undefined;
}

/** A connection that is not over. */
export interface ConnectionView extends ConnectionFacts {
  /** When it was accepted: Unix time in milliseconds. */
  readonly since: number;
  readonly isServed: boolean;
}

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #client: net.Socket;
  readonly #route: Route;
  readonly #addresses: SocketAddresses;
  readonly #began = performance.now();
  readonly #since: number = Date.now();
  readonly #isCold: boolean;
  readonly #clientGone = new AbortController();
  readonly #meter: Meter = { in: 0, out: 0 };
  readonly #user: Promise<IdentAnswer> | undefined;
  #rejectionReply: RejectionReply | undefined;
  #isBound: () => boolean = () => false;
  #waitMs: number | undefined;
  #isServing = false;
  /** Whether the client must send something before its target is woken. */
  #isIdle = false;
  #pid: number | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#client = options.client;
    this.#route = options.route;
    this.#addresses = options.addresses ?? addressesOf(options.client);
    this.#isCold = options.route.handler.isCold;
    // At once: a machine knows who has a connection only as long as it is there. Of one that a proxy has passed on, the
    // client's machine knows another port than we do.
    const isDirect = options.addresses === undefined && this.#addresses.peer.address !== "";
    this.#user = isDirect ? options.ident?.ask(this.#addresses) : undefined;
  }

  get view(): ConnectionView {
    return { ...this.#facts, since: this.#since, isServed: this.#waitMs !== undefined };
  }

  /** Serves the client to the end. Never rejects. */
  async run(): Promise<void> {
    // Reading goes on into a bounded buffer while the client waits: a reset is seen at once, an end of stream is kept.
    if (!this.#route.handler.needsUnreadSocket) this.#client.read(0);
    this.#client.pause();
    this.#client.on("error", () => {});
    this.#client.once("close", () => this.#clientGone.abort(new ClientGoneError("the client left")));
    const { open } = this.#route.connections;
    open.add(this);
    try {
      // It was reset before it was accepted, as monitors do: nobody can tell any more who it was, and so who it may be.
      if (this.#addresses.peer.address === "") throw new ClientGoneError("the client left before anybody looked");
      const { control, banners } = this.#route.admission;
      this.#write(banners.connect);
      using pass = await control.admit(readIp(this.#addresses.peer.address), this.#clientGone.signal);
      this.#write(banners.accept);
      await this.#flushBanner();
      this.#clientGone.signal.throwIfAborted();
      this.#report(await this.#serve(pass));
    } catch (error) {
      this.#report(failureOf(error));
      await this.#reject(error);
    } finally {
      open.delete(this);
    }
  }

  /** Refuses a client for which nothing was done yet, because nothing is done for anybody any more. */
  rejectIfWaiting(reason: Error): void {
    if (!this.#isServing) this.#clientGone.abort(reason);
  }

  /** Ends it at once. */
  reset(): void {
    reset(this.#client);
  }

  #write(words: Buffer | undefined): void {
    if (words !== undefined) this.#client.write(words);
  }

  /** Whoever serves the client may take the socket away: nothing of ours may be left in it. */
  async #flushBanner(): Promise<void> {
    if (this.#client.writableLength === 0) return;
    await within(TELL_MS, "the banner", flushed(this.#client), this.#clientGone.signal).catch((error: unknown) => {
      throw error instanceof DeadlineError ? new ClientGoneError("the client does not read its banner") : error;
    });
  }

  async #reject(error: unknown): Promise<void> {
    const { banners, onDeny: way, lingering } = this.#route.admission;
    if (error instanceof MonitorError) await lingering.start(this.#client, { way: "close" });
    else if (!(error instanceof DeniedError) || this.#rejectionReply !== undefined) {
      if (this.#waitMs !== undefined || this.#rejectionReply === undefined) reset(this.#client);
      else await lingering.startAfterReply(this.#client, this.#rejectionReply(error));
    } else if (this.#user === undefined) {
      await lingering.start(this.#client, { banner: banners.deny, way });
    } else {
      this.#write(banners.deny);
      await this.#userIdOfRejected(this.#user);
      await lingering.start(this.#client, { way });
    }
  }

  async #serve({ slot }: Pass): Promise<Served> {
    const { connections } = this.#route;
    const wait = (): Disposable => {
      const place = connections.waiting.take(slot.holder);
      for (const one of [slot, place])
        one.offer(
          () => this.#rank,
          (reason) => this.#clientGone.abort(reason),
        );
      return place;
    };
    let waiting = wait();
    let isOpen = false;
    let isReported = false;
    const end = (): void => {
      if (isOpen) connections.active -= 1;
      else waiting[Symbol.dispose]();
    };
    const served = (facts: OpenedFacts = {}): void => {
      end();
      slot.keep();
      isOpen = true;
      connections.active += 1;
      this.#waitMs = performance.now() - this.#began;
      this.#pid = facts.pid;
      if (isReported) return;
      isReported = true;
      this.#options.observer.connectionOpened(this.#facts);
      void this.#user?.then((answer) => this.#askUserId(answer));
    };
    const waitAgain = (): void => {
      if (!isOpen) return;
      waiting = wait();
      connections.active -= 1;
      isOpen = false;
      this.#waitMs = undefined;
    };
    try {
      const { signal } = this.#clientGone;
      const meters = [this.#meter, connections.meter];
      const { listener } = this.#options;
      const onRejected = (rejectionReply: RejectionReply, isBound = (): boolean => false): void => {
        this.#rejectionReply = rejectionReply;
        this.#isBound = isBound;
      };
      const client = {
        socket: this.#client,
        ...this.#addresses,
        listener,
        signal,
        meters,
        served,
        waitAgain,
        onRejected,
      };
      return await this.#serveByRoute(client, () => isOpen);
    } finally {
      end();
    }
  }

  /** Serves by the destination of the route. If a reload replaces it while the client waits, serves by the new one. */
  async #serveByRoute(client: Client, isOpen: () => boolean): Promise<Served> {
    for (let { handler } = this.#route; ; ) {
      try {
        if (!this.#isServing) await this.#waitForFirstByte(handler, client);
        client.signal.throwIfAborted();
        this.#isServing = true;
        return await handler.serve(client);
      } catch (error) {
        const next = error instanceof ClosedError && !isOpen() ? this.#successorOf(handler) : undefined;
        if (next === undefined) throw error;
        if (this.#isBound()) throw new ServiceChangedError("the service was changed while the client waited");
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

  /** Eviction rank of its slots before it is served. */
  get #rank(): Rank {
    if (this.#isIdle) return ranks.idle;
    return this.#client.bytesRead === 0 ? ranks.silent : ranks.waiting;
  }

  /** What serves newcomers now, where the service was changed while this client waited for what it was before. */
  #successorOf(handler: Handler): Handler | undefined {
    const route = this.#options.current();
    if (route?.service !== this.#route.service || route.handler === handler) return undefined;
    // Something may have been read from it already.
    return route.handler.needsUnreadSocket && !this.#route.handler.needsUnreadSocket ? undefined : route.handler;
  }

  #askUserId(answer: IdentAnswer): void {
    this.#options.observer.userId({ ...this.#facts, ...answer });
  }

  /** Who is turned away is kept until it is known who that was, for seconds, or until it leaves. */
  async #userIdOfRejected(user: Promise<IdentAnswer>): Promise<void> {
    await abortable(
      user.then((answer) => this.#askUserId(answer)),
      this.#clientGone.signal,
    ).catch(() => {});
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

  #report(ending: Pick<ConnectionReport, "outcome" | "reason" | "end" | "error" | "exit">): void {
    this.#options.observer.connection({
      ...this.#facts,
      start: this.#isCold ? "cold" : "warm",
      durationMs: performance.now() - this.#began,
      bytesIn: this.#meter.in,
      bytesOut: this.#meter.out,
      ...(this.#waitMs !== undefined && { waitMs: this.#waitMs }),
      ...ending,
    });
  }
}
