/**
 * Relays pairs of sockets without Node's streams: each event of a socket pumps the direction that it concerns. Half-closes
 * and resets pass on as in net/relay.ts. See docs/design/data-plane.md.
 */
import type { RelayEnd } from "../net/relay.ts";
import { Epoll, ERR, HUP, IN, OUT, PRI, RDHUP } from "./epoll.ts";
import { type Delivery, type Direction, Pair, type PairOptions, type Side } from "./pair.ts";
import { MAX_PIPES, PipePool } from "./pipe-pool.ts";
import { Pump } from "./pump.ts";
import type { Syscalls } from "./syscalls.ts";

/** After a reset of one side: time without progress in which the other side may receive the bytes before it. */
const FLUSH_MS = 1_000;
/** Limit of that time, with progress. */
const MAX_FLUSH_MS = 30_000;
/** Interval of polls of a send queue: no event reports that it is empty. */
const FLUSH_POLL_MS = 5;
/** After the target's exit: time without a byte after which the end of its stream is no longer expected. */
const SILENCE_MS = 1_000;
/** After the target's exit: time for the client to read the next of the last bytes, and then to close. */
const LINGER_MS = 30_000;
/** Interval of checks of pairs whose target is down. */
const LAST_BYTES_POLL_MS = 250;
/** Limit of a connect, after which the client returns to the main thread. The kernel repeats a SYN after 1 s. */
const CONNECT_MS = 3_000;
/** If an upstream ends before the first byte, the main thread may report within this time that its target is down. */
const EXIT_REPORT_MS = 1_000;
/** The generation of descriptors that are not sockets of a pair. */
const NO_PAIR = 0;

export interface CoreOptions {
  readonly syscalls: Syscalls;
  /** The name that Node uses: `x64`. */
  readonly architecture: string;
  /** Called once for each pair that was not returned, after both sockets are closed. */
  readonly onEnd: (pair: Pair) => void;
  /** Called when the upstream of a pair of `connect` is connected. */
  readonly onConnected?: (pair: Pair) => void;
  /**
   * Called at the end of an accepted pair whose upstream could not be connected, or whose target is down before the
   * first byte. The client's socket is open, and nothing was read from it.
   */
  readonly onReturn?: (pair: Pair) => void;
  /** Called after a direction has received bytes. */
  readonly onReceived?: (pair: Pair) => void;
  readonly maxPipes?: number;
  readonly pipeBytes?: number;
  /** Milliseconds of a monotonic clock. */
  readonly now?: () => number;
}

/** Bytes and facts from the time before a pair was added. */
export interface EarlyBytes {
  /** Received from this side, and not sent to the other one yet. */
  readonly bytes?: Buffer;
  /** Whether the stream of this side contains TLS. */
  readonly isTls?: boolean;
  /** Whether this side failed. */
  readonly isBroken?: boolean;
}

export interface AddOptions extends Omit<PairOptions, "generation"> {
  readonly early?: { readonly client?: EarlyBytes; readonly upstream?: EarlyBytes };
}

export class Core {
  readonly #syscalls: Syscalls;
  readonly #onEnd: (pair: Pair) => void;
  readonly #onConnected: (pair: Pair) => void;
  readonly #onReturn: (pair: Pair) => void;
  readonly #now: () => number;
  readonly #epoll: Epoll;
  readonly #pipes: PipePool;
  readonly #pump: Pump;
  /** By descriptor. */
  readonly #sides: (Side | undefined)[] = [];
  readonly #pairs = new Map<number, Pair>();
  readonly #readers = new Map<number, () => void>();
  /** Pairs whose upstream is not connected yet, each with the time of the connect; oldest first. */
  readonly #connecting = new Map<Pair, number>();
  /** Pairs with `isUndecided`, each with the time at which the upstream ended; oldest first. */
  readonly #undecided = new Map<Pair, number>();
  /** Pairs that have used their share of a turn. */
  #queued: Pair[] = [];
  /** Pairs with a broken side, whose other side receives the bytes before the reset. */
  readonly #delivering = new Set<Pair>();
  /** Pairs whose target is down. */
  readonly #withoutTarget = new Set<Pair>();
  #generation = NO_PAIR;

  /** @throws Error if the architecture is not supported, or no descriptor is free */
  constructor({ syscalls, architecture, onEnd, onReceived = () => {}, ...options }: CoreOptions) {
    this.#syscalls = syscalls;
    this.#onEnd = onEnd;
    this.#onConnected = options.onConnected ?? (() => {});
    this.#onReturn = options.onReturn ?? (() => {});
    this.#now = options.now ?? (() => performance.now());
    this.#epoll = new Epoll(syscalls, architecture);
    this.#pipes = new PipePool(syscalls, options.maxPipes ?? MAX_PIPES, options.pipeBytes);
    this.#pump = new Pump(syscalls, this.#pipes, ({ from: { pair } }) => onReceived(pair));
  }

