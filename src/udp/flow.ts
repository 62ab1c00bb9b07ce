import { ClosedError, ExitedError, MovedAddressError } from "../activation/errors.ts";
import { retryWhenLost } from "../activation/retry.ts";
import type { Deadline } from "../async/deadline.ts";
import { timerMs } from "../async/wait.ts";
import { DeadlineError } from "../errors.ts";
import type { Meter } from "../net/relay.ts";
import { type Rank, ranks, type SlotError } from "../proxy/admission/slots.ts";
import { DatagramBuffer } from "./datagram-buffer.ts";
import type { DatagramCount, DropReason } from "./datagrams.ts";
import type { FirstDatagram } from "./first-datagram.ts";
import type { Pacer } from "./pacer.ts";
import { Upstream } from "./upstream.ts";

/** A flow that was silent for this long can be evicted. */
const IDLE_MS = 1_000;
/** Idle timeout of the flows of a service that ends. */
const DRAIN_IDLE_MS = 1_000;

/** A lease on the target, with the address of one activation. */
export interface FlowLease extends Disposable {
  /** Host or IP address of the target. */
  readonly address: string;
  /** Aborted when the target is lost, with ExitedError if it went down and MovedAddressError if its address changed. */
  readonly signal: AbortSignal;
  /** Checks whether the target is up. If it is not, `signal` is aborted. */
  verify(): Promise<void>;
}

/** What a flow uses of its service, and what it reports to it. */
export interface FlowOwner {
  /** Offers the flow's slots to other clients. @see Slot.offer */
  offer(rank: () => Rank | undefined, onTaken: (reason: SlotError) => void): void;
  /** Limits all waits of the client: for the target, and until the target accepts the first datagram. */
  deadline(): Deadline;
  /** Acquires the target. @throws why it did not start, or the reason of `signal` */
  acquire(signal: AbortSignal): Promise<FlowLease>;
  /** All buffered datagrams were sent: from now on datagrams pass without delay. */
  opened(): void;
  /** The flow ended. Called once. */
  ended(result: FlowResult): void;
}

/** Silence; eviction; the target went down or changed its address; the service ended. */
export type FlowEnd = "idle" | "displaced" | "target_gone" | "target_moved" | "drained";

export interface FlowResult {
  /** How the flow ended; absent if it was not served. */
  readonly end?: FlowEnd;
  /** Why the flow was not served. */
  readonly error?: unknown;
  /** Bytes forwarded. */
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
  /** The flow ends after this silence, in milliseconds. */
  readonly timeoutMs: number;
  /** Limit of the buffer until the target accepts datagrams, in bytes. */
  readonly heldBytes: number;
  readonly answer: (datagram: Buffer) => void;
  readonly count: DatagramCount;
  /** Bytes of the whole service. */
  readonly meter: Meter;
}

