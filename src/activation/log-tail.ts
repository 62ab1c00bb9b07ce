import type { Target } from "./target.ts";

const READ_TIMEOUT_MS = 2_000;
/** Slightly less than the second after which the waiting page and `wakeport status` read again. */
const MAX_AGE_MS = 950;

/** Caches the target's last output lines, so that they are read about once a second for any number of readers. */
export class LogTailCache {
  readonly #read: () => Promise<readonly string[]>;
  #cached: { readonly lines: Promise<readonly string[]>; expiresAt: number } | undefined;

  /** @param read never rejects */
  constructor(read: () => Promise<readonly string[]>) {
    this.#read = read;
  }

  /** Returns the cached lines, or reads them. Never rejects. */
  lines(): Promise<readonly string[]> {
    if (this.#cached !== undefined && performance.now() < this.#cached.expiresAt) return this.#cached.lines;
    const expiresAt = performance.now() + MAX_AGE_MS;
    const cached = { lines: this.#read(), expiresAt: Number.POSITIVE_INFINITY };
    this.#cached = cached;
    void cached.lines.then(() => {
      cached.expiresAt = expiresAt;
    });
    return cached.lines;
  }

  /** Called when the state of the target changes: the next call reads again. */
  clear(): void {
    this.#cached = undefined;
  }
}

/** Reads the target's last output lines within 2 s. Never rejects. @param limit number of lines; default: a few */
export function readLastLines(target: Target, limit?: number): Promise<readonly string[]> {
  return target.lastLines(AbortSignal.timeout(READ_TIMEOUT_MS), limit);
}