  /** Number of open pairs. */
  get size(): number {
    return this.#pairs.size;
  }

  /** Returns a pair for `connect`. */
  newPair(options: Omit<PairOptions, "generation">): Pair {
    // Zero is the generation of other descriptors.
    this.#generation = (this.#generation + 1) >>> 0 || 1;
    return new Pair({ ...options, generation: this.#generation });
  }

  /** Relays two connected sockets from now on, and closes them at the end. */
  add({ early = {}, ...options }: AddOptions): void {
    const pair = this.newPair(options);
    addEarly(pair.in, early.client);
    addEarly(pair.out, early.upstream);
    this.#watchPair(pair);
  }

  /** Relays two sockets when the upstream is connected, and closes them at the end. */
  connect(pair: Pair): void {
    pair.isConnecting = true;
    this.#connecting.set(pair, this.#now());
    this.#watchPair(pair);
  }

  /** Calls `act` for each open pair of a listener. */
  eachOf(listener: number, act: (pair: Pair) => void): void {
    for (const pair of this.#pairs.values()) if (pair.listener?.id === listener) act(pair);
  }

  /** Resets both sides of a pair, if it is still open. */
  cut(slot: number, end: RelayEnd): void {
    const pair = this.#pairs.get(slot);
    if (pair === undefined) return;
    pair.end = end;
    this.#close(pair, true);
  }

  /**
   * Forwards the last bytes of a target that is down, while any byte moves. The end of its stream may never arrive, because
   * the network of a container is removed with it.
   */
  targetGone(slot: number): void {
    const pair = this.#pairs.get(slot);
    if (pair === undefined || pair.lastBytes !== undefined) return;
    if (pair.canReturn) return this.#return(pair);
    pair.lastBytes = { moved: this.#movedBytes(pair), movedAt: this.#now() };
    this.#withoutTarget.add(pair);
    this.#settle(pair);
  }

  /**
   * Calls `onReadable` while a descriptor has unread bytes, or clients to accept.
   *
   * @returns false if the kernel has no room for it
   */
  watch(fd: number, onReadable: () => void): boolean {
    this.#readers.set(fd, onReadable);
    return this.#epoll.addReader(fd, NO_PAIR);
  }

  /** Ends a watch. The descriptor stays open. */
  unwatch(fd: number): void {
    this.#readers.delete(fd);
    this.#epoll.remove(fd);
  }

  /** Waits for events and handles them. @param limitMs limit of the wait in milliseconds @throws Error */
  turn(limitMs: number = Number.POSITIVE_INFINITY): void {
    const timeoutMs = Math.min(limitMs, this.#pollMs);
    this.#epoll.wait(Number.isFinite(timeoutMs) ? timeoutMs : -1, this.#onEvent);
    const queued = this.#queued;
    if (queued.length > 0) {
      this.#queued = [];
      for (const pair of queued) this.#resume(pair);
    }
    this.#endLateConnects();
    this.#decideLate();
    for (const pair of this.#delivering) this.#settle(pair);
    for (const pair of this.#withoutTarget) this.#checkLastBytes(pair);
  }

  /** Resets all pairs and closes all descriptors. */
  close(): void {
    for (const slot of this.#pairs.keys()) this.cut(slot, "drained");
    this.#pipes.close();
    this.#epoll.close();
  }

  /** The first event reports the present state, so nothing must be pumped now. */
  #watchPair(pair: Pair): void {
    this.#pairs.set(pair.slot, pair);
    for (const side of [pair.client, pair.upstream]) this.#sides[side.fd] = side;
    const areWatched = [pair.client, pair.upstream].every(({ fd }) => this.#epoll.add(fd, pair.generation));
    if (!areWatched) this.#fail(pair);
  }

  /** Time until a pair must be checked without an event. */
  get #pollMs(): number {
    if (this.#queued.length > 0) return 0;
    if (this.#delivering.size > 0) return FLUSH_POLL_MS;
    if (this.#withoutTarget.size > 0) return LAST_BYTES_POLL_MS;
    if (this.#undecided.size > 0) return LAST_BYTES_POLL_MS;
    return this.#connecting.size > 0 ? CONNECT_MS : Number.POSITIVE_INFINITY;
  }

  readonly #onEvent = (fd: number, events: number, generation: number): void => {
    if (generation === NO_PAIR) return this.#readers.get(fd)?.();
    const side = this.#sides[fd];
    // An event of a closed descriptor, whose number another connection has now.
    if (side === undefined || side.pair.generation !== generation) return;
    this.#onSideEvent(side, events);
  };

  /** HUP alone is not a reset: it also follows when both directions have ended in good order. */
  #onSideEvent(side: Side, events: number): void {
    const { pair } = side;
    if ((events & ERR) !== 0) side.break();
    const from = pair.from(side);
    const to = pair.to(side);
    if ((events & PRI) !== 0) from.hasUrgent = true;
    if ((events & (RDHUP | HUP | ERR)) !== 0) from.isEndAnnounced = true;
    if (pair.isConnecting) return this.#onConnectEvent(side, events);
    if (pair.isUndecided) return pair.client.isBroken ? this.#decide(pair) : undefined;
    if ((events & (IN | RDHUP | HUP | ERR)) !== 0 && !from.isEnded) this.#run(from);
    if (pair.out.isEnded && pair.canReturn) return this.#waitForTarget(pair);
    if ((events & (OUT | HUP | ERR)) !== 0 && (!to.isEmpty || side.isBroken)) this.#run(to);
    this.#settle(pair);
  }

  /** Begins to relay when the upstream is connected. Bytes that the client sent before cause no further event. */
  #onConnectEvent(side: Side, events: number): void {
    const { pair } = side;
    if (side.isBroken) return this.#fail(pair);
    if (side === pair.client || (events & OUT) === 0) return;
    this.#endConnect(pair);
    this.#onConnected(pair);
    if ((events & IN) !== 0) this.#run(pair.out);
    if (pair.out.isEnded && pair.canReturn) return this.#waitForTarget(pair);
    this.#run(pair.in);
    this.#settle(pair);
  }

  #endConnect(pair: Pair): void {
    pair.isConnecting = false;
    this.#connecting.delete(pair);
  }

  #endLateConnects(): void {
    for (const [pair, beganAt] of this.#connecting) {
      if (this.#now() - beganAt < CONNECT_MS) return;
      this.#fail(pair);
    }
  }

  /** Either `targetGone` follows, and the client is returned, or the target has ended only this connection. */
  #waitForTarget(pair: Pair): void {
    pair.isUndecided = true;
    this.#undecided.set(pair, this.#now());
  }

  /** Forwards the end of the upstream. */
  #decide(pair: Pair): void {
    pair.isUndecided = false;
    pair.isReturnable = false;
    this.#undecided.delete(pair);
    this.#run(pair.out);
    if (!pair.upstream.isBroken) this.#run(pair.in);
    this.#settle(pair);
  }

  #decideLate(): void {
    for (const [pair, beganAt] of this.#undecided) {
      if (this.#now() - beganAt < EXIT_REPORT_MS) return;
      this.#decide(pair);
    }
  }

  /** Ends a pair that cannot be relayed. */
  #fail(pair: Pair): void {
    if (pair.canReturn) return this.#return(pair);
    if (pair.end === "clean") pair.end = "upstream_reset";
    this.#close(pair, true);
  }

  /** Closes the upstream and gives the client back. */
  #return(pair: Pair): void {
    this.#forget(pair);
    this.#epoll.remove(pair.client.fd);
    this.#sides[pair.client.fd] = undefined;
    this.#release(pair.upstream, false);
    this.#onReturn(pair);
  }

  #run(direction: Direction): void {
    const { pair } = direction.from;
    if (pair.isUpstreamClosed) return this.#runWithoutUpstream(pair);
    if (!this.#pump.run(direction) || pair.isQueued) return;
    pair.isQueued = true;
    this.#queued.push(pair);
  }

  #resume(pair: Pair): void {
    pair.isQueued = false;
    if (pair.isClosed) return;
    this.#run(pair.in);
    this.#run(pair.out);
    this.#settle(pair);
  }

  /** Ends a pair, or a part of it, if its state requires that. */
  #settle(pair: Pair): void {
    if (pair.isClosed) return;
    const { client, upstream } = pair;
    if (pair.isUpstreamClosed) return this.#settleWithoutUpstream(pair);
    if (client.isBroken || upstream.isBroken) return this.#settleBroken(pair, client.isBroken ? client : upstream);
    if (pair.in.isShut && pair.out.isShut) return this.#close(pair, false);
    if (pair.lastBytes !== undefined && pair.out.isShut) this.#closeUpstream(pair);
  }

  /** Delivers what the broken side had sent, and then resets the other one. */
  #settleBroken(pair: Pair, broken: Side): void {
    const direction = pair.from(broken);
    if (!direction.isEnded && !pair.isQueued) this.#run(direction);
    this.#pump.drop(pair.to(broken));
    if (direction.to.isBroken) return this.#close(pair, true);
    this.#resetAfterDelivery(pair, direction, FLUSH_MS);
  }

