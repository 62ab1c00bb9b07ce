import { ClosedError, ExitedError, MovedAddressError } from "../activation/errors.ts";
import type { Deadline } from "../async/deadline.ts";
import { timerMs } from "../async/wait.ts";
import { DeadlineError } from "../errors.ts";
import type { Meter } from "../net/relay.ts";
import { type Rank, ranks, type SlotError } from "../proxy/admission/slots.ts";
import { DatagramBuffer } from "./datagram-buffer.ts";
import type { DatagramCount, DropReason } from "./datagrams.ts";
import type { FirstDatagram } from "./first-datagram.ts";
import type { Pacer } from "./pacer.ts";
import { type SendResult, Upstream } from "./upstream.ts";

/** How often a flow may lose the target before all that was held is sent. */
const ATTEMPTS = 3;
/** A flow that was silent for this long can be evicted. */
const IDLE_MS = 1_000;
/** While a service ends, a flow that has been silent for this long has nothing more to say. */
const FINAL_DATAGRAMS_MS = 1_000;

/** A claim on the target, for as long as it is needed. */
export interface FlowLease extends Disposable {
  /** Host or IP address of the target. */
  readonly address: string;
  /** Aborted when the target is lost: with ExitedError when it went down, with any other reason to end now. */
  readonly signal: AbortSignal;
  /** Looks whether the target is up at all; one that is not aborts the signal. */
  verify(): Promise<void>;
}

/** What a flow needs of the service behind it, and tells it. */
export interface FlowOwner {
  /** Offers its slots to other clients. @see Slot.offer */
  offer(rank: () => Rank | undefined, onTaken: (reason: SlotError) => void): void;
  /** Limits all waits of the client: for the target, and until the target accepts the first datagram. */
  deadline(): Deadline;
  /** Claims the target. @throws why it cannot be had, or the reason of `signal` */
  reach(signal: AbortSignal): Promise<FlowLease>;
  /** All that was held has been sent: from now on datagrams pass at once. */
  opened(): void;
  /** The end, told once. */
  over(result: FlowResult): void;
}

/** Silence; eviction; the target went down or changed its address; the service ended. */
export type FlowEnd = "idle" | "displaced" | "target_gone" | "target_moved" | "drained";

export interface FlowResult {
  /** How it ended; absent when it could not be served. */
  readonly end?: FlowEnd;
  /** Why it could not. */
  readonly error?: unknown;
  /** Bytes passed on. */
  readonly meter: Readonly<Meter>;
}

/** Shared by all flows to one port of a target. */
export interface TargetPort {
  readonly port: number;
  readonly firstDatagram: FirstDatagram;
  readonly pacer: Pacer;
}

export interface FlowOptions {
  readonly owner: FlowOwner;
  readonly targetPort: TargetPort;
  readonly isTftp: boolean;
  /** Silence after which it ends, in milliseconds. */
  readonly timeoutMs: number;
  /** Bytes that are held until the target takes them. */
  readonly heldBytes: number;
  readonly answer: (datagram: Buffer) => void;
  readonly count: DatagramCount;
  /** All bytes of the service. */
  readonly meter: Meter;
}

