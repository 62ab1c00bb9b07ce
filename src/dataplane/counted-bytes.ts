import type { Meter } from "../net/relay.ts";

/** Adds the bytes of one connection to its meters. */
export class CountedBytes {
  readonly #meters: readonly Meter[];
  #in = 0;
  #out = 0;

  constructor(meters: readonly Meter[]) {
    this.#meters = meters;
  }

  /** @param bytesIn all bytes so far from the client @param bytesOut all bytes so far from the upstream */
  set(bytesIn: number, bytesOut: number): void {
    for (const meter of this.#meters) {
      meter.in += bytesIn - this.#in;
      meter.out += bytesOut - this.#out;
    }
    this.#in = bytesIn;
    this.#out = bytesOut;
  }
}
