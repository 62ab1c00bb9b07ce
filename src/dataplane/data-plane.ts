/**
 * Relays connections in a thread of its own, without Node's streams. The connections that it cannot take are relayed by
 * net/relay.ts. See docs/design/data-plane.md.
 */
import { messageOf } from "../errors.ts";
import type { SocketAddress } from "../net/addresses.ts";
import { type RelayEnd, type Relayer, type RelayOptions, relay } from "../net/relay.ts";
import { type Command, flags } from "./commands.ts";
import { canDetach, type DetachedSocket, detachBoth } from "./detach.ts";
import { sendEarly } from "./early-bytes.ts";
import { type AcceptedConnection, PlaneListener, type PlaneListenerOptions } from "./plane-listener.ts";
import { PlaneWorker } from "./plane-worker.ts";
import { RelayedConnection } from "./relayed-connection.ts";
import type { AcceptedFacts, ReportHandler } from "./reports.ts";
import { encodeAddress } from "./socket-address.ts";
import { loadSyscalls } from "./syscalls.ts";
import { MAX_PAIRS } from "./worker-options.ts";

/** Pause after a start for which the system had no thread. */
const RETRY_MS = 60_000;

/** `idle`: no connection needed it yet. `unavailable`: it cannot work here. */
export type DataPlaneState = "idle" | "starting" | "up" | "unavailable" | "closed";

export interface DataPlaneView {
  readonly state: DataPlaneState;
  /** Number of connections that it relays. */
  readonly connections: number;
  /** Number of listeners on which it accepts clients. */
  readonly listeners: number;
  /** Why it is unavailable. */
  readonly problem?: string;
}

export interface DataPlaneOptions {
  readonly maxPipes: number;
  /** Called once if it is unavailable, also if later starts fail. */
  readonly onProblem: (problem: string) => void;
  /** Called if its thread ends on its own. The connections in it are lost. */
  readonly onLost: (error: Error) => void;
  /** Monotonic time, in milliseconds. */
  readonly now?: () => number;
}

export interface LendOptions extends PlaneListenerOptions {
  /** A listening socket. The data plane duplicates the descriptor. */
  readonly fd: number;
  /** Where its clients are connected to. */
  readonly upstream: SocketAddress;
  /** Limit of simultaneous dials. */
  readonly maxDials: number;
  /** The data plane accepts clients while there are fewer connections: see `countAll`. */
  readonly limit: number;
}

/** Returns the sentence for the operator if the data plane is unavailable. */
export function withoutDataPlane(problem: string): string {
  return `connections are relayed by Node's streams, which take more CPU: ${problem}`;
}

export class DataPlane implements Relayer {
  readonly #options: DataPlaneOptions;
  readonly #counts = new Float64Array(new SharedArrayBuffer(4 * Float64Array.BYTES_PER_ELEMENT * MAX_PAIRS));
  readonly #relayed = new Map<number, RelayedConnection | AcceptedConnection>();
  /** Lent listeners, and listeners with open connections. */
  readonly #listeners = new Map<number, PlaneListener>();
  #lastListener = 0;
  /** The `limit` of the last lent listener. */
  #limit = 0;
  /** Reported connections of lent listeners, and connections besides them. */
  #accepted = 0;
  #others = 0;
  readonly #freeSlots: number[] = [];
  #decided = Promise.withResolvers<void>();
  #slots = 0;
  #state: DataPlaneState = "idle";
  #problem: string | undefined;
  /** When a connection may start it again. A self-test is not repeated. */
  #retryAt = Number.POSITIVE_INFINITY;
  #worker: PlaneWorker | undefined;

  constructor(options: DataPlaneOptions) {
    this.#options = options;
  }

