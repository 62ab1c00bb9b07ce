/** What keeping one datagram costs besides its bytes, so that many small ones are bounded as well. */
const OVERHEAD_BYTES = 256;

/** The datagrams of one client that wait for the target, in the order in which they came; bounded in bytes. */
export class DatagramBuffer {
  readonly #limit: number;
  #queue: Buffer[] = [];
  #bytes = 0;

  /** @param limit in bytes; each datagram counts for 256 more than it carries */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get length(): number {
    return this.#queue.length;
  }

  get first(): Buffer | undefined {
    return this.#queue[0];
  }

  /** Keeps one more. @returns whether there was room; the first one always has it */
  add(datagram: Buffer): boolean {
    const cost = datagram.length + OVERHEAD_BYTES;
    if (this.#queue.length > 0 && this.#bytes + cost > this.#limit) return false;
    this.#bytes += cost;
    this.#queue.push(datagram);
    return true;
  }

  /** Takes the first one out. */
  shift(): Buffer | undefined {
    const datagram = this.#queue.shift();
    if (datagram !== undefined) this.#bytes -= datagram.length + OVERHEAD_BYTES;
    return datagram;
  }

  /** Throws all away. @returns how many there were */
  clear(): number {
    const { length } = this.#queue;
    this.#queue = [];
    this.#bytes = 0;
    return length;
  }
}
