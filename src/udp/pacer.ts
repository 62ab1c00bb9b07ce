/** Limit of the unanswered cost. It is far below what a receive buffer of the default size holds. */
const BURST = 64;
/** A datagram costs 1, plus 1 for each of these units. */
const UNIT_BYTES = 512;
/** Without any answer for this time, the target is assumed to have read everything. */
const SILENT_MS = 20;
/** The same for a target that has answered before, and may be busy. */
const BUSY_MS = 100;

/**
 * Order and pace of buffered datagrams to a target that has just started, so that its receive buffer does not overflow.
 * See docs/design/udp.md.
 */
export class Pacer {
  readonly #queue: { readonly cost: number; readonly grant: () => void }[] = [];
  #unansweredCost = 0;
  #unanswered = 0;
  #hasAnswered = false;
  #sentAt = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Waits until a datagram of this length may be sent. Grants in order of the calls; never rejects. */
  acquire(bytes: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    if (this.#queue.length === 0 && performance.now() - this.#sentAt > this.#timeoutMs) this.#reset();
    this.#queue.push({ cost: 1 + Math.floor(bytes / UNIT_BYTES), grant: resolve });
    this.#grantNext();
    return promise;
  }

  /** The target sent a datagram, so it has read at least one of the unanswered ones. */
  answered(): void {
    this.#hasAnswered = true;
    if (this.#unanswered === 0) return;
    this.#unansweredCost -= this.#unansweredCost / this.#unanswered;
    this.#unanswered -= 1;
    this.#grantNext();
  }

  #grantNext(): void {
    for (let [next] = this.#queue; next !== undefined && this.#hasRoom(next.cost); [next] = this.#queue) {
      this.#queue.shift();
      this.#unansweredCost += next.cost;
      this.#unanswered += 1;
      this.#sentAt = performance.now();
      next.grant();
    }
    if (this.#queue.length === 0) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#reset();
      this.#grantNext();
    }, this.#timeoutMs);
  }

  #hasRoom(cost: number): boolean {
    return this.#unansweredCost === 0 || this.#unansweredCost + cost <= BURST;
  }

  get #timeoutMs(): number {
    return this.#hasAnswered ? BUSY_MS : SILENT_MS;
  }

  #reset(): void {
    this.#unansweredCost = 0;
    this.#unanswered = 0;
  }
}
