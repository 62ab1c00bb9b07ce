/** How much may be on its way without an answer: far less than a receive buffer of the usual size holds. */
const BURST = 64;
/** A datagram counts once, and once more for each of these that it carries. */
const UNIT_BYTES = 512;
/** After this, silence is taken for a target that reads and does not answer. */
const SILENT_MS = 20;
/** A target that does answer may be busy. */
const BUSY_MS = 100;

/**
 * The order and pace in which held datagrams go to a target that has just come up. There may be thousands, its receive
 * buffer has room for some hundreds, and what does not fit is lost without a word. So a small burst leaves, and the
 * next as answers come back; a target that does not answer gets one every 20 ms.
 */
export class Pacer {
  readonly #line: { readonly cost: number; readonly go: () => void }[] = [];
  #spent = 0;
  #unanswered = 0;
  #hasAnswered = false;
  #lastAt = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Waits for one's turn to send a datagram of so many bytes. Answered in order, and soon, whatever happens. */
  acquire(bytes: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    if (this.#line.length === 0 && performance.now() - this.#lastAt > this.#patienceMs) this.#forget();
    this.#line.push({ cost: 1 + Math.floor(bytes / UNIT_BYTES), go: resolve });
    this.#advance();
    return promise;
  }

  /** The target said something: it has read at least one of those that were on their way. */
  answered(): void {
    this.#hasAnswered = true;
    if (this.#unanswered === 0) return;
    this.#spent -= this.#spent / this.#unanswered;
    this.#unanswered -= 1;
    this.#advance();
  }

  #advance(): void {
    for (let [next] = this.#line; next !== undefined && this.#hasRoom(next.cost); [next] = this.#line) {
      this.#line.shift();
      this.#spent += next.cost;
      this.#unanswered += 1;
      this.#lastAt = performance.now();
      next.go();
    }
    if (this.#line.length > 0) this.#timer ??= setTimeout(() => this.#expire(), this.#patienceMs);
  }

  #hasRoom(cost: number): boolean {
    return this.#spent === 0 || this.#spent + cost <= BURST;
  }

  get #patienceMs(): number {
    return this.#hasAnswered ? BUSY_MS : SILENT_MS;
  }

  #expire(): void {
    this.#timer = undefined;
    this.#forget();
    this.#advance();
  }

  #forget(): void {
    this.#spent = 0;
    this.#unanswered = 0;
  }
}