  get view(): DataPlaneView {
    const connections = this.#relayed.size;
    const listeners = [...this.#listeners.values()].filter(({ isOpen }) => isOpen).length;
    return {
      state: this.#state,
      connections,
      listeners,
      ...(this.#problem !== undefined && { problem: this.#problem }),
    };
  }

  /** Starts its thread in the background, unless that was done before. A limit of threads may have passed. */
  prepare(): void {
    const isFirst = this.#state === "idle";
    const isRetry = this.#state === "unavailable" && this.#now() >= this.#retryAt;
    if (!isFirst && !isRetry) return;
    this.#state = "starting";
    this.#retryAt = Number.POSITIVE_INFINITY;
    if (isRetry) this.#decided = Promise.withResolvers();
    const { maxPipes, onLost } = this.#options;
    try {
      this.#worker = new PlaneWorker({
        counts: this.#counts,
        maxPipes,
        onReady: () => this.#decide("up"),
        onProblem: (problem) => this.#fail(problem),
        reports: this.#reports,
        onLost,
      });
    } catch (error) {
      this.#retryAt = this.#now() + RETRY_MS;
      this.#fail(`no thread can be started: ${messageOf(error)}`);
    }
  }

  /** Resolves when it is up or unavailable. Does not start it. */
  get decided(): Promise<void> {
    return this.#decided.promise;
  }

  /** Starts it, and resolves when it is up or unavailable. */
  async ready(): Promise<void> {
    this.prepare();
    await this.#decided.promise;
  }

  relay(options: RelayOptions): Promise<RelayEnd> {
    this.prepare();
    return this.#take(options) ?? relay(options);
  }

