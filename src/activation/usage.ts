/** Called after a target came into use, or went out of use. */
type OnChange = (isUsed: boolean) => void;

/**
 * Whether a target or a group is in use: clients claim it, or something that is in use does. Claims form cycles through
 * groups, so their number does not tell: they are traced from the clients, as a garbage collector does.
 */
export class Usage {
  /** The claims of others on this one and of this one on others, with their numbers. */
  readonly #users = new Map<Usage, number>();
  readonly #uses = new Map<Usage, number>();
  readonly #onChange: OnChange;
  #clients = 0;
  #isUsed = false;
  #lastUsed = Number.NEGATIVE_INFINITY;

  constructor(onChange: OnChange = () => {}) {
    this.#onChange = onChange;
  }

  get isUsed(): boolean {
    return this.#isUsed;
  }

  /** When it was last in use, by the monotonic clock in milliseconds; -Infinity if it never was. */
  get lastUsed(): number {
    return this.#isUsed ? performance.now() : this.#lastUsed;
  }

  /** Counts a client until the result is disposed. */
  addClient(): Disposable {
    this.#clients += 1;
    this.#mark();
    return once(() => {
      this.#clients -= 1;
      this.#sweep();
    });
  }

  /** Counts a claim of `user` until the result is disposed. */
  addUser(user: Usage): Disposable {
    count(this.#users, user, 1);
    count(user.#uses, this, 1);
    if (user.#isUsed) this.#mark();
    return once(() => {
      count(this.#users, user, -1);
      count(user.#uses, this, -1);
      this.#sweep();
    });
  }

  #mark(): void {
    if (this.#isUsed) return;
    this.#isUsed = true;
    this.#onChange(true);
    for (const used of [...this.#uses.keys()]) used.#mark();
  }

  /** A claim on it ended: finds out what is not in use without that claim. */
  #sweep(): void {
    if (!this.#isUsed || this.#clients > 0) return;
    const doubtful = new Set<Usage>([this]);
    // The set grows while it is walked.
    for (const one of doubtful) {
      for (const used of one.#uses.keys()) if (used.#clients === 0) doubtful.add(used);
    }
    const rescued = [...doubtful].filter((one) => one.#hasUserOutside(doubtful));
    for (const one of rescued) one.#keep(doubtful);
    for (const one of doubtful) one.#end();
  }

  #hasUserOutside(doubtful: ReadonlySet<Usage>): boolean {
    return [...this.#users.keys()].some((user) => user.#isUsed && !doubtful.has(user));
  }

  /** Takes it, and all that it uses, out of those in doubt. */
  #keep(doubtful: Set<Usage>): void {
    if (!doubtful.delete(this)) return;
    for (const used of this.#uses.keys()) used.#keep(doubtful);
  }

  #end(): void {
    this.#isUsed = false;
    this.#lastUsed = performance.now();
    this.#onChange(false);
  }
}

function count(numbers: Map<Usage, number>, key: Usage, change: 1 | -1): void {
  const number = (numbers.get(key) ?? 0) + change;
  if (number === 0) numbers.delete(key);
  else numbers.set(key, number);
}

function once(act: () => void): Disposable {
  let isDone = false;
  return {
    [Symbol.dispose]: () => {
      if (isDone) return;
      isDone = true;
      act();
    },
  };
}
