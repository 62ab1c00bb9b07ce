/** Counts the clients of each source. Sources without clients need no memory, and the map is created for the first client. */
export class PerSourceCounter {
  #counts: Map<string, number> | undefined;

  /** Number of sources with clients. */
  get size(): number {
    return this.#counts?.size ?? 0;
  }

  of(source: string): number {
    return this.#counts?.get(source) ?? 0;
  }

  /** Counts one client, until `remove`. */
  add(source: string): void {
    this.#counts ??= new Map();
    this.#counts.set(source, this.of(source) + 1);
  }

  /** Ends the count of one client. */
  remove(source: string): void {
    const left = this.of(source) - 1;
    if (left > 0) this.#counts?.set(source, left);
    else this.#counts?.delete(source);
  }
}
