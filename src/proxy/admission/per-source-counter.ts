/** How many clients each source has at this moment. Knows only those that have any. */
export class PerSourceCounter {
  readonly #counts = new Map<string, number>();

  /** How many sources there are. */
  get size(): number {
    return this.#counts.size;
  }

  of(source: string): number {
    return this.#counts.get(source) ?? 0;
  }

  /** Counts one more, until the answer is disposed of. */
  add(source: string): Disposable {
    this.#counts.set(source, this.of(source) + 1);
    return { [Symbol.dispose]: () => this.#remove(source) };
  }

  #remove(source: string): void {
    const left = this.of(source) - 1;
    if (left > 0) this.#counts.set(source, left);
    else this.#counts.delete(source);
  }
}