/** The datagrams of one client's address and port to one listener. It has its own socket to the target. */
export class Flow {
  readonly #options: FlowOptions;
  readonly #buffer: DatagramBuffer;
  readonly #meter: Meter = { in: 0, out: 0 };
  readonly #closed = new AbortController();
  readonly #end = Promise.withResolvers<FlowEnd>();
  #upstream: Upstream | undefined;
  #isOpen = false;
  #hasFailed = false;
  /** Numbers of datagrams from the client and from the target. */
  #requests = 0;
  #answers = 0;
  #timeoutMs: number;
  #lastAt = performance.now();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: FlowOptions) {
    this.#options = options;
    this.#buffer = new DatagramBuffer(options.heldBytes);
    this.#timeoutMs = options.timeoutMs;
  }

  /** Eviction rank of the flow's slots; undefined while both sides send. */
  get rank(): Rank | undefined {
    const isSpent = this.#isOpen && this.#requests === 1 && this.#answers === 1;
    // The first answer of TFTP begins a transfer.
    if (isSpent && !this.#options.isTftp) return ranks.spent;
    if (!this.#isOpen && !this.#hasFailed) return ranks.waiting;
    if (performance.now() - this.#lastAt >= IDLE_MS) return ranks.idle;
    return this.#answers === 0 ? ranks.silent : undefined;
  }

  /** Whether the flow ended without being served. */
  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** Forwards, buffers or drops a datagram of the client. */
  receive(datagram: Buffer): void {
    if (this.#hasFailed) return this.#drop("not_started");
    this.#lastAt = performance.now();
    this.#requests += 1;
    if (this.#isOpen) this.#send(datagram);
    else if (!this.#buffer.add(datagram)) this.#drop("held");
  }

  /** Serves the client until the flow ends, and reports the result to the owner. Never rejects. */
  async run(): Promise<void> {
    const { owner } = this.#options;
    const meter = this.#meter;
    try {
      const end = await this.#serve();
      owner.ended({ end, meter });
    } catch (error) {
      this.#hasFailed = true;
      owner.ended({ error, meter });
    } finally {
      clearTimeout(this.#timer);
      this.#drop("not_started", this.#buffer.clear());
    }
  }

  /** Ends the flow at once. */
  close(): void {
    this.#end.resolve("drained");
    this.#closed.abort(new ClosedError("the service ends"));
  }

  /** Ends the flow because another client needs its slots. */
  evict(reason: SlotError): void {
    this.#end.resolve("displaced");
    this.#closed.abort(reason);
  }

  /** Ends the flow after one second of silence. */
  drain(): void {
    this.#timeoutMs = Math.min(this.#timeoutMs, DRAIN_IDLE_MS);
    if (this.#isOpen) this.#watchSilence();
  }

  /** If the target goes down before all buffered datagrams are sent, the next activation gets them. */
  async #serve(): Promise<FlowEnd> {
    const { owner } = this.#options;
    using deadline = owner.deadline();
    const signal = AbortSignal.any([this.#closed.signal, deadline.signal]);
    return await retryWhenLost({
      acquire: () => owner.acquire(signal),
      use: async (lease) => {
        using _lease = lease;
        return await this.#serveWith(lease, deadline.leftMs);
      },
      gone: this.#closed,
      deadline,
    });
  }

  /** @param refusedMs time during which the target may refuse the first datagram, in milliseconds */
  async #serveWith(lease: FlowLease, refusedMs: number): Promise<FlowEnd> {
    const { isTftp, targetPort } = this.#options;
    const { port, firstDatagram } = targetPort;
    const late = new AbortController();
    const onLate = (): void => late.abort(new DeadlineError(`the target accepts no datagrams on port ${port}`));
    const timer = setTimeout(onLate, timerMs(refusedMs));
    const onLost = (): void => firstDatagram.reset();
    lease.signal.addEventListener("abort", onLost, { once: true });
    try {
      const signal = AbortSignal.any([this.#closed.signal, lease.signal, late.signal]);
      using upstream = await Upstream.open({
        host: lease.address,
        port,
        isTftp,
        signal,
        onAnswer: (datagram) => this.#forwardAnswer(datagram),
        onLoss: (reason) => this.#drop(reason),
      });
      this.#upstream = upstream;
      await this.#sendFirst(upstream, lease, signal);
      await this.#sendBuffered(signal);
      clearTimeout(timer);
      return await this.#waitForEnd(lease.signal);
    } finally {
      clearTimeout(timer);
      lease.signal.removeEventListener("abort", onLost);
      this.#isOpen = false;
      this.#upstream = undefined;
    }
  }

  /** Waits until the target accepts datagrams, by sending the first one. */
  async #sendFirst(upstream: Upstream, lease: FlowLease, signal: AbortSignal): Promise<void> {
    const { first } = this.#buffer;
    if (first === undefined) return;
    let isFirstAttempt = true;
    const send = async (): Promise<boolean> => {
      const isAccepted = await upstream.sendAndWait(first, signal);
      if (!isAccepted && isFirstAttempt) lease.verify().catch(() => {});
      isFirstAttempt = false;
      return isAccepted;
    };
    const { firstDatagram } = this.#options.targetPort;
    if (await firstDatagram.waitUntilAccepted(lease.address, send, signal)) this.#countSent(this.#buffer.shift());
  }

  async #sendBuffered(signal: AbortSignal): Promise<void> {
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

  async #waitForEnd(lost: AbortSignal): Promise<FlowEnd> {
    const onLost = (): void => this.#end.resolve(endOf(lost.reason));
    lost.addEventListener("abort", onLost, { once: true });
    if (lost.aborted) onLost();
    this.#watchSilence();
    try {
      return await this.#end.promise;
    } finally {
      lost.removeEventListener("abort", onLost);
    }
  }

  /** A datagram only stores the time. The timer compares it when it fires. */
  #watchSilence(): void {
    clearTimeout(this.#timer);
    const leftMs = this.#lastAt + this.#timeoutMs - performance.now();
    if (leftMs <= 0) this.#end.resolve("idle");
    else this.#timer = setTimeout(() => this.#watchSilence(), Math.ceil(leftMs));
  }

  #send(datagram: Buffer): void {
    this.#upstream?.send(datagram);
    this.#countSent(datagram);
  }

  #countSent(datagram: Buffer | undefined): void {
    this.#meter.in += datagram?.length ?? 0;
    this.#options.meter.in += datagram?.length ?? 0;
  }

  #forwardAnswer(datagram: Buffer): void {
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
