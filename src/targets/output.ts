import { abortable } from "../async/wait.ts";
import { LineLimit, LineReader, MAX_MATCHED, shortened } from "./lines.ts";

/** Limits of the stored lines, for a follower that begins just after the start. */
const KEPT_LINES = 500;
const KEPT_CHARACTERS = 2 * 1_024 * 1_024;

/** Output of one incarnation of a process: stores the newest lines, and passes new lines to followers. */
export class Output {
  readonly #lines: string[] = [];
  #characters = 0;
  /** Unfinished lines in which the output has paused, by stream. */
  readonly #unfinished = new Map<object, string>();
  readonly #followers = new Set<(line: string) => void>();
  readonly #ended = Promise.withResolvers<void>();

  /** Resolves when the whole output has been read. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Reads a stream of a process. @param onLine receives the shown part of its lines, at a limited rate */
  read(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
    const limit = new LineLimit(onLine);
    const push = (line: string): void => {
      this.#push(stream, line);
      limit.push(shortened(line));
    };
    const onUnfinished = (line: string): void => this.#pushUnfinished(stream, line);
    const reader = new LineReader(push, { limit: MAX_MATCHED, onUnfinished });
    stream.on("data", (chunk: Buffer) => reader.push(chunk));
    stream.on("end", () => {
      reader.end();
      limit.end();
    });
    stream.on("error", () => {});
  }

  /** Call when the whole output has been read. */
  end(): void {
    this.#ended.resolve();
  }

  /** Returns the newest `count` lines, oldest first. */
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

  #push(stream: object, line: string): void {
    this.#unfinished.delete(stream);
    this.#lines.push(line);
    this.#characters += line.length;
    while (this.#lines.length > KEPT_LINES || this.#characters > KEPT_CHARACTERS) {
      this.#characters -= this.#lines.shift()?.length ?? 0;
    }
    for (const onLine of this.#followers) onLine(line);
  }

  #pushUnfinished(stream: object, line: string): void {
    this.#unfinished.set(stream, line);
    for (const onLine of this.#followers) onLine(line);
  }
}
