interface HasSignal {
  readonly signal: AbortSignal;
}

/** The union of two signals. Created at the first use: most clients never wait. */
export class AnySignal {
  readonly #one: HasSignal;
  readonly #other: HasSignal;
  #signal: AbortSignal | undefined;

  constructor(one: HasSignal, other: HasSignal) {
    this.#one = one;
    this.#other = other;
  }

  get signal(): AbortSignal {
    this.#signal ??= AbortSignal.any([this.#one.signal, this.#other.signal]);
    return this.#signal;
  }
}