/** One client of a front, known by its address and port, with a socket of its own to the target. */
export class Flow {
  readonly #options: FlowOptions;
  readonly #buffer: DatagramBuffer;
  readonly #meter: Meter = { in: 0, out: 0 };
  readonly #over = new AbortController();
  readonly #ended = Promise.withResolvers<FlowEnd>();
  #upstream: Upstream | undefined;
  #isOpen = false;
  #hasFailed = false;
  /** Numbers of datagrams from the client and from the target. */
  #asked = 0;
  #answers = 0;
  #timeoutMs: number;
  #lastAt = performance.now();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: FlowOptions) {
    this.#options = options;
    this.#buffer = new DatagramBuffer(options.heldBytes);
    this.#timeoutMs = options.timeoutMs;
  }

  /** Eviction rank of its slots; undefined while both sides send. */
  get rank(): Rank | undefined {
    const isSpent = this.#isOpen && this.#asked === 1 && this.#answers === 1;
    // The first answer of TFTP begins a transfer.
    if (isSpent && !this.#options.isTftp) return ranks.spent;
    if (!this.#isOpen && !this.#hasFailed) return ranks.waiting;
    if (performance.now() - this.#lastAt >= IDLE_MS) return ranks.idle;
    return this.#answers === 0 ? ranks.silent : undefined;
  }

  /** It is over, because it could not be served. */
  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** Takes a datagram of the client. It may be dropped, and is counted then. */
  take(datagram: Buffer): void {
    if (this.#hasFailed) return this.#drop("not_started");
    this.#lastAt = performance.now();
    this.#asked += 1;
    if (this.#isOpen) this.#send(datagram);
    else if (!this.#buffer.add(datagram)) this.#drop("held");
  }

  /** Serves the client to the end, which is told to the visit. Never rejects. */
  async run(): Promise<void> {
    const { owner } = this.#options;
    const meter = this.#meter;
    try {
      const end = await this.#serve();
      owner.over({ end, meter });
    } catch (error) {
      this.#hasFailed = true;
      owner.over({ error, meter });
    } finally {
      clearTimeout(this.#timer);
      this.#drop("not_started", this.#buffer.clear());
    }
  }

  /** Ends it at once. */
  end(end: FlowEnd): void {
    this.#ended.resolve(end);
    this.#over.abort(new ClosedError("the service ends"));
  }

  /** Ends it because another client needs its slots. */
  displace(reason: SlotError): void {
    this.#ended.resolve("displaced");
    this.#over.abort(reason);
  }

  /** Ends it as soon as it has been silent for a second. */
  drain(): void {
    this.#timeoutMs = Math.min(this.#timeoutMs, FINAL_DATAGRAMS_MS);
    if (this.#isOpen) this.#watchSilence();
  }

  /** A target that goes down before all that was held is sent costs the client nothing but time. */
  async #serve(): Promise<FlowEnd> {
    using deadline = this.#options.owner.deadline();
    const signal = AbortSignal.any([this.#over.signal, deadline.signal]);
    for (let attempt = 1; ; attempt += 1) {
      using claim = await this.#options.owner.reach(signal);
      try {
        return await this.#serveWith(claim, deadline.leftMs);
      } catch (error) {
        this.#over.signal.throwIfAborted();
        if (deadline.signal.aborted || !claim.signal.aborted || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** @param refusedMs time during which the target may refuse the first datagram, in milliseconds */
  async #serveWith(claim: FlowLease, refusedMs: number): Promise<FlowEnd> {
    const late = new AbortController();
    const { isTftp } = this.#options;
    const { port, firstDatagram } = this.#options.targetPort;
    const refused = (): void => late.abort(new DeadlineError(`the target takes no datagrams on port ${port}`));
    const timer = setTimeout(refused, timerMs(refusedMs));
    const lost = (): void => firstDatagram.reset();
    claim.signal.addEventListener("abort", lost, { once: true });
    try {
      const signal = AbortSignal.any([this.#over.signal, claim.signal, late.signal]);
      using upstream = await Upstream.open({
        host: claim.address,
        port,
        isTftp,
        signal,
        onAnswer: (datagram) => this.#answered(datagram),
        onLoss: (reason) => this.#drop(reason),
      });
      this.#upstream = upstream;
      await this.#sendFirst(upstream, claim, signal);
      await this.#release(signal);
      clearTimeout(timer);
      return await this.#stay(claim.signal);
    } finally {
      clearTimeout(timer);
      claim.signal.removeEventListener("abort", lost);
      this.#isOpen = false;
      this.#upstream = undefined;
    }
  }

  /** Waits until the target takes datagrams: the first one finds out. */
  async #sendFirst(upstream: Upstream, claim: FlowLease, signal: AbortSignal): Promise<void> {
    const { first } = this.#buffer;
    if (first === undefined) return;
    let isFirst = true;
    const knock = async (): Promise<SendResult> => {
      const result = await upstream.knock(first, signal);
      if (result === "refused" && isFirst) claim.verify().catch(() => {});
      isFirst = false;
      return result;
    };
    const opened = await this.#options.targetPort.firstDatagram.waitUntilAccepted(claim.address, knock, signal);
    if (opened !== undefined) this.#sent(this.#buffer.shift());
  }

  /** Sends what was held, in order, as fast as the target reads. */
  async #release(signal: AbortSignal): Promise<void> {
    const { targetPort, owner } = this.#options;
    for (let { first } = this.#buffer; first !== undefined; { first } = this.#buffer) {
      await targetPort.pacer.acquire(first.length);
      signal.throwIfAborted();
      this.#buffer.shift();
      this.#send(first);
    }
    this.#isOpen = true;
    owner.opened();
  }

  async #stay(lost: AbortSignal): Promise<FlowEnd> {
    const onLost = (): void => this.#ended.resolve(endOf(lost.reason));
    lost.addEventListener("abort", onLost, { once: true });
    if (lost.aborted) onLost();
    this.#watchSilence();
    try {
      return await this.#ended.promise;
    } finally {
      lost.removeEventListener("abort", onLost);
    }
  }

  /** A datagram only notes the time; the timer asks for it when it is due. */
  #watchSilence(): void {
    clearTimeout(this.#timer);
    const leftMs = this.#lastAt + this.#timeoutMs - performance.now();
    if (leftMs <= 0) this.#ended.resolve("idle");
    else this.#timer = setTimeout(() => this.#watchSilence(), Math.ceil(leftMs));
  }

  #send(datagram: Buffer): void {
    this.#upstream?.send(datagram);
    this.#sent(datagram);
  }

  #sent(datagram: Buffer | undefined): void {
    this.#meter.in += datagram?.length ?? 0;
    this.#options.meter.in += datagram?.length ?? 0;
  }

  #answered(datagram: Buffer): void {
    this.#lastAt = performance.now();
    this.#answers += 1;
    const { count, meter, targetPort, answer } = this.#options;
    count.out += 1;
    meter.out += datagram.length;
    this.#meter.out += datagram.length;
    targetPort.pacer.answered();
    answer(datagram);
  }

  #drop(reason: DropReason, count = 1): void {
    this.#options.count.dropped[reason] += count;
  }
}

function endOf(lost: unknown): FlowEnd {
  if (lost instanceof MovedAddressError) return "target_moved";
  return lost instanceof ExitedError ? "target_gone" : "drained";
}
