import { abortable } from "../async/wait.ts";

/** Enough for a follower that begins just after the start. */
const KEPT_LINES = 500;
const KEPT_CHARACTERS = 2 * 1_024 * 1_024;

/** Output of a process in one life: the newest lines, and followers that receive further ones. */
export class Output {
  readonly #lines: string[] = [];
  #characters = 0;
  /** Unfinished lines in which the output has paused, by stream. */
  readonly #unfinished = new Map<object, string>();
  readonly #followers = new Set<(line: string) => void>();
  readonly #ended = Promise.withResolvers<void>();

  /** Resolves when all that was printed has been read. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  push(stream: object, line: string): void {
    this.#unfinished.delete(stream);
    this.#lines.push(line);
    this.#characters += line.length;
    while (this.#lines.length > KEPT_LINES || this.#characters > KEPT_CHARACTERS) {
      this.#characters -= this.#lines.shift()?.length ?? 0;
    }
    for (const onLine of this.#followers) onLine(line);
  }

  /** The output of a stream has paused within a line. */
  pause(stream: object, line: string): void {
    this.#unfinished.set(stream, line);
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

  /** Passes on the stored lines, then each new one. Resolves at the end. @throws the reason of `signal` */
  async follow(onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    for (const line of [...this.#lines, ...this.#unfinished.values()]) onLine(line);
    this.#followers.add(onLine);
    try {
      await abortable(this.ended, signal);
    } finally {
      this.#followers.delete(onLine);
    }
  }
}
