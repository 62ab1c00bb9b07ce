/** One accepted client, from accept to close: let in, served by what its front leads to, reported. */
import type net from "node:net";
import { ClosedError } from "../activation/errors.ts";
import { abortable } from "../async/abortable.ts";
import { within } from "../async/async.ts";
import { DeadlineError } from "../errors.ts";
import { type Endpoint, type Ends, endsOf } from "../net/addresses.ts";
import type { Ident, IdentAnswer } from "../net/ident.ts";
import { readIp } from "../net/ip.ts";
import type { Meter } from "../net/relay.ts";
import { reset } from "../net/reset.ts";
import type { ConnectionFacts, ConnectionReport, Observer } from "../telemetry/observer.ts";
import { DeniedError } from "./admission/denial.ts";
import { OnlookerError } from "./admission/monitors.ts";
import { type Pass, type Rank, ranks, Slots } from "./admission/slots.ts";
import { type Entrance, flushed } from "./admission/stage.ts";
import type { Client, Destination, LastWords, OpenedFacts, Served } from "./handlers/handler.ts";
import { ClientGoneError, failureOf, MovedError } from "./outcome.ts";

/** How long a client may take to read what it is told before it is served. */
const TELL_MS = 10_000;

/** What all connections of a service share. */
export interface Traffic {
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
export function besideWaiting(traffic: Traffic): Traffic {
  return {
    waiting: new Slots({ limit: Number.POSITIVE_INFINITY, what: "data connections" }),
    open: traffic.open,
    meter: traffic.meter,
    get active() {
      return traffic.active;
    },
    set active(count) {
      traffic.active = count;
    },
  };
}

/** Where the connections of one listener lead. */
export interface Route {
  readonly service: string;
  readonly front: string;
  readonly entrance: Entrance;
  readonly destination: Destination;
  readonly traffic: Traffic;
}

export interface ConnectionOptions {
  readonly id: number;
  readonly client: net.Socket;
  /** Who talks to whom, where a proxy that is trusted has said so; default: as the system tells it. */
  readonly ends?: Ends | undefined;
  /** Where it came in. */
  readonly listener: Client["listener"];
  readonly route: Route;
  /** Where those are led who come in there now; undefined when nobody does. */
  readonly current: () => Route | undefined;
  readonly observer: Observer;
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
  readonly #ends: Ends;
  readonly #began = performance.now();
  readonly #since: number = Date.now();
  readonly #isCold: boolean;
  readonly #gone = new AbortController();
  readonly #meter: Meter = { in: 0, out: 0 };
  readonly #user: Promise<IdentAnswer> | undefined;
  #lastWords: LastWords | undefined;
  #isBound: () => boolean = () => false;
  #waitMs: number | undefined;
  #isIn = false;
  /** Whether the client must send something before its target is woken. */
  #isIdle = false;
  #pid: number | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#client = options.client;
    this.#route = options.route;
    this.#ends = options.ends ?? endsOf(options.client);
    this.#isCold = options.route.destination.isCold;
    // At once: a machine knows who has a connection only as long as it is there. Of one that a proxy has passed on, the
    // client's machine knows another port than we do.
    const isDirect = options.ends === undefined && this.#ends.peer.address !== "";
    this.#user = isDirect ? options.ident?.ask(this.#ends) : undefined;
  }

