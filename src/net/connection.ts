/** One accepted client, from accept to close: claims the target, dials it, relays. Every way out ends in `run`. */
import type net from "node:net";
import { abortable } from "../activation/abortable.ts";
import type { Activator } from "../activation/activator.ts";
import { ActivationError, StartTimeoutError } from "../activation/errors.ts";
import type { Lease } from "../activation/lease.ts";
import type { Gate } from "../async.ts";
import { DeadlineError } from "../errors.ts";
import type { ConnectionOutcome, ConnectionReport, Observer } from "../telemetry/observer.ts";
import { LimitError, type Seats } from "./admission.ts";
import { dial } from "./dial.ts";
import { type Meter, type RelayEnd, relay } from "./relay.ts";

/** Long enough for the kernel to try again when the upstream's backlog is full (after 1 s and 3 s). */
const DIAL_MS = 10_000;
/** A client that stands in line behind a target that takes nobody is let go after this. */
const REACH_MS = 60_000;
/** How often a client may lose the target between the grant and the dial before it is let go. */
const ATTEMPTS = 3;

/** What all connections of a service share. */
export interface Traffic {
  /** Clients that are not connected to the target yet. */
  readonly waiting: Seats;
  /** Clients that are. */
  active: number;
  readonly meter: Meter;
  /** At most so many dials at a time: an app with a short backlog drops more. */
  readonly pace: Gate;
}

/** Where the connections of one listener lead. */
export interface Route {
  readonly service: string;
  readonly front: string;
  readonly activator: Activator;
  readonly targetPort: number;
  readonly traffic: Traffic;
}

export interface ConnectionOptions {
  readonly id: number;
  readonly client: net.Socket;
  readonly route: Route;
  /** Places of the whole process. */
  readonly seats: Seats;
  readonly observer: Observer;
}

class ClientGoneError extends Error {
  override readonly name = "ClientGoneError";
}

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #client: net.Socket;
  readonly #route: Route;
  readonly #address: string;
  readonly #began = performance.now();
  readonly #isCold: boolean;
  readonly #gone = new AbortController();
  readonly #meter: Meter = { in: 0, out: 0 };
  #waitMs: number | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#client = options.client;
    this.#route = options.route;
    this.#address = clientAddress(options.client);
    this.#isCold = options.route.activator.view.state !== "ready";
  }

  /** Serves the client to the end. Never rejects. */
  async run(): Promise<void> {
    // Reading goes on into a bounded buffer while the client waits: a reset is seen at once, an end of stream is kept.
    this.#client.pause();
    this.#client.on("error", () => {});
    this.#client.once("close", () => this.#gone.abort(new ClientGoneError("the client left")));
    try {
      using _seat = this.#options.seats.take();
      const end = await this.#serve();
      this.#report("relayed", { end });
    } catch (error) {
      this.#client.resetAndDestroy();
      this.#report(outcomeOf(error), error instanceof Error ? { error } : {});
    }
  }

  /** Ends it at once. */
  reset(): void {
    this.#client.resetAndDestroy();
  }

  async #serve(): Promise<RelayEnd> {
    const waiting = this.#route.traffic.waiting.take();
    let upstream: net.Socket;
    let lease: Lease;
    try {
      ({ upstream, lease } = await this.#reach());
    } finally {
      waiting[Symbol.dispose]();
    }
    using held = lease;
    this.#waitMs = performance.now() - this.#began;
    const { traffic } = this.#route;
    traffic.active += 1;
    try {
      return await relay({
        client: this.#client,
        upstream,
        meters: [this.#meter, traffic.meter],
        lost: held.signal,
      });
    } finally {
      traffic.active -= 1;
    }
  }

  /** A target that goes down between the grant and the dial costs the client nothing but time: the next one serves it. */
  async #reach(): Promise<{ upstream: net.Socket; lease: Lease }> {
    const { signal } = this.#gone;
    for (let attempt = 1; ; attempt += 1) {
      const lease = await this.#route.activator.acquire(signal);
      try {
        return { upstream: await this.#reachUpstream(lease), lease };
      } catch (error) {
        lease[Symbol.dispose]();
        signal.throwIfAborted();
        if (!lease.signal.aborted || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** From the grant to an open path, in line with the others. */
  async #reachUpstream(lease: Lease): Promise<net.Socket> {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new DeadlineError("the target takes no more connections")), REACH_MS);
    const signal = AbortSignal.any([this.#gone.signal, lease.signal, late.signal]);
    try {
      return await this.#dial(lease, signal);
    } catch {
      signal.throwIfAborted();
      await abortable(this.#route.activator.verify(lease), signal);
      return await this.#dial(lease, signal);
    } finally {
      clearTimeout(timer);
    }
  }

  async #dial(lease: Lease, signal: AbortSignal): Promise<net.Socket> {
    using _place = await this.#route.traffic.pace.enter(signal);
    return await dial({ host: lease.address, port: this.#route.targetPort, timeoutMs: DIAL_MS, signal });
  }

  #report(outcome: ConnectionOutcome, ending: Pick<ConnectionReport, "end" | "error">): void {
    this.#options.observer.connection({
      service: this.#route.service,
      id: this.#options.id,
      client: this.#address,
      front: this.#route.front,
      outcome,
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
function clientAddress({ remoteAddress, remotePort }: net.Socket): string {
  const address = remoteAddress?.replace(/^::ffff:/, "") ?? "unknown";
  return address.includes(":") ? `[${address}]:${remotePort}` : `${address}:${remotePort ?? 0}`;
}

function outcomeOf(error: unknown): ConnectionOutcome {
  if (error instanceof LimitError) return "denied_limit";
  if (error instanceof ClientGoneError) return "client_gone";
  if (error instanceof StartTimeoutError) return "start_timeout";
  if (error instanceof ActivationError) return "start_failed";
  return "dial_failed";
}
