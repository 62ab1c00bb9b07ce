/** Memory that one buffered datagram needs in addition to its bytes. It bounds the number of small datagrams. */
const OVERHEAD_BYTES = 256;

/** The datagrams of one client that wait for the target, in order of arrival; bounded in bytes. */
export class DatagramBuffer {
  readonly #limit: number;
  #queue: Buffer[] = [];
  #bytes = 0;

  /** @param limit in bytes; each datagram counts as its length plus 256 */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get length(): number {
    return this.#queue.length;
  }

  get first(): Buffer | undefined {
    return this.#queue[0];
  }

  /** Appends a datagram. @returns false if it does not fit; the first one always fits */
  add(datagram: Buffer): boolean {
    const cost = datagram.length + OVERHEAD_BYTES;
    if (this.#queue.length > 0 && this.#bytes + cost > this.#limit) return false;
    this.#bytes += cost;
    this.#queue.push(datagram);
    return true;
  }

  /** Removes and returns the first datagram. */
  shift(): Buffer | undefined {
    const datagram = this.#queue.shift();
    if (datagram !== undefined) this.#bytes -= datagram.length + OVERHEAD_BYTES;
    return datagram;
  }

  /** Removes all datagrams. @returns their number */
  clear(): number {
    const { length } = this.#queue;
    this.#queue = [];
    this.#bytes = 0;
    return length;
  }
}