  get view(): ConnectionView {
    return { ...this.#facts, since: this.#since, isServed: this.#waitMs !== undefined };
  }

  /** Serves the client to the end. Never rejects. */
  async run(): Promise<void> {
    // Reading goes on into a bounded buffer while the client waits: a reset is seen at once, an end of stream is kept.
    if (!this.#route.destination.takesSocket) this.#client.read(0);
    this.#client.pause();
    this.#client.on("error", () => {});
    this.#client.once("close", () => this.#gone.abort(new ClientGoneError("the client left")));
    const { open } = this.#route.traffic;
    open.add(this);
    try {
      // It was reset before it was accepted, as monitors do: nobody can tell any more who it was, and so who it may be.
      if (this.#ends.peer.address === "") throw new ClientGoneError("the client left before anybody looked");
      const { door, banners } = this.#route.entrance;
      this.#tell(banners.connect);
      using pass = await door.enter(readIp(this.#ends.peer.address), this.#gone.signal);
      this.#tell(banners.accept);
      await this.#told();
      this.#gone.signal.throwIfAborted();
      this.#report(await this.#serve(pass));
    } catch (error) {
      this.#report(failureOf(error));
      await this.#turnAway(error);
    } finally {
      open.delete(this);
    }
  }

  /** Refuses a client for which nothing was done yet, because nothing is done for anybody any more. */
  refuse(reason: Error): void {
    if (!this.#isIn) this.#gone.abort(reason);
  }

  /** Ends it at once. */
  reset(): void {
    reset(this.#client);
  }

  #tell(words: Buffer | undefined): void {
    if (words !== undefined) this.#client.write(words);
  }

  /** Whoever serves the client may take the socket away: nothing of ours may be left in it. */
  async #told(): Promise<void> {
    if (this.#client.writableLength === 0) return;
    await within(TELL_MS, "the banner", flushed(this.#client), this.#gone.signal).catch((error: unknown) => {
      throw error instanceof DeadlineError ? new ClientGoneError("the client does not read its banner") : error;
    });
  }

  async #turnAway(error: unknown): Promise<void> {
    const { banners, onDeny: way, farewell } = this.#route.entrance;
    if (error instanceof OnlookerError) await farewell.bid(this.#client, { way: "close" });
    else if (!(error instanceof DeniedError) || this.#lastWords !== undefined) {
      if (this.#waitMs !== undefined || this.#lastWords === undefined) reset(this.#client);
      else await farewell.part(this.#client, this.#lastWords(error));
    } else if (this.#user === undefined) {
      await farewell.bid(this.#client, { banner: banners.deny, way });
    } else {
      this.#tell(banners.deny);
      await this.#refusedUser(this.#user);
      await farewell.bid(this.#client, { way });
    }
  }

  async #serve({ slot }: Pass): Promise<Served> {
    const { traffic } = this.#route;
    const wait = (): Disposable => {
      const place = traffic.waiting.take(slot.holder);
      for (const one of [slot, place])
        one.offer(
          () => this.#rank,
          (reason) => this.#gone.abort(reason),
        );
      return place;
    };
    let waiting = wait();
    let isOpen = false;
    let isReported = false;
    const end = (): void => {
      if (isOpen) traffic.active -= 1;
      else waiting[Symbol.dispose]();
    };
    const opened = (facts: OpenedFacts = {}): void => {
      end();
      slot.keep();
      isOpen = true;
      traffic.active += 1;
      this.#waitMs = performance.now() - this.#began;
      this.#pid = facts.pid;
      if (isReported) return;
      isReported = true;
      this.#options.observer.connectionOpened(this.#facts);
      void this.#user?.then((answer) => this.#tellUser(answer));
    };
    const waitAgain = (): void => {
      if (!isOpen) return;
      waiting = wait();
      traffic.active -= 1;
      isOpen = false;
      this.#waitMs = undefined;
    };
    try {
      const { signal } = this.#gone;
      const meters = [this.#meter, traffic.meter];
      const { listener } = this.#options;
      const partsWith = (lastWords: LastWords, isBound = (): boolean => false): void => {
        this.#lastWords = lastWords;
        this.#isBound = isBound;
      };
      const client = { socket: this.#client, ...this.#ends, listener, signal, meters, opened, waitAgain, partsWith };
      return await this.#serveByRoute(client, () => isOpen);
    } finally {
      end();
    }
  }

  /** Serves by the destination of the route. If a reload replaces it while the client waits, serves by the new one. */
  async #serveByRoute(client: Client, isOpen: () => boolean): Promise<Served> {
    for (let { destination } = this.#route; ; ) {
      try {
        if (!this.#isIn) await this.#hear(destination, client);
        client.signal.throwIfAborted();
        this.#isIn = true;
        return await destination.serve(client);
      } catch (error) {
        const next = error instanceof ClosedError && !isOpen() ? this.#successorOf(destination) : undefined;
        if (next === undefined) throw error;
        if (this.#isBound()) throw new MovedError("the service was changed while the client waited");
        destination = next;
      }
    }
  }

  async #hear(destination: Destination, client: Client): Promise<void> {
    if (destination.hear === undefined) return;
    this.#isIdle = true;
    await destination.hear(client);
    this.#isIdle = false;
  }

  /** Eviction rank of its slots before it is served. */
  get #rank(): Rank {
    if (this.#isIdle) return ranks.idle;
    return this.#client.bytesRead === 0 ? ranks.silent : ranks.waiting;
  }

  /** What serves newcomers now, where the service was changed while this client waited for what it was before. */
  #successorOf(destination: Destination): Destination | undefined {
    const route = this.#options.current();
    if (route?.service !== this.#route.service || route.destination === destination) return undefined;
    // Something may have been read from it already.
    return route.destination.takesSocket && !this.#route.destination.takesSocket ? undefined : route.destination;
  }

  #tellUser(answer: IdentAnswer): void {
    this.#options.observer.userId({ ...this.#facts, ...answer });
  }

  /** Who is turned away is kept until it is known who that was, for seconds, or until it leaves. */
  async #refusedUser(user: Promise<IdentAnswer>): Promise<void> {
    await abortable(
      user.then((answer) => this.#tellUser(answer)),
      this.#gone.signal,
    ).catch(() => {});
  }

  get #facts(): ConnectionFacts {
    return {
      service: this.#route.service,
      id: this.#options.id,
      client: formatPeer(this.#ends.peer),
      front: this.#route.front,
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

/** A dual-stack listener shows IPv4 clients as IPv6 addresses: people know them otherwise. */
export function formatPeer({ address: written, port }: Endpoint): string {
  const address = written === "" ? "unknown" : written.replace(/^::ffff:(?=\d+\.)/, "");
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
