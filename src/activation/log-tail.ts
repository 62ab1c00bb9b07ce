/** A little less than the second in which whoever shows it asks again. */
const FRESH_MS = 950;

/** What a target last printed, read no more often than about once a second, however many ask. */
export class LogTailCache {
  readonly #read: () => Promise<readonly string[]>;
  #reading: Promise<readonly string[]> | undefined;
  #isRead = false;
  #readAt = 0;

  /** @param read never rejects */
  constructor(read: () => Promise<readonly string[]>) {
    this.#read = read;
  }

  /** The same list to all who ask while it is fresh. Never rejects. */
  lines(): Promise<readonly string[]> {
    const isFresh = !this.#isRead || performance.now() - this.#readAt < FRESH_MS;
    if (this.#reading !== undefined && isFresh) return this.#reading;
    const reading = this.#read();
    this.#reading = reading;
    this.#isRead = false;
    this.#readAt = performance.now();
    void reading.then(() => {
      if (this.#reading === reading) this.#isRead = true;
    });
    return reading;
  }

  /** What is told from now on is read from now on: something became of the target. */
  clear(): void {
    this.#reading = undefined;
  }
}
