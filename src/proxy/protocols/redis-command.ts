/** The commands of Redis as clients send them, as far as it takes to answer them all alike. */

/** One command: how many bytes it is long, and its name in capitals; "" for one that gets no answer. */
export interface RedisCommand {
  readonly length: number;
  readonly name: string;
}

/** As Redis reads numbers: nothing before or behind them, no zeros in front. */
const NUMBER = /^(?:0|-?[1-9]\d{0,9})$/;
const MAX_NUMBER = 11;
const CR = 0x0d;
const LF = 0x0a;
const ARRAY = 0x2a;
const BULK = 0x24;
const CRLF_LENGTH = 2;

/**
 * Reads one command that arrives in pieces: an array of bulk strings, or a line of words. Each string of an array is read
 * once, when it is complete.
 *
 * @see https://redis.io/docs/latest/develop/reference/protocol-spec/
 */
export class RedisCommandReader {
  /** Number of strings in the array. */
  #count: number | undefined;
  /** Number of strings that were read. */
  #index = 0;
  /** Start of the next string. */
  #at = 0;
  #name = "";

  /**
   * @param bytes all bytes that have arrived so far
   * @returns undefined if the command is incomplete, "unknown" if its form is not supported
   */
  read(bytes: Buffer): RedisCommand | "unknown" | undefined {
    if (bytes.length === 0) return undefined;
    return bytes[0] === ARRAY ? this.#readArray(bytes) : readLine(bytes);
  }

  #readArray(bytes: Buffer): RedisCommand | "unknown" | undefined {
    if (this.#count === undefined) {
      const count = readNumber(bytes, 1);
      if (typeof count !== "object") return count;
      this.#count = count.value;
      this.#at = count.end;
    }
    for (; this.#index < this.#count; this.#index += 1) {
      if (this.#at >= bytes.length) return undefined;
      if (bytes[this.#at] !== BULK) return "unknown";
      const size = readNumber(bytes, this.#at + 1);
      if (typeof size !== "object") return size;
      if (size.value < 0) return "unknown";
      const end = size.end + size.value;
      if (bytes.length < end + CRLF_LENGTH) return undefined;
      if (this.#index === 0) this.#name = bytes.toString("latin1", size.end, end).toUpperCase();
      this.#at = end + CRLF_LENGTH;
    }
    return { length: this.#at, name: this.#name };
  }
}

/** Words with blanks between them, up to a newline. Where the first one is quoted, it takes more to know it. */
function readLine(bytes: Buffer): RedisCommand | "unknown" | undefined {
  const end = bytes.indexOf(LF);
  const [, first = ""] = /^[ \t\r\v\f]*([^ \t\r\n\v\f]*)/.exec(bytes.toString("latin1", 0, end < 0 ? 1 : end)) ?? [];
  if (/[^\x21-\x7e]|["']/.test(first)) return "unknown";
  return end < 0 ? undefined : { length: end + 1, name: first.toUpperCase() };
}

/** A number and the end of its line. */
function readNumber(bytes: Buffer, start: number): { value: number; end: number } | "unknown" | undefined {
  const end = bytes.indexOf(CR, start);
  if (end < 0) return bytes.length - start > MAX_NUMBER ? "unknown" : undefined;
  const text = bytes.toString("latin1", start, Math.min(end, start + MAX_NUMBER + 1));
  if (!NUMBER.test(text)) return "unknown";
  if (end + 1 >= bytes.length) return undefined;
  return bytes[end + 1] === LF ? { value: Number(text), end: end + CRLF_LENGTH } : "unknown";
}
