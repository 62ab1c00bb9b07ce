import { LineSplitter } from "../net/line-splitter.ts";

/** Limit of a line in characters. It is larger than any real event. */
const MAX_LINE = 1024 * 1024;

/** Parses newline-delimited JSON from chunks. Lines that are too long or not valid JSON are skipped. */
export class JsonLines {
  readonly #lines: LineSplitter;

  constructor(onValue: (value: unknown) => void) {
    this.#lines = new LineSplitter((line, isCut) => {
      const value = isCut ? undefined : parsed(line);
      if (value !== undefined) onValue(value);
    }, MAX_LINE);
  }

  push(chunk: Uint8Array): void {
    this.#lines.push(chunk);
  }
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
