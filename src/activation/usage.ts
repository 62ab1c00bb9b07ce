/** Called after the use of a target began or ended. */
type OnChange = (isUsed: boolean) => void;

/**
 * Whether a target or a group is in use: a client, or a target in use, holds a lease on it. Leases can form cycles through
 * groups, so use is traced from the clients, as in a garbage collector.
 */
export class Usage {
  /** Users of this one, and what this one uses, each with the number of leases. Created for the first lease. */
  #users: Map<Usage, number> | undefined;
  #uses: Map<Usage, number> | undefined;
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

  /** Time of the last use on the monotonic clock, in milliseconds; -Infinity before the first use. */
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

  /** Counts a lease of `user` until the result is disposed. */
  addUser(user: Usage): Disposable {
    this.#users ??= new Map();
    user.#uses ??= new Map();
    const [users, uses] = [this.#users, user.#uses];
    count(users, user, 1);
    count(uses, this, 1);
    if (user.#isUsed) this.#mark();
    return once(() => {
      count(users, user, -1);
      count(uses, this, -1);
      this.#sweep();
    });
  }

  get #used(): Iterable<Usage> {
    return this.#uses?.keys() ?? [];
  }

  #mark(): void {
    if (this.#isUsed) return;
    this.#isUsed = true;
    this.#onChange(true);
    for (const used of [...this.#used]) used.#mark();
  }

  /** Ends the use of everything that depended on a lease that ended. */
  #sweep(): void {
    if (!this.#isUsed || this.#clients > 0) return;
    const candidates = new Set<Usage>([this]);
    // The loop also visits what it adds.
    for (const one of candidates) {
      for (const used of one.#used) if (used.#clients === 0) candidates.add(used);
    }
    const stillUsed = [...candidates].filter((one) => one.#hasUserOutside(candidates));
    for (const one of stillUsed) one.#keep(candidates);
    for (const one of candidates) one.#end();
  }

  #hasUserOutside(candidates: ReadonlySet<Usage>): boolean {
    return [...(this.#users?.keys() ?? [])].some((user) => user.#isUsed && !candidates.has(user));
  }

  /** Removes this one, and everything that it uses, from the candidates. */
  #keep(candidates: Set<Usage>): void {
    if (!candidates.delete(this)) return;
    for (const used of this.#used) used.#keep(candidates);
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
