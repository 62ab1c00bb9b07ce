/** Counts the clients of each source. Sources without clients need no memory. */
export class PerSourceCounter {
  readonly #counts = new Map<string, number>();

  /** Number of sources with clients. */
  get size(): number {
    return this.#counts.size;
  }

  of(source: string): number {
    return this.#counts.get(source) ?? 0;
  }

  /** Counts one client, until `remove`. */
  add(source: string): void {
    this.#counts.set(source, this.of(source) + 1);
  }

  /** Ends the count of one client. */
  remove(source: string): void {
    const left = this.of(source) - 1;
    if (left > 0) this.#counts.set(source, left);
    else this.#counts.delete(source);
  }
}
