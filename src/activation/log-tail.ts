import type { Target } from "./target.ts";

const READ_TIMEOUT_MS = 2_000;
/** Slightly less than the second after which the waiting page and `wakeport status` read again. */
const MAX_AGE_MS = 950;

/** Caches the target's last output lines, so that they are read about once a second for any number of readers. */
export class LogTailCache {
  readonly #read: () => Promise<readonly string[]>;
  #reading: Promise<readonly string[]> | undefined;
  #isRead = false;
  #readAt = 0;

  /** @param read never rejects */
  constructor(read: () => Promise<readonly string[]>) {
    this.#read = read;
  }

  /** Returns the cached lines, or reads them. Never rejects. */
  lines(): Promise<readonly string[]> {
    const isFresh = !this.#isRead || performance.now() - this.#readAt < MAX_AGE_MS;
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

  /** Called when the state of the target changes: the next call reads again. */
  clear(): void {
    this.#reading = undefined;
  }
}

/** Reads the target's last output lines within 2 s. Never rejects. @param limit number of lines; default: a few */
export function readLastLines(target: Target, limit?: number): Promise<readonly string[]> {
  return target.lastLines(AbortSignal.timeout(READ_TIMEOUT_MS), limit);
}