  /** Resets the pair when the other side has received the direction's bytes: a reset discards the rest. */
  #resetAfterDelivery(pair: Pair, direction: Direction, limitMs: number): void {
    const undelivered = this.#undeliveredBytes(direction);
    if (direction.isEnded && undelivered === 0) return this.#close(pair, true);
    const now = this.#now();
    const delivery = pair.delivery ?? this.#beginDelivery(pair, now);
    const delivered = direction.received - undelivered;
    if (delivery.delivered !== delivered) {
      delivery.delivered = delivered;
      delivery.movedAt = now;
    }
    if (now - delivery.movedAt >= limitMs || now - delivery.beganAt >= MAX_FLUSH_MS) this.#close(pair, true);
  }

  #beginDelivery(pair: Pair, now: number): Delivery {
    pair.delivery = { delivered: -1, movedAt: now, beganAt: now };
    this.#delivering.add(pair);
    return pair.delivery;
  }

  /** Bytes that were received and that the other side has not received yet. */
  #undeliveredBytes(direction: Direction): number {
    return direction.held + this.#syscalls.sendQueue(direction.to.fd);
  }

  /**
   * Closes the upstream after the client has all its last bytes. Further bytes of the client are dropped, and then the
   * client is reset.
   */
  #closeUpstream(pair: Pair): void {
    pair.isUpstreamClosed = true;
    if (!pair.in.isEmpty) pair.hasLoss = true;
    this.#pump.drop(pair.in);
    pair.in.isEnded = false;
    this.#release(pair.upstream, false);
    this.#runWithoutUpstream(pair);
    this.#settle(pair);
  }

  #runWithoutUpstream(pair: Pair): void {
    if (pair.in.isEnded) return;
    if (this.#pump.discard(pair.in) > 0) pair.hasLoss = true;
  }

  /** If the target has sent data, waits for the client's FIN first, because the reset could overtake the data. */
  #settleWithoutUpstream(pair: Pair): void {
    if (pair.client.isBroken) return this.#close(pair, true);
    if (!pair.hasLoss) {
      if (pair.in.isEnded) this.#close(pair, false);
      return;
    }
    pair.end = "target_gone";
    if (pair.out.received === 0 || pair.in.isEnded) this.#resetAfterDelivery(pair, pair.out, LINGER_MS);
  }

  #checkLastBytes(pair: Pair): void {
    const { lastBytes } = pair;
    if (pair.isClosed || lastBytes === undefined) return;
    const now = this.#now();
    const moved = this.#movedBytes(pair);
    if (moved !== lastBytes.moved) {
      lastBytes.moved = moved;
      lastBytes.movedAt = now;
    }
    const isClientSlow = pair.out.isEnded || !pair.out.isEmpty;
    if (now - lastBytes.movedAt >= (isClientSlow ? LINGER_MS : SILENCE_MS)) this.cut(pair.slot, "target_gone");
  }

  /** Bytes received from the upstream, and bytes received by the client. */
  #movedBytes({ out }: Pair): number {
    return 2 * out.received - this.#undeliveredBytes(out);
  }

  #forget(pair: Pair): void {
    pair.isClosed = true;
    this.#endConnect(pair);
    this.#undecided.delete(pair);
    this.#pairs.delete(pair.slot);
    this.#delivering.delete(pair);
    this.#withoutTarget.delete(pair);
  }

  #close(pair: Pair, isReset: boolean): void {
    this.#forget(pair);
    const isReported = pair.end === "client_reset" || pair.end === "upstream_reset";
    this.#pump.drop(pair.in);
    this.#pump.drop(pair.out);
    // A reset after both streams ended with a TLS close loses no data.
    if (isReported && pair.in.endsWithTlsClose && pair.out.endsWithTlsClose) pair.end = "clean";
    this.#release(pair.client, isReset);
    if (!pair.isUpstreamClosed) this.#release(pair.upstream, isReset);
    this.#onEnd(pair);
  }

  #release({ fd }: Side, isReset: boolean): void {
    this.#sides[fd] = undefined;
    this.#syscalls.close(fd, isReset);
  }
}

function addEarly(direction: Direction, { bytes, isTls = false, isBroken = false }: EarlyBytes = {}): void {
  if (bytes !== undefined && bytes.length > 0) direction.rest = bytes;
  direction.isTls = isTls;
  if (isBroken) direction.from.break();
}
