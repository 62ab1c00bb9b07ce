/** The state of one relayed connection: two sockets, and one direction from each to the other. */
import type { RelayEnd } from "../net/relay.ts";
import type { LentListener } from "./lent-listener.ts";
import type { Pipe } from "./pipe-pool.ts";

/** One of the two sockets. */
export class Side {
  readonly pair: Pair;
  readonly fd: number;
  /** The end that is reported if this side breaks first. */
  readonly resetEnd: RelayEnd;
  /** Whether it was reset, or failed. The kernel reports an error once only, so this never becomes false again. */
  isBroken = false;

  constructor(pair: Pair, fd: number, resetEnd: RelayEnd) {
    this.pair = pair;
    this.fd = fd;
    this.resetEnd = resetEnd;
  }

  break(): void {
    this.isBroken = true;
    if (this.pair.end === "clean") this.pair.end = this.resetEnd;
  }
}

/** The bytes from one side to the other. */
export class Direction {
  readonly from: Side;
  readonly to: Side;
  /** Bytes received so far. */
  received: number;
  /** Borrowed while bytes are in it. */
  pipe: Pipe | undefined;
  inPipe = 0;
  /** Received bytes that the other side did not accept yet. */
  rest: Buffer | undefined;
  /** Whether the pump splices, because the last read filled its buffer. */
  isBulk = false;
  /** Whether the kernel announced the end of the stream. No further event follows for it, so the pump must read on. */
  isEndAnnounced = false;
  /** Whether the stream contains urgent data, at which a receive and a splice stop although more bytes may follow. */
  hasUrgent = false;
  /** Whether no more bytes can be received. */
  isEnded = false;
  /** Whether the end was passed on. */
  isShut = false;
  /** Whether the stream contains TLS, whose last bytes decide if a reset cut something off. */
  isTls = false;
  /** Whether the last received bytes are a TLS close. */
  endsWithTlsClose = false;

  constructor(from: Side, to: Side, received: number) {
    this.from = from;
    this.to = to;
    this.received = received;
  }

  /** Whether all received bytes were sent. */
  get isEmpty(): boolean {
    return this.inPipe === 0 && this.rest === undefined;
  }

  /** Bytes that were received and not sent. */
  get held(): number {
    return this.inPipe + (this.rest?.length ?? 0);
  }

  /** Whether all bytes of the direction were sent, and no more can follow. */
  get isComplete(): boolean {
    return this.isEnded && this.isEmpty;
  }
}

/** The wait until a side has received what was sent to it. Times are milliseconds. */
export interface Delivery {
  /** Bytes that the side has received. */
  delivered: number;
  movedAt: number;
  readonly beganAt: number;
}

/** The wait for the last bytes of a target that is down. */
export interface LastBytes {
  moved: number;
  movedAt: number;
}

export interface PairOptions {
  /** Identifies the pair in commands and reports. */
  readonly slot: number;
  readonly generation: number;
  /** Descriptors of connected sockets in non-blocking mode. The pair closes them. */
  readonly client: number;
  readonly upstream: number;
  /** Bytes that were forwarded before, in each direction. */
  readonly received?: { readonly in: number; readonly out: number };
  /** The listener that accepted the client; absent: the main thread added the pair. */
  readonly listener?: LentListener;
}

export class Pair {
  readonly slot: number;
  /** Distinguishes it from other pairs that had the same descriptor numbers. */
  readonly generation: number;
  readonly client: Side;
  readonly upstream: Side;
  readonly in: Direction;
  readonly out: Direction;
  end: RelayEnd = "clean";
  isClosed = false;
  readonly listener: LentListener | undefined;
  /** Whether the connect of the upstream is under way. Nothing is read from the client meanwhile. */
  isConnecting = false;
  /** Whether the upstream ended before the first byte, and its target may be down. Nothing is read until that is known. */
  isUndecided = false;
  /** Whether the client may return to the main thread until the first byte. */
  isReturnable: boolean;
  /** Whether the core pumps it in its next turn. */
  isQueued = false;
  delivery: Delivery | undefined;
  /** Undefined while the target is up. */
  lastBytes: LastBytes | undefined;
  /** Whether the upstream of a target that is down was closed. The client's socket is still open. */
  isUpstreamClosed = false;
  /** Whether bytes of the client were dropped, because the target is down. */
  hasLoss = false;

  constructor({ slot, generation, client, upstream, ...options }: PairOptions) {
    const { received = { in: 0, out: 0 }, listener } = options;
    this.slot = slot;
    this.generation = generation;
    this.listener = listener;
    this.isReturnable = listener !== undefined;
    this.client = new Side(this, client, "client_reset");
    this.upstream = new Side(this, upstream, "upstream_reset");
    this.in = new Direction(this.client, this.upstream, received.in);
    this.out = new Direction(this.upstream, this.client, received.out);
  }

  /** Whether the client may return to the main thread: neither side has sent anything. */
  get canReturn(): boolean {
    if (!this.isReturnable || this.in.received > 0 || this.out.received > 0) return false;
    return !this.in.isEnded && !this.client.isBroken;
  }

  /** Returns the direction whose bytes a side sends. */
  from(side: Side): Direction {
    return side === this.client ? this.in : this.out;
  }

  /** Returns the direction whose bytes a side receives. */
  to(side: Side): Direction {
    return side === this.client ? this.out : this.in;
  }
}