  /**
   * Accepts the clients of a listening socket and connects them to a target, until the result is closed. Meanwhile the
   * main thread must not accept.
   *
   * @returns undefined if the data plane is not up, or the address is not a plain IP address, or no descriptor is free
   */
  lend({ fd, upstream, maxDials, limit, ...options }: LendOptions): PlaneListener | undefined {
    const worker = this.#worker;
    const address = encodeAddress(upstream);
    if (this.#state !== "up" || worker === undefined || address === undefined) return undefined;
    const copy = loadSyscalls().duplicate(fd);
    if (copy < 0) return undefined;
    this.#lastListener += 1;
    const listener = new PlaneListener(this.#lastListener, options, this.#send);
    this.#listeners.set(listener.id, listener);
    this.#limit = limit;
    this.#limitAccepted();
    worker.sendMessage({ upstream: address, maxDials });
    worker.send({ kind: "listen", slot: listener.id, fd: copy });
    return listener;
  }

  /** Must be called when the number of all connections of the process has changed. */
  countAll(connections: number): void {
    this.#others = connections - this.#accepted;
    this.#limitAccepted();
  }

  /** Brings the meters of all connections up to date. */
  count(): void {
    for (const [slot, connection] of this.#relayed) {
      connection.count(this.#counts[2 * slot]!, this.#counts[2 * slot + 1]!);
    }
  }

  /** Takes no more connections, and resets its own. */
  drain(): void {
    this.#state = "closed";
    for (const slot of this.#relayed.keys()) this.#worker?.send({ kind: "cut", slot, end: "drained" });
  }

  /** Ends its thread at the exit of the process. */
  stop(): void {
    this.#worker?.stop();
  }

  /** Resets all connections and ends its thread. */
  async close(): Promise<void> {
    this.drain();
    await this.#worker?.close();
    this.#decided.resolve();
  }

  #now(): number {
    return (this.#options.now ?? performance.now.bind(performance))();
  }

  #fail(problem: string): void {
    const isKnown = this.#problem !== undefined;
    this.#problem = problem;
    this.#decide("unavailable");
    if (!isKnown) this.#options.onProblem(problem);
  }

  #decide(state: "up" | "unavailable"): void {
    if (this.#state === "starting") this.#state = state;
    if (state === "up") this.#problem = undefined;
    this.#decided.resolve();
  }

  /** @returns undefined if the connection must be relayed by Node */
  #take({ client, upstream, filters, meters, lost }: RelayOptions): Promise<RelayEnd> | undefined {
    const worker = this.#worker;
    if (this.#state !== "up" || worker === undefined || filters !== undefined || lost.aborted) return undefined;
    if (!canDetach(client) || !canDetach(upstream)) return undefined;
    const slot = this.#freeSlots.pop() ?? this.#slots;
    if (slot === MAX_PAIRS) return undefined;
    const detached = detachBoth(loadSyscalls(), [client, upstream]);
    if (detached === undefined) {
      this.#freeSlots.push(slot);
      return undefined;
    }
    this.#slots = Math.max(this.#slots, slot + 1);
    const { promise, resolve: onEnd } = Promise.withResolvers<RelayEnd>();
    const connection = new RelayedConnection({ slot, meters, lost, send: this.#send, onEnd });
    this.#relayed.set(slot, connection);
    const [{ bytes: fromClient }, { bytes: fromUpstream }] = detached;
    connection.count(fromClient.length, fromUpstream.length);
    this.#counts[2 * slot] = fromClient.length;
    this.#counts[2 * slot + 1] = fromUpstream.length;
    this.#add(worker, slot, detached);
    return promise;
  }

  readonly #send = (command: Command): void => this.#worker?.send(command);

  #add(worker: PlaneWorker, slot: number, [client, upstream]: readonly [DetachedSocket, DetachedSocket]): void {
    const syscalls = loadSyscalls();
    const fromClient = sendEarly(syscalls, client.bytes, upstream.fd);
    const fromUpstream = sendEarly(syscalls, upstream.bytes, client.fd);
    const hasEarlyBytes = fromClient.left.length + fromUpstream.left.length > 0;
    if (hasEarlyBytes) worker.sendMessage({ client: fromClient.left, upstream: fromUpstream.left });
    const facts =
      (fromClient.isTls ? flags.isClientTls : 0) |
      (fromUpstream.isTls ? flags.isUpstreamTls : 0) |
      (fromUpstream.hasFailed ? flags.isClientBroken : 0) |
      (fromClient.hasFailed ? flags.isUpstreamBroken : 0) |
      (hasEarlyBytes ? flags.hasEarlyBytes : 0);
    worker.send({ kind: "add", slot, client: client.fd, upstream: upstream.fd, flags: facts });
  }

  readonly #reports: ReportHandler = {
    accepted: (slot, listener, facts) => this.#onAccepted(slot, listener, facts),
    ended: (slot, end, bytesIn, bytesOut) => {
      const connection = this.#remove(slot);
      connection?.count(bytesIn, bytesOut);
      connection?.end(end);
    },
    returned: (listener, slot, fd) => {
      const connection = slot === undefined ? undefined : this.#remove(slot);
      if (connection !== undefined && "returned" in connection) connection.returned();
      this.#listeners.get(listener)?.options.onReturned(fd);
    },
    full: (listener) => this.#listeners.get(listener)?.options.onFull(),
    unlistened: (listener, open) => this.#listeners.get(listener)?.unlistened(open),
    over: (id) => {
      const listener = this.#listeners.get(id);
      this.#listeners.delete(id);
      if (listener !== undefined) listener.isOver = true;
    },
  };

  #limitAccepted(): void {
    this.#worker?.limitAccepted(Math.max(0, this.#limit - this.#others));
  }

  #onAccepted(slot: number, listener: number, facts: AcceptedFacts): void {
    this.#accepted += 1;
    const connection = this.#listeners.get(listener)?.options.onAccepted(facts);
    if (connection !== undefined) this.#relayed.set(slot, connection);
  }

  #remove(slot: number): RelayedConnection | AcceptedConnection | undefined {
    const connection = this.#relayed.get(slot);
    this.#relayed.delete(slot);
    // The worker assigns the slots of accepted connections.
    if (slot < MAX_PAIRS) this.#freeSlots.push(slot);
    else this.#accepted -= 1;
    return connection;
  }
}
