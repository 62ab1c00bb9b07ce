/** Accepts the clients of lent listeners, and connects each to the listener's target. */
import { constants } from "node:os";
import type { Core } from "./core.ts";
import { LentListener } from "./lent-listener.ts";
import type { Pair } from "./pair.ts";
import type { Reports } from "./reports.ts";
import { MAX_ADDRESS_BYTES, numbersOf } from "./socket-address.ts";
import { EAGAIN, type Syscalls } from "./syscalls.ts";

/** A free slot is used again after this time: until then the main thread may read the counts of the ended connection. */
const REUSE_MS = 1_000;

const { ECONNABORTED, EINTR, EPROTO } = constants.errno;
/** Errors of accept(2) that concern one client. */
const clientErrors: ReadonlySet<number> = new Set([-EAGAIN, -ECONNABORTED, -EINTR, -EPROTO]);

/** An accepted client whose upstream is not connected yet. */
interface Dial {
  /** See `numbersOf`. */
  readonly peer: readonly number[];
  /** Unix time in milliseconds. */
  readonly since: number;
  /** Monotonic time, in milliseconds. */
  readonly beganAt: number;
}

export interface AcceptorOptions {
  readonly syscalls: Syscalls;
  readonly core: Core;
  readonly reports: Reports;
  /** Returns the limit of connections at a time. */
  readonly limit: () => number;
  /** First of the slots for accepted connections. */
  readonly firstSlot: number;
}

export class Acceptor {
  readonly #options: AcceptorOptions;
  readonly #listeners = new Map<number, LentListener>();
  readonly #dials = new Map<Pair, Dial>();
  /** Oldest first, each with the time of its release. */
  readonly #freeSlots: { readonly slot: number; readonly since: number }[] = [];
  #slots = 0;
  readonly #peer = Buffer.alloc(MAX_ADDRESS_BYTES);

  constructor(options: AcceptorOptions) {
    this.#options = options;
  }

  /** Accepts clients from now on. The listener's descriptor is closed by `unlisten`. */
  listen(options: ConstructorParameters<typeof LentListener>[0]): void {
    const listener = new LentListener(options);
    this.#options.syscalls.setConnectionOptions(listener.fd);
    this.#listeners.set(listener.id, listener);
    this.#resume(listener);
  }

  /** Accepts no more clients of a listener. Its connections stay. */
  unlisten(id: number): void {
    const listener = this.#listeners.get(id);
    if (listener === undefined) return;
    this.#stop(listener, "stopped");
    this.#options.syscalls.close(listener.fd);
    this.#listeners.delete(id);
    this.#options.reports.unlistened(id, listener.open);
    if (listener.open === 0) this.#options.reports.over(id);
  }

  /** Must be called when the upstream of an accepted pair is connected. */
  connected(pair: Pair): void {
    const { listener } = pair;
    const dial = this.#dials.get(pair);
    if (listener === undefined || dial === undefined) return;
    this.#options.reports.accepted(pair.slot, listener.id, dial.since, performance.now() - dial.beganAt, dial.peer);
    this.#dialEnded(pair, listener);
  }

  /** Must be called at the end of each pair, before the end is reported. */
  ended(pair: Pair): void {
    const { listener } = pair;
    if (listener === undefined) return;
    const dial = this.#dials.get(pair);
    if (dial !== undefined) {
      this.#options.reports.accepted(pair.slot, listener.id, dial.since, undefined, dial.peer);
      this.#dialEnded(pair, listener);
    }
    this.#release(pair, listener);
  }

  /** Must be called for each pair that the core returns. */
  returned(pair: Pair): void {
    const { listener } = pair;
    if (listener === undefined) return;
    const isReported = !this.#dials.has(pair);
    this.#options.reports.returned(listener.id, isReported ? pair.slot : undefined, pair.client.fd);
    if (!isReported) this.#dialEnded(pair, listener);
    this.#release(pair, listener);
  }

  /** Closes all listeners. */
  close(): void {
    for (const id of this.#listeners.keys()) this.unlisten(id);
  }

  /** Accepts one client. If there are more, the next event follows at once. */
  #accept(listener: LentListener): void {
    const { syscalls, core, limit, reports } = this.#options;
    if (listener.dials >= listener.maxDials) return this.#stop(listener, "paused");
    if (this.#slots - this.#freeSlots.length >= limit()) return this.#reportFull(listener);
    const fd = syscalls.accept(listener.fd, this.#peer);
    if (fd < 0) return clientErrors.has(fd) ? undefined : this.#reportFull(listener);
    const upstream = syscalls.connect(listener.upstream);
    if (upstream < 0) return reports.returned(listener.id, undefined, fd);
    const slot = this.#takeSlot();
    listener.open += 1;
    listener.dials += 1;
    const pair = core.newPair({ slot, client: fd, upstream, listener });
    this.#dials.set(pair, { peer: numbersOf(this.#peer), since: Date.now(), beganAt: performance.now() });
    core.connect(pair);
  }

  /** No more descriptors are free for connections: the main thread must accept and reject clients. */
  #reportFull(listener: LentListener): void {
    this.#stop(listener, "full");
    this.#options.reports.full(listener.id);
  }

  #stop(listener: LentListener, state: LentListener["state"]): void {
    if (listener.state === "accepting") this.#options.core.unwatch(listener.fd);
    listener.state = state;
  }

  #resume(listener: LentListener): void {
    listener.state = "accepting";
    if (!this.#options.core.watch(listener.fd, () => this.#accept(listener))) this.#reportFull(listener);
  }

  #dialEnded(pair: Pair, listener: LentListener): void {
    this.#dials.delete(pair);
    listener.dials -= 1;
    if (listener.state === "paused") this.#resume(listener);
  }

  #release({ slot }: Pair, listener: LentListener): void {
    this.#freeSlots.push({ slot, since: performance.now() });
    listener.open -= 1;
    if (listener.state === "stopped" && listener.open === 0) this.#options.reports.over(listener.id);
  }

  #takeSlot(): number {
    const [oldest] = this.#freeSlots;
    if (oldest !== undefined && performance.now() - oldest.since >= REUSE_MS) {
      this.#freeSlots.shift();
      return oldest.slot;
    }
    this.#slots += 1;
    return this.#options.firstSlot + this.#slots - 1;
  }
}
