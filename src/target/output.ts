import { abortable } from "../activation/abortable.ts";

/** Enough for whoever begins to follow just after the start; a program must not fill our memory. */
const KEPT_LINES = 500;

/** What a process prints in one life: its newest lines, and who is told of those that follow. */
export class Output {
  readonly #lines: string[] = [];
  readonly #followers = new Set<(line: string) => void>();
  readonly #ended = Promise.withResolvers<void>();

  /** Resolves when all that was printed has been read. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  push(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > KEPT_LINES) this.#lines.shift();
    for (const onLine of this.#followers) onLine(line);
  }

  /** No line follows. */
  end(): void {
    this.#ended.resolve();
  }

  /** The newest `count` lines, oldest first. */
  last(count: number): readonly string[] {
    return this.#lines.slice(-count);
  }

  /** Tells the lines that are kept, then each new one. Resolves at the end. @throws the reason of `signal` */
  async follow(onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    for (const line of this.#lines) onLine(line);
    this.#followers.add(onLine);
    try {
      await abortable(this.ended, signal);
    } finally {
      this.#followers.delete(onLine);
    }
  }
}
